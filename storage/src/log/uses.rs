//! How often a segment is read: a sample, so that a GET seldom writes a cache line that other workers read.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// Of the reads from memory one in so many is counted.
pub(crate) const SAMPLE: u32 = 64;

/// Counts of reads. A cache line of its own: what else is known of a segment is read by every GET.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Uses {
    sampled: AtomicU32,
    missed: AtomicU32,
}

thread_local! {
    static UNTIL_NEXT: Cell<u32> = const { Cell::new(0) };
}

impl Uses {
    /// A read from memory.
    #[inline]
    pub(crate) fn used(&self) {
        UNTIL_NEXT.with(|until| match until.get().checked_sub(1) {
            Some(left) => until.set(left),
            None => {
                until.set(SAMPLE - 1);
                self.sampled.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// A read that had to go to the medium.
    pub(crate) fn missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads from memory, estimated, and from the medium since the last call.
    pub(crate) fn take(&self) -> (u64, u64) {
        let sampled = self.sampled.swap(0, Ordering::Relaxed);
        (u64::from(sampled) * u64::from(SAMPLE), u64::from(self.missed.swap(0, Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_stands_for_all_reads() {
        let uses = Uses::default();
        (0..64_000).for_each(|_| uses.used());
        uses.missed();
        let (used, missed) = uses.take();
        assert!(used.abs_diff(64_000) <= u64::from(SAMPLE), "{used}");
        assert_eq!((missed, uses.take()), (1, (0, 0)));
    }
}
