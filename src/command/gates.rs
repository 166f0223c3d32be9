//! Conditions of the whole server that a command has to stop at: one word, read once a command.

use std::sync::atomic::{AtomicU32, Ordering};

/// The conditions that hold now, one bit each. While none does, GET and SET take the fast path.
#[derive(Debug, Default)]
pub struct Gates(AtomicU32);

impl Gates {
    /// Someone listens with MONITOR.
    pub const MONITORS: u32 = 1;
    /// Keyspace events are switched on.
    pub const EVENTS: u32 = 1 << 1;
    /// Every command is to be timed (the slow log's or the latency monitor's threshold is below a batch's usual time).
    pub const TIMED: u32 = 1 << 2;

    /// There is more data than maxmemory allows, and nothing to evict.
    pub const NO_ROOM: u32 = 1 << 3;
    /// This is a replica that takes no writes.
    pub const READ_ONLY: u32 = 1 << 4;
    /// Too few replicas follow for writes.
    pub const TOO_FEW_REPLICAS: u32 = 1 << 5;
    /// This is a replica without a link to its primary that is not to serve stale data.
    pub const LINK_DOWN: u32 = 1 << 6;
    /// What arrived from the primary is being brought into place.
    pub const LOADING: u32 = 1 << 7;
    /// This is a primary that lost power and may lack what it promised.
    pub const LOST_POWER: u32 = 1 << 8;

    /// Those that stop writes only.
    pub const OF_WRITES: u32 = Self::READ_ONLY | Self::TOO_FEW_REPLICAS;
    /// Those that follow from replication.
    pub const OF_REPLICATION: u32 = Self::OF_WRITES | Self::LINK_DOWN | Self::LOADING | Self::LOST_POWER;

    /// Sets or clears a condition.
    pub fn set(&self, bit: u32, on: bool) {
        if on {
            self.0.fetch_or(bit, Ordering::SeqCst);
        } else {
            self.0.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Whether the condition holds.
    #[must_use]
    pub fn has(&self, bit: u32) -> bool {
        self.0.load(Ordering::Relaxed) & bit != 0
    }

    /// Of the conditions in `all`, those in `on` hold, and no others.
    pub fn set_all(&self, all: u32, on: u32) {
        if self.0.load(Ordering::SeqCst) & all != on {
            self.0.update(Ordering::SeqCst, Ordering::SeqCst, |bits| (bits & !all) | on);
        }
    }

    /// The conditions that hold.
    #[inline]
    #[must_use]
    pub fn closed(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
