//! `esker-log`, command by command.
//!
//! Invariants:
//! - Nothing in the data directory is written, created or removed, and nothing locked that a running server needs, so it is not disturbed.
//!   The exception is `repair`, which works on a stopped server only. `reapply` writes to a server, as any client does.
//! - What a running server changes under our hands (an entry half written, a segment renamed or cleaned away) is read again before it is
//!   called damage.

mod args;
mod directory;
mod divergent;
mod dump;
mod error;
mod export;
mod filter;
mod history;
mod liveness;
mod ls;
mod output;
mod reapply;
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
use std::path::PathBuf;
use std::process::ExitCode;

use args::{Command, Dump};
use directory::DataDirectory;

/// The data directory where none is named.
const DIRECTORY: &str = "./esker-data";

/// How a command ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Sound,
    /// Damage was found, or something was left undone, and reported.
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
    let path = |given: &Option<PathBuf>| given.clone().or_else(|| args.dir.clone()).unwrap_or_else(|| DIRECTORY.into());
    let open = |given: &Option<PathBuf>| DataDirectory::open(&path(given));
    match &args.command {
        Command::Ls(options) => ls::run(&open(&None)?, options, out),
        Command::Dump(Dump { file: Some(file), selection, format }) => set_aside::run(file, selection, *format, out),
        Command::Dump(options) => dump::run(&open(&None)?, options, out),
        Command::Verify(options) => verify::run(&open(&None)?, options, out),
        Command::Stat(options) => stat::run(&open(&None)?, options, out),
        Command::Tail(options) => tail::run(&open(&None)?, options, out),
        Command::History(options) => history::run(&open(&None)?, options, out),
        Command::Export(options) => export::run(&open(&options.directory)?, options, out),
        Command::Repair(options) => repair::run(&open(&options.directory)?, options, out),
        Command::Divergent(options) => divergent::run(&path(&options.directory), options, out),
        Command::Reapply(options) => reapply::run(args.dir.as_deref(), options, out),
    }
}
