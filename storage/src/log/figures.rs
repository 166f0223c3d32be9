//! Figures of a log, for those who watch it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Log;
use crate::types::{EpochNumber, HistoryId, Lsn};

/// Counts of what the log did since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    appended_bytes: AtomicU64,
    syncs: AtomicU64,
    last_sync_micros: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    /// Called under the tail's lock only, so no atomic addition is needed.
    #[inline]
    pub(super) fn appended(&self, bytes: u64) {
        self.appended_bytes.store(self.appended_bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    pub(super) fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn synced(&self, took: Duration) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.last_sync_micros.store(took.as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn last_sync(&self) -> Duration {
        Duration::from_micros(self.last_sync_micros.load(Ordering::Relaxed))
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Who was refused tries again: one refusal less.
    pub(super) fn tries_again(&self) {
        self.refused.update(Ordering::Relaxed, Ordering::Relaxed, |refused| refused.saturating_sub(1));
    }
}

/// The state of a log in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFigures {
    /// LSN of the last entry.
    pub written: Lsn,
    /// Everything up to here survives power loss.
    pub flushed: Lsn,
    /// The epoch being written.
    pub epoch: EpochNumber,
    /// The history being written.
    pub history: HistoryId,
    /// Segments that have begun.
    pub segments: u64,
    /// Bytes of their headers and frames.
    pub bytes: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// How long the last one took.
    pub last_sync_micros: u64,
    /// Why writes are refused for good; empty while they are not.
    pub poisoned: String,
    /// Whether there was no room for the next segment.
    pub disk_full: bool,
    /// Writes refused for want of room.
    pub refused_writes: u64,
}

impl Log {
    /// The figures now.
    #[must_use]
    pub fn figures(&self) -> LogFigures {
        let segments = self.segments().in_order();
        let (epoch, disk_full) = {
            let tail = self.tail.lock();
            (tail.epoch, tail.spare_failed)
        };
        LogFigures {
            written: self.durability.written(),
            flushed: self.durability.flushed(),
            epoch,
            history: self.history,
            segments: segments.len() as u64,
            bytes: segments.iter().map(|segment| segment.map().written() as u64).sum(),
            syncs: self.counts.syncs(),
            last_sync_micros: self.counts.last_sync_micros.load(Ordering::Relaxed),
            poisoned: if self.durability.is_poisoned() { self.durability.poisoned_error().to_string() } else { String::new() },
            disk_full,
            refused_writes: self.counts.refused.load(Ordering::Relaxed),
        }
    }
}
