//! `esker-ctl`: do a primary and its replicas hold the same?

use std::io::stdout;
use std::process::ExitCode;

use clap::Parser;
use esker_tools::ctl::{Args, run};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args, &mut stdout().lock()) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            eprintln!("esker-ctl: {error}");
            ExitCode::from(2)
        }
    }
}
