//! The thread that sweeps.
//!
//! It keeps its usual priority: it holds stripes' locks for moments, and a thread that is put aside while it holds one holds up everyone.
//! What keeps it from being in the way is its pace.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Shared;
use super::pace::Pace;
use super::sweep::Sweeper;
use crate::error::{Result, StorageError};
use crate::thread::Thread;

/// Age of the last T from which the sweep writes a new one.
const SWEEP_PATIENCE: Duration = Duration::from_millis(100);
/// Between two times that the queue is emptied, each of which may write a T.
const QUEUE_EVERY: Duration = Duration::from_millis(10);
/// How long to leave alone what was in the way: an image that is being taken, a sweep that is switched off.
const WAIT: Duration = Duration::from_millis(100);
/// The same after the log took no entry.
const WAIT_FOR_LOG: Duration = Duration::from_secs(1);

/// Starts it. Its queue is its signal: accesses only try to take the lock, and it waits until one of two times.
pub(super) fn start(shared: &Arc<Shared>, sweeper: &Arc<Mutex<Sweeper>>) -> Result<Thread> {
    shared.has_thread.store(true, Relaxed);
    let mut work = Work {
        shared: Arc::clone(shared),
        sweeper: Arc::clone(sweeper),
        pace: Pace::new(),
        next_step: Instant::now(),
        next_queue: Instant::now(),
        failing: false,
    };
    Thread::start("esker-expiry", "expiry", move || work.run())
}

struct Work {
    shared: Arc<Shared>,
    sweeper: Arc<Mutex<Sweeper>>,
    pace: Pace,
    next_step: Instant,
    next_queue: Instant,
    failing: bool,
}

impl Work {
    fn run(&mut self) {
        while let Some(found) = self.wait() {
            if found {
                let emptied = self.sweeper.lock().empty_queue();
                let rest = if matches!(emptied, Ok(true)) { QUEUE_EVERY } else { WAIT };
                self.next_queue = Instant::now() + rest;
                self.note(emptied.err());
            }
            if Instant::now() >= self.next_step {
                self.next_step = Instant::now() + self.step();
            }
        }
    }

    /// Waits until there is something to do; none to stop, else whether the queue is to be emptied.
    fn wait(&self) -> Option<bool> {
        let mut queue = self.shared.queue.lock();
        loop {
            if queue.stop {
                return None;
            }
            let now = Instant::now();
            let found = !queue.found.is_empty();
            if found && now >= self.next_queue {
                return Some(true);
            }
            if now >= self.next_step {
                return Some(false);
            }
            let until = if found { self.next_queue.min(self.next_step) } else { self.next_step };
            self.shared.wake.wait_until(&mut queue, until);
        }
    }

    /// Sweeps for a piece and returns how long to rest.
    fn step(&mut self) -> Duration {
        if !self.shared.active.load(Relaxed) {
            return WAIT;
        }
        let mut sweeper = self.sweeper.lock();
        let stepped = sweeper.step(SWEEP_PATIENCE);
        let progress = sweeper.progress();
        drop(sweeper);
        match stepped {
            Ok(Some(done)) => {
                self.note(None);
                let sweep_time = Duration::from_millis(self.shared.sweep_millis.load(Relaxed));
                let (rest, capped) = self.pace.rest(sweep_time, &progress, &done);
                self.shared.counts.capped.fetch_add(u64::from(capped), Relaxed);
                rest
            }
            Ok(None) => WAIT,
            Err(error) => {
                self.note(Some(error));
                WAIT_FOR_LOG
            }
        }
    }

    /// Tells of a failure once.
    fn note(&mut self, error: Option<StorageError>) {
        if let Some(error) = &error
            && !self.failing
        {
            tracing::warn!("expired keys stay in the index: {error}");
        }
        self.failing = error.is_some();
    }
}
