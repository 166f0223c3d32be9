//! `esker-bench`: load on any server of the Redis protocol, with latencies that leave nothing out and values that are checked.

use std::io::stdout;
use std::process::ExitCode;

use clap::Parser;
use esker_tools::bench::{Args, run};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args, &mut stdout().lock()) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            eprintln!("esker-bench: {error}");
            ExitCode::from(2)
        }
    }
}
