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
/// Bytes a second that writers may write even without any room: so that those who find none are told, or wait for it.
const TRICKLE: f64 = LEAST / 4.0;
/// With less room than this, in segments, and what is used up while checkpoints are taken, nothing dead may lie about and writers are held
/// to what cleaning frees.
const SHORT: f64 = 3.0;
/// With less than this part of that, cleaning goes as fast as it can.
const FULL_SPEED: f64 = 0.6;
/// Of what the log has allocated, so much may be used up before more of it can be.
const AHEAD: f64 = 0.5;
/// With less than this, the space is measured often.
const NEAR: f64 = 10.0;
/// With less free than this, and what is used up during one checkpoint, a checkpoint is due as soon as it frees anything.
const CHECKPOINT: f64 = 2.0;
/// How many segments a log that is full has at most kept free for the time that checkpoints take.
const MOST_AHEAD: f64 = 4.0;

/// The room that is left of the allowed space, in segments; infinite without a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Room {
    /// What is free.
    pub(super) free: f64,
    /// What is free after the next checkpoint.
    pub(super) soon: f64,
    /// What the log has allocated and not written yet.
    pub(super) ahead: f64,
    /// What is used up while a checkpoint is taken.
    pub(super) checkpoint: f64,
}

impl Room {
    pub(super) const UNLIMITED: Self = Self { free: f64::INFINITY, soon: f64::INFINITY, ahead: f64::INFINITY, checkpoint: 0.0 };

    /// Whether nothing dead may lie about.
    pub(super) fn is_short(&self) -> bool {
        self.soon < self.short()
    }

    fn short(&self) -> f64 {
        SHORT + (1.5 * self.checkpoint).min(MOST_AHEAD)
    }

    /// Whether what retired segments take is needed now.
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.free < CHECKPOINT + self.checkpoint.min(MOST_AHEAD)
    }

    /// Whether the space may run out before long.
    pub(super) fn is_near(&self) -> bool {
        self.soon < NEAR
    }

    /// How much room there is for writers until the next checkpoint is done, as a part of what they should have.
    fn for_writers(&self) -> f64 {
        self.soon.min(self.free + self.ahead - AHEAD) / self.short()
    }

    /// 0: there is enough room; 1: cleaning has to go as fast as it can.
    fn pressure(&self) -> f64 {
        ((1.0 - self.for_writers()) / (1.0 - FULL_SPEED)).clamp(0.0, 1.0)
    }
}

/// What the rate depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// Bytes a second by which the log grows.
    pub(super) growth: f64,
    pub(super) room: Room,
    /// The part of the segments being cleaned that is live.
    pub(super) live: f64,
}

/// Bytes a second to read; none: as fast as it goes.
pub(super) fn rate(load: Load) -> Option<f64> {
    let pressure = load.room.pressure();
    if pressure >= 1.0 {
        return None;
    }
    // To free as much as the log grows by, so much has to be read; what is more catches up.
    let freed = (1.0 - load.live).max(0.05);
    Some((load.growth / freed * (1.1 + 2.0 * pressure)).max(LEAST * (1.0 + 8.0 * pressure)))
}

/// Bytes a second that writers are held to, so that the log grows no faster than cleaning frees, by `freed` bytes a second; none: as fast
/// as they like. The less room, the less: it settles where both are the same.
pub(super) fn write_rate(room: Room, freed: f64) -> Option<f64> {
    let part = room.for_writers();
    (part < 1.0).then(|| (freed.max(LEAST) * 2.0 * part).max(TRICKLE))
}

/// How fast the log grows, smoothed over some 300 ms.
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
        if seconds >= 0.02 {
            let now = (bytes - self.bytes) as f64 / seconds;
            let weight = (seconds / 0.3).min(1.0);
            self.rate += (now - self.rate) * weight;
            (self.bytes, self.at) = (bytes, Instant::now());
        }
    }
}

/// How fast cleaning frees space when nothing holds it back, smoothed over a few jobs.
#[derive(Debug, Default)]
pub(super) struct Freed {
    rate: f64,
}

impl Freed {
    pub(super) fn note(&mut self, bytes: u64, time: Duration) {
        let now = bytes as f64 / time.as_secs_f64().max(1e-6);
        self.rate += (now - self.rate) * if self.rate == 0.0 { 1.0 } else { 0.2 };
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }
}

