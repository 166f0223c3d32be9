//! When requests are due.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long what was due before the end is still sent after it, in nanoseconds: a server that keeps up owes no more than that.
const OVERTIME: u64 = 200_000_000;

/// When a thread may send its next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// This many requests, due then.
    Now { due: u64, requests: u32 },
    /// Not before then.
    Wait(u64),
    /// Never again.
    Over,
}

/// What all threads share of a run's plan. Times are nanoseconds since its start.
#[derive(Debug)]
pub(super) struct Limits {
    /// From when on requests count.
    pub(super) measure_from: u64,
    /// From when on none is sent.
    pub(super) end: Option<u64>,
    /// Requests that are left; none: no limit.
    left: Option<AtomicU64>,
}

impl Limits {
    pub(super) fn new(measure_from: u64, nanos: Option<u64>, requests: Option<u64>) -> Self {
        Self { measure_from, end: nanos.map(|nanos| measure_from + nanos), left: requests.map(AtomicU64::new) }
    }

    /// Takes up to `wanted` requests that are due then.
    fn take(&self, due: u64, wanted: u32) -> u32 {
        if self.end.is_some_and(|end| due >= end) {
            return 0;
        }
        let Some(left) = self.left.as_ref().filter(|_| due >= self.measure_from) else { return wanted };
        let take = |left: u64| Some(left - left.min(u64::from(wanted)));
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
        before.min(u64::from(wanted)) as u32
    }
}

/// One thread's schedule.
#[derive(Debug)]
pub(super) struct Schedule<'a> {
    limits: &'a Limits,
    batch: u32,
    /// Nanoseconds between batches of this thread, and the first one; none: when a client is free.
    pace: Option<(f64, f64)>,
    sent: u64,
    over: bool,
}

impl<'a> Schedule<'a> {
    /// `rate` is that of all threads, in requests a second.
    pub(super) fn new(limits: &'a Limits, batch: u32, rate: Option<f64>, thread: u32, threads: u32) -> Self {
        let pace = rate.map(|rate| {
            let between = 1e9 * f64::from(batch) / rate;
            (between * f64::from(threads), between * f64::from(thread))
        });
        Self { limits, batch, pace, sent: 0, over: false }
    }

    /// Takes the next batch if it is due. To be asked only when a client is free.
    pub(super) fn turn(&mut self, now: u64) -> Turn {
        if self.over {
            return Turn::Over;
        }
        let due = self.next_due().unwrap_or(now);
        if due > now && self.limits.end.is_none_or(|end| due < end) {
            return Turn::Wait(due);
        }
        // What is not sent then is told by `left_behind`.
        let requests = if self.is_past(now) { 0 } else { self.limits.take(due, self.batch) };
        if requests == 0 {
            self.over = true;
            return Turn::Over;
        }
        self.sent += 1;
        Turn::Now { due, requests }
    }

    /// Whether nothing more is sent, whatever was due.
    pub(super) fn is_past(&self, now: u64) -> bool {
        self.limits.end.is_some_and(|end| now >= end + OVERTIME)
    }

    /// When the next batch is due, in an open loop.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.pace.map(|(between, first)| (first + between * self.sent as f64) as u64)
    }

    /// Takes a batch that was due before the end and could not be sent: when it was due.
    pub(super) fn left_behind(&mut self, end: u64) -> Option<(u64, u32)> {
        let due = self.next_due().filter(|due| *due < end)?;
        let requests = self.limits.take(due, self.batch);
        self.sent += 1;
        (requests > 0).then_some((due, requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_is_due_at_its_rate_however_late_it_is_asked() {
        let limits = Limits::new(0, Some(1_000_000_000), None);
        let mut threads = [Schedule::new(&limits, 2, Some(1000.0), 0, 2), Schedule::new(&limits, 2, Some(1000.0), 1, 2)];
        assert_eq!(threads[0].turn(0), Turn::Now { due: 0, requests: 2 });
        assert_eq!(threads[1].turn(0), Turn::Wait(2_000_000));
        assert_eq!(threads[0].turn(0), Turn::Wait(4_000_000));
        assert_eq!(threads[0].turn(900_000_000), Turn::Now { due: 4_000_000, requests: 2 });
        assert_eq!(threads[0].turn(900_000_000), Turn::Now { due: 8_000_000, requests: 2 });
        assert_eq!(threads[0].turn(1_199_999_999), Turn::Now { due: 12_000_000, requests: 2 });
        assert_eq!(threads[0].turn(1_200_000_000), Turn::Over);
        let left: Vec<_> = std::iter::from_fn(|| threads[0].left_behind(1_000_000_000)).collect();
        assert_eq!((left.len(), left[0], left[245]), (246, (16_000_000, 2), (996_000_000, 2)));
    }

    #[test]
    fn a_closed_loop_ends_by_requests_or_by_time() {
        let limits = Limits::new(0, Some(100), Some(5));
        let mut schedule = Schedule::new(&limits, 2, None, 0, 1);
        let turns: Vec<_> = [0, 7, 8, 9].map(|now| schedule.turn(now)).to_vec();
        let now = |due, requests| Turn::Now { due, requests };
        assert_eq!(turns, [now(0, 2), now(7, 2), now(8, 1), Turn::Over]);
        assert_eq!(Schedule::new(&Limits::new(0, Some(100), None), 2, None, 0, 1).turn(100), Turn::Over);
    }

    #[test]
    fn the_warm_up_takes_nothing_from_what_is_measured() {
        let limits = Limits::new(50, None, Some(1));
        let mut schedule = Schedule::new(&limits, 1, None, 0, 1);
        let turns: Vec<_> = [0, 49, 50, 51].map(|now| schedule.turn(now)).to_vec();
        let now = |due| Turn::Now { due, requests: 1 };
        assert_eq!(turns, [now(0), now(49), now(50), Turn::Over]);
    }
}
