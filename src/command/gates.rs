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

    /// Whether no condition holds.
    #[must_use]
    pub fn all_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}
