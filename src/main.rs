//! The Esker server's program.

use std::process::ExitCode;

use esker::config::{Invocation, from_command_line};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let loaded = match from_command_line(&arguments) {
        Ok(Invocation::Run(loaded)) => loaded,
        Ok(Invocation::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match esker::start::run(loaded) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("esker: {error}");
            ExitCode::FAILURE
        }
    }
}
