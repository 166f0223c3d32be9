//! A key with what is derived from it once: hash and slot.

use crate::types::{KeyHash, Slot};

/// A key with its hash and slot; made by [`Shard::key`](super::Shard::key).
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    bytes: &'a [u8],
    hash: KeyHash,
    slot: Slot,
}

impl<'a> Key<'a> {
    pub(crate) fn new(bytes: &'a [u8], hash: KeyHash, slot: Slot) -> Self {
        Self { bytes, hash, slot }
    }

    /// The key itself.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its seeded hash.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        self.hash
    }

    /// Its slot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }
}
