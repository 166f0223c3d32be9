//! How much of the disk a shard may take.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::budget::write_delay;

/// The limit, and how far it is reached. What checks it is the making of segments: nothing else grows by itself.
#[derive(Debug, Default)]
pub struct SpaceLimit {
    /// Bytes; 0: none.
    limit: AtomicU64,
    used: AtomicU64,
    /// What the log leaves free of the limit: for cleaning, and for the checkpoint that lets it give space back.
    reserve: AtomicU64,
    /// Whether cleaning has something to give back.
    reclaims: AtomicBool,
    delay_micros: AtomicU64,
}

/// Segments that cleaning may still write when the log may not grow any more: it writes one at a time.
const RESERVED_SEGMENTS: u64 = 1;

impl SpaceLimit {
    /// Bytes that the shard's files may take; 0: no limit.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit; 0: none.
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that the shard's files took when last measured.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn set_used(&self, bytes: u64) {
        self.used.store(bytes, Ordering::Relaxed);
        let delay = write_delay(self.share(), self.reclaims());
        self.delay_micros.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// Whether room can be expected without anything being deleted.
    pub(crate) fn reclaims(&self) -> bool {
        self.reclaims.load(Ordering::Relaxed)
    }

    pub(crate) fn set_reclaims(&self, reclaims: bool) {
        self.reclaims.store(reclaims, Ordering::Relaxed);
    }

    /// How long whoever has just written should pause, so that cleaning keeps up with the log; none as a rule.
    #[inline]
    #[must_use]
    pub fn write_delay(&self) -> Option<Duration> {
        let micros = self.delay_micros.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    pub(crate) fn set_reserve(&self, segment: u64, checkpoint: u64) {
        self.reserve.store(RESERVED_SEGMENTS * segment + checkpoint, Ordering::Relaxed);
    }

    /// Bytes that the log may take of the limit, beside what is reserved.
    pub(crate) fn for_log(&self) -> u64 {
        self.limit().saturating_sub(self.reserve.load(Ordering::Relaxed)).max(1)
    }

    /// The part of what the log may use that is in use, 0 without a limit.
    pub(crate) fn share(&self) -> f64 {
        if self.limit() == 0 { 0.0 } else { self.used() as f64 / self.for_log() as f64 }
    }

    /// Whether the log may take `more` bytes.
    pub(crate) fn admits(&self, more: u64) -> bool {
        self.limit() == 0 || self.used() + more <= self.for_log()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_everything_is_admitted() {
        let space = SpaceLimit::default();
        space.set_used(1 << 60);
        assert!(space.admits(1 << 40));
        assert_eq!(space.share(), 0.0);
    }

    #[test]
    fn the_log_may_not_take_the_reserve() {
        let space = SpaceLimit::default();
        space.set_limit(100);
        space.set_reserve(10, 10);
        space.set_used(70);
        assert!(space.admits(10));
        assert!(!space.admits(11));
        space.set_used(80);
        assert_eq!(space.share(), 1.0);
    }
}
