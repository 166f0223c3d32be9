//! How long cold reads take, from the request to the record.

use std::time::Duration;

/// Steps that the time doubles in.
const STEPS: u32 = 4;
/// Classes of times: the last is above an hour.
const CLASSES: usize = 128;

/// Reads of records that memory did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdReads {
    /// Done since the start.
    pub done: u64,
    /// Of them those that failed.
    pub failed: u64,
    /// Waiting for a reader now.
    pub queued: u64,
    micros: u64,
    classes: [u32; CLASSES],
}

impl Default for ColdReads {
    fn default() -> Self {
        Self { done: 0, failed: 0, queued: 0, micros: 0, classes: [0; CLASSES] }
    }
}

impl ColdReads {
    pub(super) fn note(&mut self, took: Duration, failed: bool) {
        let micros = took.as_micros() as u64;
        self.done += 1;
        self.failed += u64::from(failed);
        self.micros += micros;
        let class = &mut self.classes[class_of(micros)];
        *class = class.saturating_add(1);
    }

    /// Microseconds on the average.
    #[must_use]
    pub fn mean_micros(&self) -> u64 {
        self.micros.checked_div(self.done).unwrap_or(0)
    }

    /// Microseconds that a share of them did not exceed, to a fifth.
    #[must_use]
    pub fn percentile_micros(&self, share: f64) -> u64 {
        let wanted = (self.done as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (class, count) in self.classes.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted && wanted > 0 {
                return end_of(class);
            }
        }
        0
    }
}

fn class_of(micros: u64) -> usize {
    let doubled = f64::from(STEPS) * (micros.max(1) as f64).log2();
    (doubled.ceil() as usize).min(CLASSES - 1)
}

fn end_of(class: usize) -> u64 {
    (class as f64 / f64::from(STEPS)).exp2() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_fifth() {
        let mut reads = ColdReads::default();
        assert_eq!((reads.mean_micros(), reads.percentile_micros(0.5)), (0, 0));
        (1..=1000).for_each(|n| reads.note(Duration::from_micros(n), n == 7));
        assert_eq!((reads.done, reads.failed, reads.mean_micros()), (1000, 1, 500));
        for (share, expected) in [(0.5, 500), (0.99, 990), (1.0, 1000)] {
            let found = reads.percentile_micros(share);
            assert!((expected..=expected * 6 / 5).contains(&found), "{share}: {found}");
        }
        reads.note(Duration::from_secs(1 << 40), false);
        assert_eq!(reads.done, 1001);
    }
}
