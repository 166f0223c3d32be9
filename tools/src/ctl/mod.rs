//! `esker-ctl`: looking after servers from outside.

mod args;
mod error;
mod verify;

pub use args::{Args, Command, Verify};
pub use error::CtlError;

pub use crate::outcome::Outcome;

use std::io::Write;

/// Does what the command line says.
///
/// # Errors
/// A server cannot be asked, or no answer can be had.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    match &args.command {
        Command::Verify(verify) => verify::run(verify, out),
    }
}
