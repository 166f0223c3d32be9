//! Holding writers back, so that the log grows no faster than cleaning gives space back: many short pauses instead of a long one.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest pause of one connection after one batch: the rate is another soon.
const LONGEST: Duration = Duration::from_millis(20);
/// Shorter pauses are saved up: the server's timers have this resolution.
const SHORTEST: Duration = Duration::from_millis(1);

/// When the clock of this module began.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A rate that all writers together are held to.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Bytes a second; 0: as they like.
    rate: AtomicU64,
    /// When what has been written so far will have been written at that rate, in nanoseconds.
    due: AtomicU64,
}

impl Hold {
    /// Sets the rate in bytes a second; none: as fast as they like.
    pub(super) fn set_rate(&self, rate: Option<f64>) {
        self.rate.store(rate.map_or(0, |rate| rate.max(1.0) as u64), Ordering::Relaxed);
    }

    /// Notes that `bytes` were written; how long whoever wrote them should pause.
    #[inline]
    pub(super) fn wrote(&self, bytes: u64) -> Option<Duration> {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 { None } else { self.wrote_at(bytes, rate, BEGAN.elapsed().as_nanos() as u64) }
    }

    fn wrote_at(&self, bytes: u64, rate: u64, now: u64) -> Option<Duration> {
        let takes = bytes.saturating_mul(1_000_000_000) / rate;
        let longest = LONGEST.as_nanos() as u64;
        // Not beyond the longest pause: the rate may be higher by then.
        let next = |due: u64| (due.max(now) + takes).min(now + longest);
        let due = next(self.due.update(Ordering::Relaxed, Ordering::Relaxed, next));
        let pause = Duration::from_nanos(due - now);
        (pause >= SHORTEST).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_pauses_without_a_rate() {
        let hold = Hold::default();
        assert_eq!(hold.wrote(1 << 40), None);
        hold.set_rate(Some(1e6));
        assert!(hold.wrote(1 << 20).is_some());
        hold.set_rate(None);
        assert_eq!(hold.wrote(1 << 40), None);
    }

    #[test]
    fn all_together_keep_to_the_rate() {
        // 20 writers of 1 kB at 1 MB/s: the last of them waits for all.
        let hold = Hold::default();
        let pauses: Vec<_> = (0..20).map(|_| hold.wrote_at(1000, 1_000_000, 5)).collect();
        assert_eq!(pauses[0], Some(Duration::from_millis(1)));
        assert_eq!(pauses[19], Some(Duration::from_millis(20)));
    }

    #[test]
    fn short_pauses_are_saved_up_and_long_ones_cut() {
        let hold = Hold::default();
        assert_eq!(hold.wrote_at(400, 1_000_000, 0), None);
        assert_eq!(hold.wrote_at(400, 1_000_000, 0), None);
        assert_eq!(hold.wrote_at(400, 1_000_000, 0), Some(Duration::from_micros(1200)));
        assert_eq!(hold.wrote_at(400, 1_000_000, 2_000_000), None, "the time that has passed counts");
        assert_eq!(hold.wrote_at(1 << 30, 1_000_000, 3_000_000), Some(LONGEST));
    }
}
