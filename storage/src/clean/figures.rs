//! What cleaning did and has to do, in figures.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(super) jobs: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) removed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    pub(super) live_bytes: AtomicU64,
    pub(super) retired_bytes: AtomicU64,
    pub(super) used_bytes: AtomicU64,
    pub(super) debt_bytes: AtomicU64,
    pub(super) micros: AtomicU64,
    pub(super) history_bytes: AtomicU64,
    pub(super) history_from: AtomicU64,
    pub(super) history_gave_way: AtomicU64,
}

/// The state of cleaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CleaningFigures {
    /// Jobs done since the start.
    pub jobs: u64,
    /// Jobs that ended with an error.
    pub failed: u64,
    /// Bytes of segments that were cleaned.
    pub read_bytes: u64,
    /// Bytes of the segments that took their place.
    pub written_bytes: u64,
    /// Bytes of files removed.
    pub reclaimed_bytes: u64,
    /// Bytes of sealed segments.
    pub log_bytes: u64,
    /// Bytes of them that are live, estimated from the number of records.
    pub live_bytes: u64,
    /// Bytes of cleaned segments that wait for a checkpoint to be removed.
    pub retired_bytes: u64,
    /// Bytes that the shard's files take on the disk, when last measured.
    pub used_bytes: u64,
    /// Dead bytes above what is allowed to lie about: what cleaning is behind by.
    pub debt_bytes: u64,
    /// Time spent, in microseconds.
    pub micros: u64,
    /// Bytes of segments that are left alone because of what is to be kept of the past.
    pub history_bytes: u64,
    /// The oldest LSN whose state can be told.
    pub history_from: u64,
    /// Times that the past had to give way because the space ran out.
    pub history_gave_way: u64,
}

impl Counts {
    pub(crate) fn figures(&self) -> CleaningFigures {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CleaningFigures {
            jobs: get(&self.jobs),
            failed: get(&self.failed),
            read_bytes: get(&self.read),
            written_bytes: get(&self.written),
            reclaimed_bytes: get(&self.removed),
            log_bytes: get(&self.log_bytes),
            live_bytes: get(&self.live_bytes),
            retired_bytes: get(&self.retired_bytes),
            used_bytes: get(&self.used_bytes),
            debt_bytes: get(&self.debt_bytes),
            micros: get(&self.micros),
            history_bytes: get(&self.history_bytes),
            history_from: get(&self.history_from),
            history_gave_way: get(&self.history_gave_way),
        }
    }
}
