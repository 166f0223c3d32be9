//! `esker-ctl`: looking after servers from outside.

mod args;
mod client;
mod verify;

pub use args::{Args, Command, Verify};
pub use client::CtlError;

use std::io::Write;
use std::process::ExitCode;

/// How a look ended that could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wrong.
    Right,
    /// Something is.
    Wrong,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Right => Self::SUCCESS,
            Outcome::Wrong => Self::FAILURE,
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// A server cannot be asked, or no answer can be had.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    match &args.command {
        Command::Verify(verify) => verify::run(verify, out),
    }
}
