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
    /// Waiters are to look for themselves what has become of the log.
    recheck: AtomicBool,
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

    /// Called by the syncer after each flush, from its own thread, and once more when there will be no flush any more.
    pub fn advance(&self, flushed: Lsn) {
        let before = self.flushed.fetch_max(flushed.0, Ordering::SeqCst);
        for gate in &self.gates {
            if before >= flushed.0 {
                gate.recheck.store(true, Ordering::SeqCst);
            }
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
            let flushed = if gate.recheck.swap(false, Ordering::SeqCst) { Lsn(u64::MAX) } else { self.flushed() };
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

    /// Returns once `lsn` is flushed (true), or never will be because the log is lost.
    pub(super) async fn wait(&self, worker: usize, lsn: Lsn, is_lost: impl Fn() -> bool) -> bool {
        let gate = &self.gates[worker];
        poll_fn(|cx| {
            if self.flushed() >= lsn {
                return Poll::Ready(true);
            }
            // Anew in each poll: whoever woke the task may have taken the place.
            let mut waiting = gate.waiting.lock();
            waiting.push((lsn, cx.waker().clone()));
            gate.has_waiters.store(true, Ordering::SeqCst);
            drop(waiting);
            match (self.flushed() >= lsn, is_lost()) {
                (true, _) => Poll::Ready(true),
                (false, true) => Poll::Ready(false),
                (false, false) => Poll::Pending,
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn on_a_worker(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("nobody waits for ever") });
    }

    #[test]
    fn waiters_are_woken_by_the_flush_that_covers_them() {
        let durability = Arc::new(Durability::new(1));
        on_a_worker(async {
            tokio::spawn(Arc::clone(&durability).run_porter(0));
            let waits = [5, 7, 9].map(|lsn| {
                let durability = Arc::clone(&durability);
                tokio::spawn(async move { durability.wait(0, Lsn(lsn), || false).await })
            });
            tokio::task::yield_now().await;
            let syncer = Arc::clone(&durability);
            let thread = std::thread::spawn(move || syncer.advance(Lsn(7)));
            let [five, seven, nine] = waits;
            assert!(five.await.expect("no panic") && seven.await.expect("no panic"));
            assert!(!nine.is_finished());
            durability.advance(Lsn(9));
            assert!(nine.await.expect("no panic"));
            thread.join().expect("no panic");
        });
    }

    #[test]
    fn what_is_flushed_already_is_not_waited_for() {
        let durability = Durability::new(1);
        durability.advance(Lsn(3));
        on_a_worker(async { assert!(durability.wait(0, Lsn(3), || false).await) });
    }

    #[test]
    fn nobody_waits_for_a_log_that_is_lost() {
        let durability = Arc::new(Durability::new(1));
        let lost = Arc::new(AtomicBool::new(false));
        on_a_worker(async {
            tokio::spawn(Arc::clone(&durability).run_porter(0));
            let (waiting, seen) = (Arc::clone(&durability), Arc::clone(&lost));
            let wait = tokio::spawn(async move { waiting.wait(0, Lsn(4), || seen.load(Ordering::SeqCst)).await });
            tokio::task::yield_now().await;
            lost.store(true, Ordering::SeqCst);
            durability.advance(Lsn(0));
            assert!(!wait.await.expect("no panic"));
        });
    }
}
