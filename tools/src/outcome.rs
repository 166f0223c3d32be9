//! How a tool's work ended that could be done.

use std::process::ExitCode;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wrong: every answer was right, all copies are equal.
    Right,
    /// Something is: wrong answers, error replies, lost requests, copies that differ.
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
