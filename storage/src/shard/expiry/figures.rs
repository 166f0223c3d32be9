//! What expiry tells of itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::types::{DATABASES, Db, UnixMillis};

/// Counters since the start, and what the sweep saw.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) removed: AtomicU64,
    pub(super) capped: AtomicU64,
    pub(super) micros: AtomicU64,
    pub(super) rounds: AtomicU64,
    /// Parts in a million.
    stale: AtomicU64,
    average_ttl: [AtomicU64; DATABASES as usize],
}

/// Figures of expiry, since the start or since they were reset.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ExpiryFigures {
    /// Keys removed because they had expired.
    pub removed: u64,
    /// Share of the keys with an expiry that were expired when the sweep came by, a moving average, in percent.
    pub stale_percent: f64,
    /// Steps of the sweep that ended early because their time was up.
    pub time_cap_reached: u64,
    /// Time spent in the sweep, in microseconds.
    pub micros: u64,
    /// Times the sweep has been over the whole index.
    pub rounds: u64,
    /// Remaining time of keys with an expiry, on average, for each database as the last whole sweep saw it, in milliseconds.
    pub average_ttl: [u64; DATABASES as usize],
    /// T of the last `expired up to` entry.
    pub expired_up_to: UnixMillis,
}

impl Counts {
    /// Of `seen` keys with an expiry `expired` were expired. As Redis reckons: each step counts for a twentieth.
    pub(super) fn saw(&self, seen: u64, expired: u64) {
        if let Some(now) = (expired * 1_000_000).checked_div(seen) {
            self.stale.store((self.stale.load(Relaxed) * 19 + now) / 20, Relaxed);
        }
    }

    pub(super) fn set_average_ttl(&self, db: Db, millis: u64) {
        self.average_ttl[usize::from(db.0)].store(millis, Relaxed);
    }

    pub(super) fn reset(&self) {
        for count in [&self.removed, &self.capped, &self.micros, &self.rounds, &self.stale] {
            count.store(0, Relaxed);
        }
    }

    pub(super) fn figures(&self, expired_up_to: UnixMillis) -> ExpiryFigures {
        ExpiryFigures {
            removed: self.removed.load(Relaxed),
            stale_percent: self.stale.load(Relaxed) as f64 / 1e4,
            time_cap_reached: self.capped.load(Relaxed),
            micros: self.micros.load(Relaxed),
            rounds: self.rounds.load(Relaxed),
            average_ttl: std::array::from_fn(|db| self.average_ttl[db].load(Relaxed)),
            expired_up_to,
        }
    }
}
