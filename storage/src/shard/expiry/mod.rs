//! Expiry: taking keys whose time has come out of the index. They read as absent without that; this gives back their place, ends their
//! counts and tells who listens.
//!
//! A key is found expired by the sweep, which walks over the index all the time, or by an access, which puts it into a queue. A key that a
//! command writes over or deletes after its time counts as expired too.
//!
//! Invariants:
//! - A key leaves the index without an entry of its own only if it expires at T or before, T being that of the last `expired up to` entry;
//!   and only while no image of the index is being taken ([`Index::unlogged`](crate::index::Index::unlogged)).
//! - T is in the index before a replay position beyond its entry is: the entry is appended under a stripe's exclusive lock.
//! - T never goes back, and batches are never before it: what counts as expired stays expired when the machine's clock is set back.
//! - The stripe's last delete LSN stays as it is: to WATCH an expired key is absent, removed or not.

mod figures;
mod found;
mod pace;
mod remove;
mod sweep;
#[cfg(test)]
mod tests;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use self::figures::Counts;
pub use self::figures::ExpiryFigures;
use self::found::Found;
use self::sweep::Sweeper;
pub use self::sweep::Swept;
use crate::error::Result;
use crate::index::{ExpiredMark, Index};
use crate::log::Log;
use crate::options::Options;
use crate::shard::Values;
use crate::thread::Thread;
use crate::types::{Db, UnixMillis};

/// Told of each key that is removed because it expired, under the lock of its stripe: it must not touch the shard, and must be quick.
pub type ExpiredListener = Box<dyn Fn(Db, &[u8]) + Send + Sync>;

/// Keys that accesses found expired and that wait to be removed, at most. Those beyond are left to the sweep.
const QUEUE: usize = 4096;

/// Expiry as the shard has it.
pub(super) struct Expiry {
    shared: Arc<Shared>,
    sweeper: Arc<Mutex<Sweeper>>,
    thread: Thread,
}

/// What sweep, transactions and the shard share.
struct Shared {
    /// T of the last `expired up to` entry.
    at: AtomicI64,
    /// Keys that expire by this time were all removed by a whole sweep.
    swept_to: AtomicI64,
    /// Whether the sweep runs by itself.
    active: AtomicBool,
    /// Whether there is a thread that empties the queue.
    has_thread: AtomicBool,
    sweep_millis: AtomicU64,
    counts: Counts,
    listener: std::sync::OnceLock<ExpiredListener>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    found: Vec<Found>,
    stop: bool,
}

impl Shared {
    fn new(at: UnixMillis, sweep_time: Duration) -> Self {
        Self {
            at: AtomicI64::new(at.0),
            swept_to: AtomicI64::new(i64::MIN),
            active: AtomicBool::new(true),
            has_thread: AtomicBool::new(false),
            sweep_millis: AtomicU64::new(sweep_time.as_millis() as u64),
            counts: Counts::default(),
            listener: std::sync::OnceLock::new(),
            queue: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    fn at(&self) -> UnixMillis {
        UnixMillis(self.at.load(Relaxed))
    }

    /// A key is no more, because it expired; called under its stripe's lock.
    fn removed(&self, db: Db, key: &[u8]) {
        self.counts.removed.fetch_add(1, Relaxed);
        if let Some(listener) = self.listener.get() {
            listener(db, key);
        }
    }
}

impl Expiry {
    pub(super) fn start(log: &Arc<Log>, index: &Arc<Index>, values: &Arc<Values>, options: &Options) -> Result<Self> {
        let shared = Arc::new(Shared::new(index.expired().at, options.expiry_sweep_time));
        let sweeper = Sweeper::new(Arc::clone(log), Arc::clone(index), Arc::clone(values), Arc::clone(&shared), options.clock.clone());
        let sweeper = Arc::new(Mutex::new(sweeper));
        let thread = if options.expiry_sweep_time.is_zero() { Thread::none() } else { thread::start(&shared, &sweeper)? };
        Ok(Self { shared, sweeper, thread })
    }

    pub(super) fn stop(&self) {
        self.shared.queue.lock().stop = true;
        self.shared.wake.notify_one();
        self.thread.join();
    }

    /// Nothing that expires by this time is seen again.
    #[inline]
    pub(super) fn at(&self) -> UnixMillis {
        self.shared.at()
    }

    /// All keys that expire by this time are out of the index.
    pub(super) fn swept_to(&self) -> UnixMillis {
        UnixMillis(self.shared.swept_to.load(Relaxed))
    }

    /// The primary has said what counts as expired; under a stripe's exclusive lock.
    pub(super) fn declared(&self, index: &Index, mark: ExpiredMark) {
        index.set_expired(mark);
        self.shared.at.store(mark.at.0, Relaxed);
    }

    /// An access found a key expired: it is removed soon.
    #[cold]
    pub(super) fn found(&self, found: Found) {
        if !self.shared.has_thread.load(Relaxed) {
            return;
        }
        // Whoever finds the queue in use leaves the key to the next access, or to the sweep.
        if let Some(mut queue) = self.shared.queue.try_lock()
            && queue.found.len() < QUEUE
        {
            queue.found.push(found);
            if queue.found.len() == 1 {
                self.shared.wake.notify_one();
            }
        }
    }

    /// A write took the place of an expired key; under its stripe's lock.
    #[cold]
    pub(super) fn superseded(&self, db: Db, key: &[u8]) {
        self.shared.removed(db, key);
    }
}

impl super::Shard {
    /// Looks at every key with an expiry and removes those whose time has come, on this thread. Waits while a checkpoint is being taken.
    ///
    /// # Errors
    /// The log takes no entry; I/O errors; corruption.
    pub fn sweep(&self) -> Result<Swept> {
        self.expiry.sweeper.lock().whole()
    }

    /// What expiry has done since the start.
    #[must_use]
    pub fn expiry_figures(&self) -> ExpiryFigures {
        self.expiry.shared.counts.figures(self.expiry.at())
    }

    /// Counts from zero again.
    pub fn reset_expiry_figures(&self) {
        self.expiry.shared.counts.reset();
    }

    /// Whether expired keys are removed that nobody asks for.
    pub fn set_active_expiry(&self, active: bool) {
        self.expiry.shared.active.store(active, Relaxed);
    }

    /// In what time the sweep visits every key with an expiry at least once.
    pub fn set_expiry_sweep_time(&self, time: Duration) {
        self.expiry.shared.sweep_millis.store(time.as_millis() as u64, Relaxed);
    }

    /// Sets who is told of keys that were removed because they expired; once.
    pub fn on_expired(&self, listener: ExpiredListener) {
        let _ = self.expiry.shared.listener.set(listener);
    }

    pub(super) fn found_expired(&self, table: crate::index::TableSlot, key: &super::Key<'_>, location: crate::types::Location) {
        self.expiry.found(Found { table, hash: key.hash(), slot: key.slot(), location });
    }
}
