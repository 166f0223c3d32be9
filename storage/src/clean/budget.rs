//! How fast cleaning may go: fast enough that the disk does not fill, and no faster, so that it takes little from requests.

use std::time::{Duration, Instant};

/// Slows a job down, and ends it.
pub(super) trait Pace {
    /// So many bytes were read; waits if that was too fast. False: stop.
    fn spent(&mut self, bytes: usize) -> bool;
}

/// Bytes between two looks at the clock.
const PIECE: usize = 256 << 10;
/// Bytes a second that are always granted.
const LEAST: f64 = 16.0 * 1024.0 * 1024.0;
/// From this share of the space in use on, cleaning does not wait any more.
const URGENT: f64 = 0.97;
/// From this share on, it goes faster than the log grows.
const NEAR: f64 = 0.75;

/// What the rate depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// Bytes a second by which the log grows.
    pub(super) growth: f64,
    /// The part of the allowed space that is in use; 0 without a limit.
    pub(super) used: f64,
    /// The part of the segments being cleaned that is live.
    pub(super) live: f64,
}

/// Bytes a second to read; none: as fast as it goes.
pub(super) fn rate(load: Load) -> Option<f64> {
    if load.used >= URGENT {
        return None;
    }
    // To free as much as the log grows by, so much has to be read; half as much again catches up.
    let freed = (1.0 - load.live).max(0.05);
    let pressure = ((load.used - NEAR) / (URGENT - NEAR)).clamp(0.0, 1.0);
    Some((load.growth / freed * (1.5 + 4.0 * pressure)).max(LEAST * (1.0 + 8.0 * pressure)))
}

/// How fast the log grows, smoothed over about a second.
pub(super) struct Growth {
    bytes: u64,
    at: Instant,
    rate: f64,
}

impl Growth {
    pub(super) fn new() -> Self {
        Self { bytes: 0, at: Instant::now(), rate: 0.0 }
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// `bytes`: appended so far.
    pub(super) fn note(&mut self, bytes: u64) {
        let seconds = self.at.elapsed().as_secs_f64();
        if seconds >= 0.05 {
            let now = (bytes - self.bytes) as f64 / seconds;
            let weight = (seconds / 1.0).min(1.0);
            self.rate += (now - self.rate) * weight;
            (self.bytes, self.at) = (bytes, Instant::now());
        }
    }
}

/// From this share of the space in use on, writers are held back: cleaning does not keep up with them.
const HELD_BACK: f64 = 0.94;
/// How long a connection pauses after a batch of writes when there is no space left at all.
const LONGEST: Duration = Duration::from_millis(50);

/// How long a connection pauses after a batch of writes, so that the log grows no faster than cleaning frees. `reclaims`: there is something
/// to wait for.
pub(super) fn write_delay(used: f64, reclaims: bool) -> Duration {
    if used <= HELD_BACK || !reclaims {
        return Duration::ZERO;
    }
    let pressure = ((used - HELD_BACK) / (1.0 - HELD_BACK)).min(1.0);
    LONGEST.mul_f64(pressure * pressure)
}

/// Keeps to a rate.
pub(super) struct Throttle<'a> {
    /// The rate now; asked for again and again, because load changes during a job.
    pub(super) rate: &'a dyn Fn() -> Option<f64>,
    /// Waits; true if the thread is to stop.
    pub(super) wait: &'a dyn Fn(Duration) -> bool,
    pub(super) since: Instant,
    pub(super) bytes: usize,
}

impl Pace for Throttle<'_> {
    fn spent(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        if self.bytes < PIECE {
            return true;
        }
        let due = (self.rate)().map_or(Duration::ZERO, |rate| Duration::from_secs_f64(self.bytes as f64 / rate));
        let pause = due.saturating_sub(self.since.elapsed());
        let stop = (self.wait)(pause);
        (self.bytes, self.since) = (0, Instant::now());
        !stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: f64 = 100e6;

    fn rate_at(used: f64, live: f64) -> f64 {
        rate(Load { growth: GROWTH, used, live }).expect("not urgent")
    }

    #[test]
    fn cleaning_frees_more_than_the_log_grows_by() {
        for (used, live) in [(0.0, 0.0), (0.5, 0.5), (0.8, 0.7), (0.9, 0.9)] {
            assert!(rate_at(used, live) * (1.0 - live) > 1.4 * GROWTH, "used {used}, live {live}");
        }
    }

    #[test]
    fn it_hurries_as_the_space_runs_out() {
        assert!(rate_at(0.95, 0.5) > 2.0 * rate_at(0.5, 0.5));
        assert_eq!(rate(Load { growth: 0.0, used: 0.98, live: 0.5 }), None);
    }

    #[test]
    fn an_idle_log_is_cleaned_slowly() {
        assert_eq!(rate(Load { growth: 0.0, used: 0.0, live: 0.5 }), Some(LEAST));
    }

    #[test]
    fn writers_are_held_back_only_near_the_limit_and_only_for_something() {
        assert_eq!(write_delay(0.9, true), Duration::ZERO);
        assert_eq!(write_delay(1.0, false), Duration::ZERO);
        assert!(write_delay(0.96, true) < write_delay(0.99, true));
        assert_eq!(write_delay(1.2, true), LONGEST);
    }

    #[test]
    fn the_throttle_waits_for_what_was_too_fast_and_passes_a_stop_on() {
        let waited = std::cell::Cell::new(Duration::ZERO);
        let wait = |pause| {
            waited.set(waited.get() + pause);
            waited.get() > Duration::from_secs(2)
        };
        let mut throttle = Throttle { rate: &|| Some(PIECE as f64), wait: &wait, since: Instant::now(), bytes: 0 };
        assert!(throttle.spent(PIECE - 1));
        assert_eq!(waited.get(), Duration::ZERO);
        assert!(throttle.spent(1));
        assert!(waited.get() > Duration::from_millis(900));
        assert!(throttle.spent(PIECE));
        assert!(!throttle.spent(PIECE));
    }
}
