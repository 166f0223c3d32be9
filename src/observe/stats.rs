//! Counters of connections and bytes. Those that change with every request are kept a worker, on cache lines of their own; each worker
//! writes only its own, so an addition is a plain load and store.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Rates;

/// Counters of one worker; only its thread adds to them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerStats {
    received: AtomicU64,
    sent: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl WorkerStats {
    /// Counts a read from a socket.
    #[inline]
    pub fn read(&self, bytes: usize) {
        self.received.store(self.received.load(Relaxed) + bytes as u64, Relaxed);
        self.reads.store(self.reads.load(Relaxed) + 1, Relaxed);
    }

    /// Counts a write to a socket.
    #[inline]
    pub fn wrote(&self, bytes: usize) {
        self.sent.store(self.sent.load(Relaxed) + bytes as u64, Relaxed);
        self.writes.store(self.writes.load(Relaxed) + 1, Relaxed);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident, $count:ident;)*) => {
        /// Counters that change rarely.
        #[derive(Debug, Default)]
        struct Rare { $($field: AtomicU64,)* }

        impl Rare {
            fn reset(&self) { $(self.$field.store(0, Relaxed);)* }
        }

        impl Stats {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $field(&self) -> u64 { self.rare.$field.load(Relaxed) }

                /// Counts one more of them.
                pub fn $count(&self) { self.rare.$field.fetch_add(1, Relaxed); }
            )*
        }
    };
}

counters! {
    /// Connections accepted.
    connections, count_connection;
    /// Connections refused because there were `maxclients` already, or by protected mode.
    rejected, count_rejected;
    /// Clients closed because they did not read their replies.
    output_limited, count_output_limited;
    /// Clients closed because of a request that was too long.
    query_limited, count_query_limited;
    /// Clients closed because they were idle.
    timed_out, count_timed_out;
}

/// All of them.
#[derive(Debug)]
pub struct Stats {
    workers: Box<[WorkerStats]>,
    rare: Rare,
    peak_memory: AtomicU64,
    startup_memory: u64,
    /// The samples behind `instantaneous_*`: commands, bytes received, bytes sent.
    pub rates: Rates,
}

impl Stats {
    /// Counters for this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let workers = (0..workers.max(1)).map(|_| WorkerStats::default()).collect();
        Self {
            workers,
            rare: Rare::default(),
            peak_memory: AtomicU64::new(0),
            startup_memory: super::memory().anonymous,
            rates: Rates::default(),
        }
    }

    /// The counters of worker `i`.
    #[must_use]
    pub fn worker(&self, i: usize) -> &WorkerStats {
        &self.workers[i % self.workers.len()]
    }

    fn sum(&self, of: impl Fn(&WorkerStats) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|w| of(w).load(Relaxed)).sum()
    }

    /// Bytes received from clients.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.sum(|w| &w.received)
    }

    /// Bytes sent to clients.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sum(|w| &w.sent)
    }

    /// Reads from sockets.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.sum(|w| &w.reads)
    }

    /// Writes to sockets.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.sum(|w| &w.writes)
    }

    /// Remembers the most memory that was in use.
    pub fn note_memory(&self, bytes: u64) {
        self.peak_memory.fetch_max(bytes, Relaxed);
    }

    /// The most memory that was seen in use.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        self.peak_memory.load(Relaxed)
    }

    /// Memory in use before there was data.
    #[must_use]
    pub fn startup_memory(&self) -> u64 {
        self.startup_memory
    }

    /// CONFIG RESETSTAT. An addition that runs at the same time may survive or undo the reset of its own counter.
    pub fn reset(&self) {
        self.rare.reset();
        self.rates.reset();
        self.peak_memory.store(0, Relaxed);
        for worker in &self.workers {
            for counter in [&worker.received, &worker.sent, &worker.reads, &worker.writes] {
                counter.store(0, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_all_workers_are_summed_and_reset() {
        let stats = Stats::new(2);
        stats.worker(0).read(10);
        stats.worker(1).read(5);
        stats.worker(1).wrote(7);
        stats.count_connection();
        assert_eq!((stats.received(), stats.reads(), stats.sent(), stats.writes(), stats.connections()), (15, 2, 7, 1, 1));
        stats.reset();
        assert_eq!((stats.received(), stats.reads(), stats.sent(), stats.connections()), (0, 0, 0, 0));
    }
}
