//! What eviction tells of itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) keys: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) passes: AtomicU64,
    pub(super) kept: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) ghosts: AtomicU64,
    pub(super) micros: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) used: AtomicU64,
}

/// Figures of eviction, since the start or since they were reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvictionFigures {
    /// Keys evicted.
    pub keys: u64,
    /// Bytes that they counted for.
    pub bytes: u64,
    /// Entries in the log that say so.
    pub entries: u64,
    /// Segments that were looked through.
    pub passes: u64,
    /// Keys that stayed in them.
    pub kept: u64,
    /// Bytes of these segments.
    pub read_bytes: u64,
    /// New keys that had been evicted not long before.
    pub ghosts: u64,
    /// Time spent, in microseconds.
    pub micros: u64,
    /// Passes that ended with an error.
    pub failed: u64,
    /// Bytes of live data when last measured; 0 without a limit.
    pub used_bytes: u64,
}

impl Counts {
    pub(super) fn reset(&self) {
        for count in [&self.keys, &self.bytes, &self.entries, &self.passes, &self.kept, &self.read, &self.ghosts, &self.micros] {
            count.store(0, Relaxed);
        }
    }

    pub(super) fn figures(&self) -> EvictionFigures {
        let get = |count: &AtomicU64| count.load(Relaxed);
        EvictionFigures {
            keys: get(&self.keys),
            bytes: get(&self.bytes),
            entries: get(&self.entries),
            passes: get(&self.passes),
            kept: get(&self.kept),
            read_bytes: get(&self.read),
            ghosts: get(&self.ghosts),
            micros: get(&self.micros),
            failed: get(&self.failed),
            used_bytes: get(&self.used),
        }
    }
}
