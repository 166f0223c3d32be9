//! `esker-log`, command by command.
//!
//! Invariants:
//! - Nothing in the data directory is written, created or removed, and nothing locked that a running server needs, so it is not disturbed.
//!   The exception is `repair`, which works on a stopped server only.
//! - What a running server changes under our hands (an entry half written, a segment renamed or cleaned away) is read again before it is
//!   called damage.

mod args;
mod directory;
mod dump;
mod error;
mod export;
mod filter;
mod history;
mod liveness;
mod ls;
mod output;
mod repair;
mod scan;
mod set_aside;
mod stat;
mod tail;
mod value_segment;
mod verify;

#[cfg(test)]
mod tests;

pub use args::Args;
pub use error::LogError;

use std::io::Write;
use std::process::ExitCode;

use args::{Command, Dump};
use directory::DataDirectory;

/// How a command ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Sound,
    /// Damage was found and reported.
    Damaged,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Sound => Self::SUCCESS,
            Outcome::Damaged => Self::FAILURE,
        }
    }
}

/// Runs a command and writes what it has to say to `out`.
///
/// # Errors
/// When the directory cannot be read, or is damaged where the command cannot go on.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let given = match &args.command {
        Command::Export(options) => options.directory.as_ref(),
        Command::Repair(options) => options.directory.as_ref(),
        Command::Dump(Dump { file: Some(file), selection, format }) => return set_aside::run(file, selection, *format, out),
        _ => None,
    };
    let directory = DataDirectory::open(given.unwrap_or(&args.dir))?;
    match &args.command {
        Command::Ls(options) => ls::run(&directory, options, out),
        Command::Dump(options) => dump::run(&directory, options, out),
        Command::Verify(options) => verify::run(&directory, options, out),
        Command::Stat(options) => stat::run(&directory, options, out),
        Command::Tail(options) => tail::run(&directory, options, out),
        Command::History(options) => history::run(&directory, options, out),
        Command::Export(options) => export::run(&directory, options, out),
        Command::Repair(options) => repair::run(&directory, options, out),
    }
}
