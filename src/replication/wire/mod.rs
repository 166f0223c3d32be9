//! The peer protocol of `docs/wire-protocol.md`: frames, control messages in protobuf, bulk messages around the log's own bytes.
//!
//! Invariants:
//! - Nothing is parsed, or allocated for, before its length, its checksum and its shape are known to be within bounds.
//! - Decoders never panic, whatever the bytes.
//! - Nothing outside this module sees a type of protobuf.

mod bounds;
mod bulk;
mod control;
mod error;
mod frame;
mod message;
mod names;

pub use bulk::{entries_head, piece_head, value_piece_head};
pub use error::WireError;
pub use frame::{Decoded, FRAME_HEAD, FrameKind, Limits, decode, encode};
pub use message::{
    Ack, Bye, ByeCode, Entries, File, Heartbeat, Hello, Lacking, Listing, Message, Piece, SnapshotId, TakeOver, TookOver, ValuePiece, Want,
    Welcome, WelcomePlan,
};
pub use names::is_file_name;

/// The version of the protocol that this program speaks.
pub const VERSION: u32 = 1;

/// The types generated from `proto/peer.proto`.
mod generated {
    #![allow(warnings, missing_docs, clippy::all, clippy::unwrap_used, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/peer.rs"));
}

#[cfg(test)]
mod tests;
