//! `esker-log`: what is in the log of a data directory, and whether it is sound.

use std::io::{BufWriter, Write, stdout};
use std::process::ExitCode;

use clap::Parser;
use esker_tools::log::{Args, run};

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = BufWriter::new(stdout().lock());
    let result = run(&args, &mut out).and_then(|outcome| out.flush().map(|()| outcome).map_err(Into::into));
    match result {
        Ok(outcome) => outcome.into(),
        // The reader of a pipe has seen enough.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("esker-log: {error}");
            ExitCode::FAILURE
        }
    }
}
