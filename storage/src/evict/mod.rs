//! Eviction: keys leave the index to make room, the least useful first, so that the live data stays within its limit.
//!
//! # How
//!
//! Sealed segments stand in a queue by their stamps. The first is read from front to back; of each record that is its key's newest, the
//! policy (`policy`) decides by how often the key was asked for whether it goes. What stays makes the segment join the end of the queue with
//! a new stamp; no record moves, and no LSN changes. What goes is named by one `evict` entry in the log (for 2048 keys at most) and leaves the index. The space is
//! given back by cleaning, which finds the segment mostly dead.
//!
//! How often a key was asked for is counted in anonymous memory, two bits each, so that a read dirties no page of the index.
//!
//! `allkeys-s3fifo` follows Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023), segment by segment: new segments
//! are in probation, which holds a tenth of the keys; what was asked for at least twice there joins the main queue. The hashes of keys that
//! failed are kept for a while (`ghosts`): a key that is written again soon afterwards passes its next probation.
//!
//! # Invariants
//!
//! - An `evict` entry names records, by LSN and op number, never keys: a key that was written again meanwhile stays, here and in any replay.
//! - The entry is appended and carried out under the locks of all stripes: a record that comes after it is based on nothing that it evicts.
//! - Only sealed segments are evicted from, so the active one is the slack of the limit.

mod figures;
mod ghosts;
mod limit;
mod pass;
mod policy;
mod queue;
mod remove;
mod replicate;
#[cfg(test)]
mod tests;
mod thread;
mod usage;

pub use figures::EvictionFigures;
pub(crate) use limit::Limit;
pub use policy::{EvictionOrder, EvictionPolicy};
pub(crate) use queue::is_main;
pub(crate) use thread::Eviction;
pub use usage::KEY_BYTES;
pub(crate) use usage::Usage;

use crate::types::Db;

/// Told when the data grows beyond its limit with nothing to evict, and when it is within again.
pub type OverListener = Box<dyn Fn(bool) + Send + Sync>;

/// Told of each key that is evicted, under the lock of its stripe: it must not touch the shard, and must be quick.
pub type EvictedListener = Box<dyn Fn(Db, &[u8]) + Send + Sync>;