/// Keeps to a rate.
pub(super) struct Throttle<'a> {
    /// The rate now; asked for again and again, because load changes during a job.
    pub(super) rate: &'a dyn Fn() -> Option<f64>,
    /// Waits; true if the thread is to stop.
    pub(super) wait: &'a dyn Fn(Duration) -> bool,
    pub(super) since: Instant,
    pub(super) bytes: usize,
    /// How long it has waited in all.
    pub(super) waited: Duration,
}

impl Pace for Throttle<'_> {
    fn spent(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        if self.bytes < PIECE {
            return true;
        }
        let due = (self.rate)().map_or(Duration::ZERO, |rate| Duration::from_secs_f64(self.bytes as f64 / rate));
        let pause = due.saturating_sub(self.since.elapsed());
        let before = Instant::now();
        let stop = (self.wait)(pause);
        (self.bytes, self.since) = (0, Instant::now());
        self.waited += self.since - before;
        !stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: f64 = 100e6;

    fn room(soon: f64) -> Room {
        Room { free: soon, soon, ahead: 1.0, checkpoint: 0.0 }
    }

    fn rate_at(soon: f64, live: f64) -> f64 {
        rate(Load { growth: GROWTH, room: room(soon), live }).expect("not urgent")
    }

    #[test]
    fn cleaning_frees_more_than_the_log_grows_by() {
        for (soon, live) in [(f64::INFINITY, 0.0), (9.0, 0.5), (2.5, 0.7), (2.1, 0.9)] {
            assert!(rate_at(soon, live) * (1.0 - live) > 1.05 * GROWTH, "{soon} segments, live {live}");
        }
    }

    #[test]
    fn it_hurries_as_the_space_runs_out() {
        assert!(rate_at(2.0, 0.5) > 2.0 * rate_at(5.0, 0.5));
        assert_eq!(rate(Load { growth: 0.0, room: room(1.8), live: 0.5 }), None);
        let waiting = Room { free: 0.0, soon: 9.0, ahead: 1.0, checkpoint: 0.0 };
        assert_eq!(rate(Load { growth: GROWTH, room: waiting, live: 0.5 }), None, "writers wait for it");
    }

    #[test]
    fn an_idle_log_is_cleaned_slowly() {
        assert_eq!(rate(Load { growth: 0.0, room: Room::UNLIMITED, live: 0.5 }), Some(LEAST));
    }

    #[test]
    fn the_longer_a_checkpoint_takes_the_earlier_space_is_short() {
        let slow = Room { checkpoint: 2.0, ..room(4.0) };
        assert!(!room(4.0).is_short() && slow.is_short());
        assert!(!room(3.0).wants_checkpoint() && Room { checkpoint: 2.0, ..room(3.0) }.wants_checkpoint());
        assert!(!Room { checkpoint: 1e9, ..room(7.5) }.is_short(), "but not without end");
    }

    #[test]
    fn writers_are_held_back_only_near_the_limit_and_settle_at_what_is_freed() {
        assert_eq!(write_rate(Room::UNLIMITED, 1e9), None);
        assert_eq!(write_rate(room(3.0), 1e9), None);
        assert_eq!(write_rate(room(1.5), 1e9), Some(1e9));
        assert_eq!(write_rate(room(-3.0), 1e9), Some(TRICKLE));
        let behind = Room { free: 0.0, soon: 3.0, ahead: 2.0, checkpoint: 0.0 };
        assert_eq!(write_rate(behind, 1e9), Some(1e9), "what waits for a checkpoint is no room yet");
    }

    #[test]
    fn the_throttle_waits_for_what_was_too_fast_and_passes_a_stop_on() {
        let waited = std::cell::Cell::new(Duration::ZERO);
        let wait = |pause| {
            waited.set(waited.get() + pause);
            waited.get() > Duration::from_secs(2)
        };
        let mut throttle = Throttle { rate: &|| Some(PIECE as f64), wait: &wait, since: Instant::now(), bytes: 0, waited: Duration::ZERO };
        assert!(throttle.spent(PIECE - 1));
        assert_eq!(waited.get(), Duration::ZERO);
        assert!(throttle.spent(1));
        assert!(waited.get() > Duration::from_millis(900));
        assert!(throttle.spent(PIECE));
        assert!(!throttle.spent(PIECE));
    }
}
