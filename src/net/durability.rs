//! Replies that wait for a flush. Whoever runs a write only registers; the worker's porter, a task that comes after all that are ready,
//! has one flush done for everyone and wakes them. A flush that another thread did is reported to each porter with waiters.
//!
//! Invariants: `flushed` never goes back. A waiter registers before it looks at `flushed` a last time, and the syncer moves `flushed`
//! before it looks for waiters (both sequentially consistent), so no flush passes a waiter by.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};

use esker_storage::types::Lsn;
use parking_lot::Mutex;

use super::yield_once;

/// How often the porter looks for requests that have arrived meanwhile before it has the log flushed. As in Redis, where all that is
/// ready is read before the one fdatasync of a turn: a request that just missed it waits twice as long.
const GATHERINGS: usize = 4;

/// The waiters of one worker.
#[derive(Debug, Default)]
struct Gate {
    waiting: Mutex<Vec<(Lsn, Waker)>>,
    /// The worker's own task that wakes the others: a wake from another thread costs a system call, one on the worker's own thread none.
    porter: Mutex<Option<Waker>>,
    has_waiters: AtomicBool,
    /// The porter knows that somebody waits for a flush that nobody was asked for.
    called: AtomicBool,
    /// Waiters are to look for themselves what has become of the log.
    recheck: AtomicBool,
}

impl Gate {
    fn wake_porter(&self) {
        if let Some(porter) = self.porter.lock().as_ref() {
            porter.wake_by_ref();
        }
    }

    /// Wakes those whose flush is done.
    fn release(&self, flushed: Lsn) {
        let flushed = if self.recheck.swap(false, Ordering::SeqCst) { Lsn(u64::MAX) } else { flushed };
        let mut waiting = self.waiting.lock();
        waiting.retain(|(lsn, waker)| {
            let done = *lsn <= flushed;
            if done {
                waker.wake_by_ref();
            }
            !done
        });
        self.has_waiters.store(!waiting.is_empty(), Ordering::SeqCst);
    }

    fn waiters(&self) -> usize {
        self.waiting.lock().len()
    }

    /// The last entry that anyone waits for.
    fn last_wanted(&self) -> Option<Lsn> {
        self.waiting.lock().iter().map(|(lsn, _)| *lsn).max()
    }
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

    /// Called after each flush by the thread that did it, and once more when there will be no flush any more.
    pub fn advance(&self, flushed: Lsn) {
        let before = self.flushed.fetch_max(flushed.0, Ordering::SeqCst);
        for gate in &self.gates {
            if before >= flushed.0 {
                gate.recheck.store(true, Ordering::SeqCst);
            }
            if gate.has_waiters.load(Ordering::SeqCst) {
                gate.wake_porter();
            }
        }
    }

    /// Has the log flushed by `flush` for a worker's waiters, and wakes them whenever it was flushed far enough; runs on the worker for as
    /// long as it lives. `flush` may return before the flush is done.
    pub(super) async fn run_porter(self: Arc<Self>, worker: usize, flush: impl Fn(Lsn)) {
        let gate = &self.gates[worker];
        loop {
            let mut woken = false;
            poll_fn(|cx| {
                gate.porter.lock().get_or_insert_with(|| cx.waker().clone());
                if std::mem::replace(&mut woken, true) || gate.called.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            gate.release(self.flushed());
            if gate.called.load(Ordering::SeqCst) {
                gather(gate).await;
                gate.called.store(false, Ordering::SeqCst);
                if let Some(lsn) = gate.last_wanted() {
                    flush(lsn);
                    gate.release(self.flushed());
                }
            }
        }
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
                (true, _) => return Poll::Ready(true),
                (false, true) => return Poll::Ready(false),
                (false, false) => {}
            }
            if !gate.called.swap(true, Ordering::SeqCst) {
                gate.wake_porter();
            }
            Poll::Pending
        })
        .await
    }
}

/// Lets requests run that have arrived in the meantime, as long as they bring more waiters.
async fn gather(gate: &Gate) {
    for _ in 0..GATHERINGS {
        let before = gate.waiters();
        // Has the runtime look for new events first; what they bring is run after one step back, as everywhere.
        tokio::task::yield_now().await;
        yield_once().await;
        if gate.waiters() == before {
            return;
        }
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
            tokio::spawn(Arc::clone(&durability).run_porter(0, |_| ()));
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
    fn requests_that_arrive_before_the_flush_share_it() {
        let durability = Arc::new(Durability::new(1));
        on_a_worker(async {
            let flushes = Arc::new(Mutex::new(Vec::new()));
            let (flushed, noted) = (Arc::clone(&durability), Arc::clone(&flushes));
            tokio::spawn(Arc::clone(&durability).run_porter(0, move |lsn| {
                noted.lock().push(lsn);
                flushed.advance(lsn);
            }));
            let waits = [4, 6, 5].map(|lsn| {
                let durability = Arc::clone(&durability);
                tokio::spawn(async move {
                    // Read when the first one's flush was already asked for.
                    if lsn == 5 {
                        tokio::task::yield_now().await;
                    }
                    durability.wait(0, Lsn(lsn), || false).await
                })
            });
            for wait in waits {
                assert!(wait.await.expect("no panic"));
            }
            assert_eq!(*flushes.lock(), [Lsn(6)]);
            assert!(durability.wait(0, Lsn(7), || false).await);
            assert_eq!(*flushes.lock(), [Lsn(6), Lsn(7)]);
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
            tokio::spawn(Arc::clone(&durability).run_porter(0, |_| ()));
            let (waiting, seen) = (Arc::clone(&durability), Arc::clone(&lost));
            let wait = tokio::spawn(async move { waiting.wait(0, Lsn(4), || seen.load(Ordering::SeqCst)).await });
            tokio::task::yield_now().await;
            lost.store(true, Ordering::SeqCst);
            durability.advance(Lsn(0));
            assert!(!wait.await.expect("no panic"));
        });
    }
}
