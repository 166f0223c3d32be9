//! How far the log is on the medium, and who waits for it.
//!
//! Invariants:
//! - `flushed <= written`; both only grow.
//! - After a failed sync the log is poisoned for good: no later sync of the same file can be trusted to report what was lost.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::error::StorageError;
use crate::types::Lsn;

type Listener = Box<dyn Fn(Lsn) + Send + Sync>;

/// The written and flushed ends of a log.
#[derive(Default)]
pub struct Durability {
    written: AtomicU64,
    flushed: AtomicU64,
    poisoned: AtomicBool,
    reason: OnceLock<String>,
    wanted: Mutex<Wanted>,
    wake: Condvar,
    /// Set while the syncer sleeps, so that a request costs a system call only then.
    asleep: AtomicBool,
    listeners: RwLock<Vec<Listener>>,
}

#[derive(Default)]
struct Wanted {
    lsn: Lsn,
    stop: bool,
}

/// What the syncer is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Sync now.
    Sync,
    /// Nothing came in the time given.
    Timeout,
    /// End.
    Stop,
}

impl Durability {
    /// The LSN of the last entry in the log.
    #[inline]
    #[must_use]
    pub fn written(&self) -> Lsn {
        Lsn(self.written.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn set_written(&self, lsn: Lsn) {
        self.written.store(lsn.0, Ordering::Release);
    }

    /// Everything up to here survives power loss.
    #[must_use]
    pub fn flushed(&self) -> Lsn {
        Lsn(self.flushed.load(Ordering::Acquire))
    }

    pub(crate) fn set_flushed(&self, lsn: Lsn) {
        debug_assert!(lsn <= self.written(), "flushed <= written");
        self.flushed.fetch_max(lsn.0, Ordering::AcqRel);
        for listener in self.listeners.read().iter() {
            listener(lsn);
        }
    }

    /// Calls `listener` after each flush, on the thread that did it, and once when the log is poisoned.
    pub fn on_flush(&self, listener: Listener) {
        self.listeners.write().push(listener);
    }

    /// Asks for a sync of everything up to `lsn`.
    pub fn request(&self, lsn: Lsn) {
        if self.flushed() >= lsn {
            return;
        }
        let mut wanted = self.wanted.lock();
        if wanted.lsn < lsn {
            wanted.lsn = lsn;
            if self.asleep.load(Ordering::Relaxed) {
                self.wake.notify_one();
            }
        }
    }

    pub(crate) fn stop(&self) {
        self.wanted.lock().stop = true;
        self.wake.notify_all();
    }

    pub(crate) fn next_request(&self, patience: std::time::Duration) -> Request {
        let deadline = std::time::Instant::now() + patience;
        let mut wanted = self.wanted.lock();
        loop {
            if wanted.stop {
                return Request::Stop;
            }
            if wanted.lsn > self.flushed() {
                return Request::Sync;
            }
            self.asleep.store(true, Ordering::Relaxed);
            let timed_out = self.wake.wait_until(&mut wanted, deadline).timed_out();
            self.asleep.store(false, Ordering::Relaxed);
            if timed_out {
                return Request::Timeout;
            }
        }
    }

    /// Whether writes are refused because of an earlier failure.
    #[inline]
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn poison(&self, error: &StorageError) {
        let _ = self.reason.set(error.to_string());
        self.poisoned.store(true, Ordering::Release);
        tracing::error!("the log is poisoned, writes are refused: {error}");
        for listener in self.listeners.read().iter() {
            listener(self.flushed());
        }
    }

    pub(crate) fn check(&self) -> Result<(), StorageError> {
        if self.is_poisoned() { Err(self.poisoned_error()) } else { Ok(()) }
    }

    pub(crate) fn poisoned_error(&self) -> StorageError {
        StorageError::Poisoned { reason: self.reason.get().cloned().unwrap_or_default() }
    }
}
