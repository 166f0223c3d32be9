//! What was executed: a counter a command and worker, summed when INFO asks.
//!
//! Each worker writes only its own counters, so an addition is a plain load and store: no locked instruction, no shared cache line.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::table::{CommandId, table};
use crate::observe::{Counts, Histogram};

/// The counters of all workers.
#[derive(Debug)]
pub struct Counters {
    workers: Box<[WorkerCounters]>,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// The counters of one worker, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerCounters {
    commands: Box<[CommandCounters]>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Default)]
struct CommandCounters {
    calls: AtomicU64,
    nanoseconds: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    times: Histogram,
}

/// What one command did so far, as `INFO commandstats` tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandTotals {
    /// Executed, with success or not.
    pub calls: u64,
    /// Time spent in it.
    pub nanoseconds: u64,
    /// Executed with an error reply.
    pub failed: u64,
    /// Refused before execution.
    pub rejected: u64,
}

/// Adds to a counter that only this thread writes.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

impl Counters {
    /// Counters for this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { workers: (0..workers.max(1)).map(|_| WorkerCounters::new()).collect(), errors: Mutex::default() }
    }

    /// The counters of worker `i`; only that worker's thread may add to them.
    #[must_use]
    pub fn worker(&self, i: usize) -> &WorkerCounters {
        &self.workers[i % self.workers.len()]
    }

    /// The sums of one command.
    #[must_use]
    pub fn command(&self, id: CommandId) -> CommandTotals {
        let mut totals = CommandTotals::default();
        for worker in &self.workers {
            let c = &worker.commands[id.index()];
            totals.calls += c.calls.load(Ordering::Relaxed);
            totals.nanoseconds += c.nanoseconds.load(Ordering::Relaxed);
            totals.failed += c.failed.load(Ordering::Relaxed);
            totals.rejected += c.rejected.load(Ordering::Relaxed);
        }
        totals
    }

    /// The times of one command.
    #[must_use]
    pub fn times(&self, id: CommandId) -> Counts {
        let mut counts = Counts::default();
        for worker in &self.workers {
            worker.commands[id.index()].times.collect(&mut counts);
        }
        counts
    }

    /// Commands executed: `total_commands_processed`.
    #[must_use]
    pub fn processed(&self) -> u64 {
        self.workers.iter().flat_map(|w| &w.commands).map(|c| c.calls.load(Ordering::Relaxed)).sum()
    }

    /// `keyspace_hits`.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.workers.iter().map(|w| w.hits.load(Ordering::Relaxed)).sum()
    }

    /// `keyspace_misses`.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.workers.iter().map(|w| w.misses.load(Ordering::Relaxed)).sum()
    }

    /// Counts an error reply by its code, the first word of its text.
    pub fn error(&self, text: &str) {
        const CODES_AT_MOST: usize = 128;
        let code = text.split(' ').next().unwrap_or_default();
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(code) {
            *count += 1;
        } else if errors.len() < CODES_AT_MOST {
            errors.insert(code.to_owned(), 1);
        }
    }

    /// Error replies by code, as `INFO errorstats` tells them.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }

    /// CONFIG RESETSTAT. An addition that runs at the same time may survive or undo the reset of its own counter.
    pub fn reset(&self) {
        self.errors.lock().clear();
        for worker in &self.workers {
            worker.hits.store(0, Ordering::Relaxed);
            worker.misses.store(0, Ordering::Relaxed);
            for c in &worker.commands {
                for counter in [&c.calls, &c.nanoseconds, &c.failed, &c.rejected] {
                    counter.store(0, Ordering::Relaxed);
                }
                c.times.reset();
            }
        }
    }
}

impl WorkerCounters {
    fn new() -> Self {
        let commands = table().map(|_| CommandCounters::default()).collect();
        Self { commands, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// Counts `calls` executions that took `nanoseconds` together.
    pub fn executed(&self, id: CommandId, calls: u64, nanoseconds: u64) {
        let c = &self.commands[id.index()];
        add(&c.calls, calls);
        add(&c.nanoseconds, nanoseconds);
        if let Some(each) = nanoseconds.checked_div(calls) {
            c.times.add(each, calls);
        }
    }

    /// Counts an execution that ended with an error reply; also counted by [`Self::executed`].
    pub fn failed(&self, id: CommandId) {
        add(&self.commands[id.index()].failed, 1);
    }

    /// Counts a command that was refused before execution.
    pub fn rejected(&self, id: CommandId) {
        add(&self.commands[id.index()].rejected, 1);
    }

    /// Counts lookups of keys by reading commands that found one.
    pub fn hits(&self, n: u64) {
        add(&self.hits, n);
    }

    /// Counts lookups of keys by reading commands that found none.
    pub fn misses(&self, n: u64) {
        add(&self.misses, n);
    }
}
