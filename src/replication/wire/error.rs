//! Why bytes of a peer are refused.

use thiserror::Error;

/// What is wrong with what a peer sent. The link cannot go on after any of these.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// A frame says that it is shorter than a frame can be.
    #[error("a frame of {0} bytes is too short")]
    Short(u32),
    /// A frame, or a claim in it, is above its limit.
    #[error("{what} of {found}, where at most {most} are allowed")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much is claimed.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// A kind of message that this version does not know.
    #[error("unknown kind of message {0}")]
    Unknown(u8),
    /// The checksum does not match.
    #[error("checksum mismatch in a frame of kind {0}")]
    Checksum(u8),
    /// The payload is not what its kind needs.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// The protobuf runtime refused the payload.
    #[error("malformed message: {0}")]
    Protobuf(String),
}
