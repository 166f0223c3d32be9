//! Replies that wait for a flush: the syncer reports each flush once, every worker with waiters is woken once, and wakes its own.
//!
//! Invariants: `flushed` never goes back. A waiter registers before it looks at `flushed` a last time, and the syncer moves `flushed`
//! before it looks for waiters (both sequentially consistent), so no flush passes a waiter by.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};

use esker_storage::types::Lsn;
use parking_lot::Mutex;

/// The waiters of one worker.
#[derive(Debug, Default)]
struct Gate {
    waiting: Mutex<Vec<(Lsn, Waker)>>,
    /// The worker's own task that wakes the others: a wake from another thread costs a system call, one on the worker's own thread none.
    porter: Mutex<Option<Waker>>,
    has_waiters: AtomicBool,
}

/// How far the log is flushed, and who waits for more.
#[derive(Debug)]
pub struct Durability {
    flushed: AtomicU64,
    gates: Box<[Gate]>,
}

impl Durability {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { flushed: AtomicU64::new(0), gates: (0..workers).map(|_| Gate::default()).collect() }
    }

    /// The highest LSN that survives power loss.
    #[must_use]
    pub fn flushed(&self) -> Lsn {
        Lsn(self.flushed.load(Ordering::SeqCst))
    }

    /// Called by the syncer after each flush, from its own thread.
    pub fn advance(&self, flushed: Lsn) {
        self.flushed.fetch_max(flushed.0, Ordering::SeqCst);
        for gate in &self.gates {
            if gate.has_waiters.load(Ordering::SeqCst)
                && let Some(porter) = gate.porter.lock().as_ref()
            {
                porter.wake_by_ref();
            }
        }
    }

    /// Wakes a worker's waiters whenever the log was flushed far enough; runs on the worker for as long as it lives.
    pub(super) async fn run_porter(self: Arc<Self>, worker: usize) {
        let gate = &self.gates[worker];
        poll_fn(|cx| {
            gate.porter.lock().get_or_insert_with(|| cx.waker().clone());
            let flushed = self.flushed();
            let mut waiting = gate.waiting.lock();
            waiting.retain(|(lsn, waker)| {
                let done = *lsn <= flushed;
                if done {
                    waker.wake_by_ref();
                }
                !done
            });
            gate.has_waiters.store(!waiting.is_empty(), Ordering::SeqCst);
            Poll::<()>::Pending
        })
        .await;
    }

    /// Returns once `lsn` is flushed.
    pub(super) async fn wait(&self, worker: usize, lsn: Lsn) {
        let gate = &self.gates[worker];
        let mut registered = false;
        poll_fn(|cx| {
            if self.flushed() >= lsn {
                return Poll::Ready(());
            }
            if !registered {
                registered = true;
                let mut waiting = gate.waiting.lock();
                waiting.push((lsn, cx.waker().clone()));
                gate.has_waiters.store(true, Ordering::SeqCst);
            }
            if self.flushed() >= lsn { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
