//! A key that was found expired, by its place in the index.

use crate::index::TableSlot;
use crate::types::{KeyHash, Location, Slot};

/// Enough to find the cell again: the cell may have changed since, which the location tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) struct Found {
    pub(in crate::shard) table: TableSlot,
    /// The key's hash, or as much of it as the cell holds.
    pub(in crate::shard) hash: KeyHash,
    pub(in crate::shard) slot: Slot,
    pub(in crate::shard) location: Location,
}
