//! What can go wrong in `esker-ctl`.

use std::io;

pub use crate::client::ClientError;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// A server does not answer as it should.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No two answers were of one LSN.
    #[error("{address} was never met at an LSN of the primary in {attempts} attempts: try --hold-writes")]
    NeverMet {
        /// The replica.
        address: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The output cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}
