//! Times in a histogram: eight buckets for each power of two, so that a percentile is at most an eighth too high.
//!
//! The buckets are allocated when the first time is added: most commands are never run.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Times below 2^LOWEST nanoseconds share the first bucket.
const LOWEST: u32 = 7;
/// Times from 2^HIGHEST nanoseconds (137 s) on share the last.
const HIGHEST: u32 = 37;
const SUB_BITS: u32 = 3;
const BUCKETS: usize = ((HIGHEST - LOWEST) << SUB_BITS) as usize + 2;

/// A histogram that one thread adds to and any thread reads.
#[derive(Debug, Default)]
pub struct Histogram(OnceLock<Box<[AtomicU64]>>);

/// The counts of one or several histograms.
#[derive(Debug, Clone)]
pub struct Counts([u64; BUCKETS]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

fn bucket_of(nanoseconds: u64) -> usize {
    let octave = nanoseconds.max(1).ilog2();
    if octave < LOWEST {
        0
    } else if octave >= HIGHEST {
        BUCKETS - 1
    } else {
        let sub = (nanoseconds >> (octave - SUB_BITS)) as usize & ((1 << SUB_BITS) - 1);
        (((octave - LOWEST) as usize) << SUB_BITS) + sub + 1
    }
}

/// The lowest time that no longer belongs to the bucket.
fn end_of(bucket: usize) -> u64 {
    if bucket == 0 {
        return 1 << LOWEST;
    }
    let octave = LOWEST + ((bucket - 1) >> SUB_BITS) as u32;
    let sub = (bucket as u64 - 1) & ((1 << SUB_BITS) - 1);
    (1 << octave) + ((sub + 1) << (octave - SUB_BITS))
}

impl Histogram {
    /// Adds `count` times of `nanoseconds` each. Only one thread may do so: it is no atomic addition.
    pub fn add(&self, nanoseconds: u64, count: u64) {
        let buckets = self.0.get_or_init(|| (0..BUCKETS).map(|_| AtomicU64::new(0)).collect());
        let bucket = &buckets[bucket_of(nanoseconds)];
        bucket.store(bucket.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    /// Adds these counts to `counts`.
    pub fn collect(&self, counts: &mut Counts) {
        for (sum, bucket) in counts.0.iter_mut().zip(self.0.get().into_iter().flatten()) {
            *sum += bucket.load(Ordering::Relaxed);
        }
    }

    /// Forgets all.
    pub fn reset(&self) {
        for bucket in self.0.get().into_iter().flatten() {
            bucket.store(0, Ordering::Relaxed);
        }
    }
}

impl Counts {
    /// How many times there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Microseconds that this share (0 to 100) of the times did not exceed.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> f64 {
        let wanted = (self.total() as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0.0, |bucket| end_of(bucket) as f64 / 1000.0)
    }

    /// How many times did not exceed 1.024 microseconds, twice that, and so on: (microseconds, count) where the count grows.
    #[must_use]
    pub fn doubling(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let (mut seen, mut shown) = (0, 0);
        for (bucket, count) in self.0.iter().enumerate() {
            seen += count;
            let end = end_of(bucket);
            let at_step = end.is_power_of_two() && end >= 1024 || bucket == BUCKETS - 1;
            if at_step && seen > shown {
                steps.push((end / 1000, seen));
                shown = seen;
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_below_the_end_of_its_bucket_by_an_eighth_at_most() {
        for nanoseconds in (0..200).chain((8..37).flat_map(|p| [(1 << p) - 1, 1 << p, (1 << p) + 1, 3 << (p - 1)])) {
            let end = end_of(bucket_of(nanoseconds));
            assert!(nanoseconds < end, "{nanoseconds}");
            assert!(nanoseconds < 128 || end <= nanoseconds + nanoseconds / 8 + 1, "{nanoseconds} {end}");
        }
    }

    #[test]
    fn percentiles_follow_the_counts() {
        let histogram = Histogram::default();
        histogram.add(1_000, 98);
        histogram.add(1_000_000, 2);
        let mut counts = Counts::default();
        histogram.collect(&mut counts);
        assert_eq!(counts.total(), 100);
        assert!((1.0..1.2).contains(&counts.percentile(50.0)));
        assert!((1000.0..1200.0).contains(&counts.percentile(99.0)));
        assert_eq!(counts.doubling(), [(1, 98), (1048, 100)]);
    }

    #[test]
    fn a_reset_histogram_is_empty() {
        let histogram = Histogram::default();
        histogram.add(5, 1);
        histogram.reset();
        let mut counts = Counts::default();
        histogram.collect(&mut counts);
        assert_eq!(counts.total(), 0);
        assert!(counts.doubling().is_empty());
    }
}
