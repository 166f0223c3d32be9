//! How fast scrub reads: fast enough that a pass takes its period, within a limit.

use std::time::Duration;

/// Bytes a second that are read in any case, so that a pass over little data is not stretched over a week of restarts.
const LEAST: f64 = 1024.0 * 1024.0;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    /// Time of a whole pass; zero: scrub is off.
    pub(super) period: Duration,
    /// Bytes a second at most; 0: no limit.
    pub(super) rate: u64,
}

/// Where a pass is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Bytes that are still to be read.
    pub(super) left: u64,
    /// Time since the pass began.
    pub(super) elapsed: Duration,
}

impl Wanted {
    /// How long to rest after a piece of `bytes` that took `took` to read.
    pub(super) fn rest(&self, bytes: u64, took: Duration, progress: Progress) -> Duration {
        let time = self.period.saturating_sub(progress.elapsed).as_secs_f64().max(1.0);
        let needed = (progress.left as f64 / time).max(LEAST);
        let rate = if self.rate == 0 { needed } else { needed.min(self.rate as f64) };
        Duration::from_secs_f64(bytes as f64 / rate).saturating_sub(took)
    }

    /// How long to wait between two passes.
    pub(super) fn pause(&self, pass_took: Duration) -> Duration {
        self.period.saturating_sub(pass_took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 256 << 10;
    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    const READ: Duration = Duration::from_micros(500);

    /// Lets a pass over so many bytes run by a virtual clock: how long it takes.
    fn run(wanted: Wanted, bytes: u64) -> Duration {
        let mut progress = Progress { left: bytes, elapsed: Duration::ZERO };
        while progress.left > 0 {
            let piece = progress.left.min(PIECE);
            progress.left -= piece;
            progress.elapsed += READ + wanted.rest(piece, READ, progress);
        }
        progress.elapsed
    }

    #[test]
    fn a_pass_over_much_takes_its_period() {
        let took = run(Wanted { period: WEEK, rate: 0 }, 4 << 40).as_secs_f64();
        assert!((0.95..1.01).contains(&(took / WEEK.as_secs_f64())), "{took} s");
    }

    #[test]
    fn a_pass_over_little_takes_as_long_as_the_least_rate_needs() {
        let took = run(Wanted { period: WEEK, rate: 0 }, 1 << 30).as_secs_f64();
        assert!((1000.0..1100.0).contains(&took), "{took} s");
    }

    #[test]
    fn the_rate_is_never_exceeded_even_if_the_period_is() {
        let took = run(Wanted { period: Duration::from_secs(10), rate: 4 << 20 }, 1 << 30).as_secs_f64();
        assert!((256.0..260.0).contains(&took), "{took} s");
    }

    #[test]
    fn a_pass_that_is_late_catches_up() {
        let wanted = Wanted { period: Duration::from_secs(1000), rate: 0 };
        let rest = |elapsed| wanted.rest(PIECE, READ, Progress { left: 10 << 30, elapsed: Duration::from_secs(elapsed) });
        assert!(rest(900) < rest(100) / 5);
        assert_eq!(wanted.pause(Duration::from_secs(400)), Duration::from_secs(600));
    }
}
