//! How fast the sweep goes: fast enough to be done in its time, never slower than what costs next to nothing, faster while much of what it
//! sees has expired, and never more than a tenth of a core.

use std::time::Duration;

/// Cells a second that are looked at in any case: few keys are swept many times a second, at a fraction of a percent of a core.
const LEAST: f64 = 20_000.0;
/// Share of the sweep's time in which it plans to be done; the rest is for steps that come late.
const PLANNED: f64 = 0.8;
/// Between two sweeps begun.
const ROUND_EVERY: Duration = Duration::from_millis(100);
/// The same while no key has an expiry.
const IDLE_EVERY: Duration = Duration::from_millis(250);
/// Share of expired keys, as a divisor, from which on the sweep goes faster: a tenth, as in Redis.
const STALE: u64 = 10;
/// How much faster it gets.
const MOST_BOOST: u32 = 32;
/// Rest for each unit of work: a tenth of a core at most.
const REST: u32 = 9;
const LEAST_REST: Duration = Duration::from_millis(1);

/// Where a sweep is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Cells that it has to look at altogether.
    pub(super) cells: u64,
    /// Cells that it has looked at.
    pub(super) seen: u64,
    /// Time since it began.
    pub(super) elapsed: Duration,
    /// Whether it is over.
    pub(super) done: bool,
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) seen: u64,
    /// Keys with an expiry among them.
    pub(super) volatile: u64,
    pub(super) expired: u64,
    pub(super) took: Duration,
}

/// The pace of the sweep.
#[derive(Debug)]
pub(super) struct Pace {
    boost: u32,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { boost: 1 }
    }

    /// How long to rest after a step, and whether the limit of a tenth of a core made it longer than the plan.
    pub(super) fn rest(&mut self, sweep_time: Duration, progress: &Progress, done: &Done) -> (Duration, bool) {
        if done.volatile > 0 {
            let stale = done.expired * STALE > done.volatile;
            self.boost = if stale { (self.boost * 2).min(MOST_BOOST) } else { (self.boost / 2).max(1) };
        }
        let planned = Duration::from_secs_f64(done.seen as f64 / self.rate(sweep_time, progress));
        let least = (done.took * REST).max(LEAST_REST);
        let mut rest = planned.max(least);
        if progress.done {
            let every = if progress.cells == 0 { IDLE_EVERY } else { ROUND_EVERY };
            rest = rest.max(every.saturating_sub(progress.elapsed));
        }
        (rest, done.took * REST > planned)
    }

    /// Cells a second.
    fn rate(&self, sweep_time: Duration, progress: &Progress) -> f64 {
        let planned = sweep_time.as_secs_f64() * PLANNED;
        // Late sweeps hurry, but not without bounds.
        let left = (planned - progress.elapsed.as_secs_f64()).max(planned / 20.0).max(0.001);
        let cells = progress.cells.saturating_sub(progress.seen) as f64;
        (cells / left).max(LEAST) * f64::from(self.boost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Duration = Duration::from_secs(300);

    /// Lets a sweep over so many cells run, each step taking `took`, `stale` of 100 keys expired: how long it takes, and the share of a core.
    fn run(cells: u64, took: Duration, stale: u64) -> (Duration, f64) {
        const STEP: u64 = 500;
        let mut pace = Pace::new();
        let mut progress = Progress { cells, ..Progress::default() };
        let mut busy = Duration::ZERO;
        while progress.seen < cells {
            let done = Done { seen: STEP, volatile: STEP, expired: STEP * stale / 100, took };
            progress.seen += STEP;
            busy += took;
            progress.elapsed += took + pace.rest(MINUTES, &progress, &done).0;
        }
        (progress.elapsed, busy.as_secs_f64() / progress.elapsed.as_secs_f64())
    }

    #[test]
    fn ten_million_keys_are_swept_in_time() {
        let (elapsed, share) = run(10_000_000, Duration::from_micros(50), 0);
        assert!(elapsed <= MINUTES && elapsed > MINUTES / 2, "{elapsed:?}");
        assert!(share < 0.01, "{share}");
    }

    #[test]
    fn few_keys_are_swept_at_once_and_not_all_the_time() {
        let (elapsed, _) = run(500, Duration::from_micros(50), 0);
        assert!(elapsed < Duration::from_millis(100), "{elapsed:?}");
        let over = Progress { cells: 500, seen: 500, elapsed: Duration::from_millis(1), done: true };
        let (rest, _) = Pace::new().rest(MINUTES, &over, &Done::default());
        assert!(rest > Duration::from_millis(90), "{rest:?}");
    }

    #[test]
    fn many_expired_keys_make_it_faster_within_a_tenth_of_a_core() {
        let (usual, _) = run(1_000_000, Duration::from_micros(400), 5);
        let (faster, share) = run(1_000_000, Duration::from_micros(400), 50);
        assert!(faster < usual / 4, "{faster:?} {usual:?}");
        assert!(share < 0.101, "{share}");
        assert!(Pace::new().rest(MINUTES, &Progress::default(), &Done { took: MINUTES, ..Done::default() }).1);
    }
}
