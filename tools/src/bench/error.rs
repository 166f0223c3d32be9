//! What keeps `esker-bench` from measuring.

use std::io;
use std::path::PathBuf;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Nobody listens there.
    #[error("cannot connect to {address}: {source}; is the server running, and is this its port? (--wait SECONDS waits for it)")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke before the measurement began.
    #[error("{address} closed the connection while it was being set up: {source}")]
    Setup {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The server is there and does not serve yet.
    #[error("{address} is still loading its data: {reply}; --wait SECONDS waits for it")]
    Loading {
        /// Where.
        address: String,
        /// What it said.
        reply: String,
    },
    /// The server refuses the client.
    #[error("{address} refused {what}: {reply}")]
    Refused {
        /// Where.
        address: String,
        /// What was asked for.
        what: &'static str,
        /// What it said.
        reply: String,
    },
    /// What answers does not speak the protocol.
    #[error("{address} does not speak the Redis protocol: {reason}")]
    Protocol {
        /// Where.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// The options cannot be met together.
    #[error("{0}")]
    Options(String),
    /// A file could not be read, or is no trace.
    #[error("cannot read {}: {reason}", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The connection broke during the measurement.
    #[error("{address} closed the connection in the middle of the measurement: {source}")]
    Broken {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A server that this program started does not do what it should.
    #[error("{node}: {reason}")]
    Node {
        /// Which.
        node: String,
        /// What it does.
        reason: String,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The machine refused something that every machine should give.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl BenchError {
    /// Whether a later attempt may succeed by itself.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Setup { .. } | Self::Loading { .. })
    }
}
