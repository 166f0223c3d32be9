//! `esker-bench`: load on a server of the Redis protocol.
//!
//! Invariants:
//! - A request's latency counts from when it was due, not from when it could be sent, so a server that pauses cannot hide what it delayed.
//! - What is reported as wrong is wrong: a value is called stale only if every order of the writes that the replies allow makes it so.

mod args;
mod book;
mod connection;
mod error;
mod json;
mod judge;
mod keys;
mod load;
mod mix;
mod replication;
mod reply;
mod report;
mod request;
mod schedule;
mod stats;
mod trace;
mod value;
mod worker;

pub use args::{Args, Command, Load, Server};
pub use error::BenchError;
pub use replication::Replication;
pub use trace::Trace;

pub use crate::outcome::Outcome;

use std::io::Write;

/// Runs a command; what it measures goes to `out`.
///
/// # Errors
/// When nothing can be measured: the server cannot be reached, refuses the password, or a file cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome, BenchError> {
    match &args.command {
        Command::Load(options) => load::run(options, out),
        Command::Trace(options) => trace::run(options, out),
        Command::Replication(options) => replication::run(options, out),
    }
}
