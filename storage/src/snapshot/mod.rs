//! Snapshots: all of a shard's files as of one LSN, for another node, without stopping anything here.
//!
//! What is sent is what a copy of the directory made while the node was serving would be: segments as they are, the newest checkpoint, large
//! values, and the manifest that names them. The other node opens that as after a power loss: checkpoint, then replay.
//!
//! Invariants:
//! - What the manifest names is held open from before anybody could remove it.
//! - The file of a segment that is still being written is sent up to the snapshot's LSN; the bytes before that never change.

mod beside;
mod divergent;
mod exchange;
mod staging;
mod take;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use divergent::{Divergent, divergent_files};
pub(crate) use exchange::finish_exchange;
pub use exchange::{Aside, Exchanged, discard_copies, exchange};
pub use staging::{Expected, Staging};
pub use take::{Snapshot, SnapshotFile};
