//! Replies that wait for a flush. Whoever runs a write only registers; the worker's porter, a task that comes after all that are ready,
//! has one flush done for everyone and wakes them. A flush that another thread did is reported to each porter with waiters.
//!
//! Invariants:
//! - Of one shard, `flushed` never goes back. A waiter registers before it looks at `flushed` a last time, and the syncer moves `flushed`
//!   before it looks for waiters (both sequentially consistent), so no flush passes a waiter by.
//! - What one shard has flushed is never taken for what another has: each has a word of its own, with its number. Whoever waits for a
//!   shard that was replaced is told that its flush will never come.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};

use arc_swap::ArcSwap;
use esker_storage::types::Lsn;
use parking_lot::Mutex;

use super::yield_once;

/// How often the porter looks for requests that have arrived meanwhile before it has the log flushed. As in Redis, where all that is
/// ready is read before the one fdatasync of a turn: a request that just missed it waits twice as long.
const GATHERINGS: usize = 4;

/// How far the log of one shard is flushed.
#[derive(Debug, Default)]
pub struct Flushed {
    shard: u64,
    lsn: AtomicU64,
}

impl Flushed {
    /// Of the shard with this number.
    #[must_use]
    pub fn new(shard: u64) -> Self {
        Self { shard, lsn: AtomicU64::new(0) }
    }

    /// It is flushed up to `lsn` at least; returns how far it was known to be.
    pub fn raise(&self, lsn: Lsn) -> Lsn {
        Lsn(self.lsn.fetch_max(lsn.0, Ordering::SeqCst))
    }

    fn covers(&self, lsn: Lsn) -> bool {
        self.lsn.load(Ordering::SeqCst) >= lsn.0
    }
}

/// Someone who waits.
#[derive(Debug)]
struct Waiter {
    shard: u64,
    lsn: Lsn,
    waker: Waker,
}

/// The waiters of one worker.
#[derive(Debug, Default)]
struct Gate {
    waiting: Mutex<Vec<Waiter>>,
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

    /// Wakes those whose flush is done, and those who wait in vain.
    fn release(&self, flushed: &Flushed) {
        let all = self.recheck.swap(false, Ordering::SeqCst);
        let mut waiting = self.waiting.lock();
        waiting.retain(|waiter| {
            let done = all || waiter.shard != flushed.shard || flushed.covers(waiter.lsn);
            if done {
                waiter.waker.wake_by_ref();
            }
            !done
        });
        self.has_waiters.store(!waiting.is_empty(), Ordering::SeqCst);
    }

    fn waiters(&self) -> usize {
        self.waiting.lock().len()
    }

    /// The last entry of this shard that anyone waits for.
    fn last_wanted(&self, shard: u64) -> Option<Lsn> {
        self.waiting.lock().iter().filter(|waiter| waiter.shard == shard).map(|waiter| waiter.lsn).max()
    }
}

/// How far the log of the shard in service is flushed, and who waits for more.
#[derive(Debug)]
pub struct Durability {
    current: ArcSwap<Flushed>,
    gates: Box<[Gate]>,
}

impl Durability {
    /// For so many workers, and no shard yet.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { current: ArcSwap::default(), gates: (0..workers).map(|_| Gate::default()).collect() }
    }

    /// Another shard is in service from now on. Those who wait for the one before are woken, to wait no more.
    pub fn attach(&self, flushed: Arc<Flushed>) {
        self.current.store(flushed);
        for gate in &self.gates {
            gate.recheck.store(true, Ordering::SeqCst);
            // Whoever registered before this lock was free is woken; whoever does after it sees the new shard.
            if !gate.waiting.lock().is_empty() {
                gate.wake_porter();
            }
        }
    }

    /// Called after each flush by the thread that did it, with the word of the shard that it flushed, and once more when there will be no
    /// flush any more.
    pub fn advance(&self, of: &Flushed, flushed: Lsn) {
        let before = of.raise(flushed);
        for gate in &self.gates {
            if before >= flushed {
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
            gate.release(&self.current.load());
            if gate.called.load(Ordering::SeqCst) {
                gather(gate).await;
                gate.called.store(false, Ordering::SeqCst);
                let shard = self.current.load().shard;
                if let Some(lsn) = gate.last_wanted(shard) {
                    flush(lsn);
                    gate.release(&self.current.load());
                }
            }
        }
    }

    /// Returns once the shard's log is flushed up to `lsn` (true), or never will be because the log is lost or the shard was replaced.
    pub(super) async fn wait(&self, worker: usize, shard: u64, lsn: Lsn, is_lost: impl Fn() -> bool) -> bool {
        let gate = &self.gates[worker];
        poll_fn(|cx| {
            if let Some(outcome) = self.outcome(shard, lsn) {
                return Poll::Ready(outcome);
            }
            // Anew in each poll: whoever woke the task may have taken the place.
            let mut waiting = gate.waiting.lock();
            waiting.push(Waiter { shard, lsn, waker: cx.waker().clone() });
            gate.has_waiters.store(true, Ordering::SeqCst);
            drop(waiting);
            match (self.outcome(shard, lsn), is_lost()) {
                (Some(outcome), _) => return Poll::Ready(outcome),
                (None, true) => return Poll::Ready(false),
                (None, false) => {}
            }
            if !gate.called.swap(true, Ordering::SeqCst) {
                gate.wake_porter();
            }
            Poll::Pending
        })
        .await
    }
}

impl Durability {
    /// Whether the shard in service is this one, and its log flushed as far as this.
    pub(super) fn is_done(&self, shard: u64, lsn: Lsn) -> bool {
        self.outcome(shard, lsn) == Some(true)
    }

    /// What has become of a flush; None: it is not done yet.
    fn outcome(&self, shard: u64, lsn: Lsn) -> Option<bool> {
        let current = self.current.load();
        if current.shard == shard { current.covers(lsn).then_some(true) } else { Some(false) }
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

    const SHARD: u64 = 1;

    fn attached() -> Arc<Durability> {
        let durability = Arc::new(Durability::new(1));
        durability.attach(Arc::new(Flushed::new(SHARD)));
        durability
    }

    fn advance(durability: &Durability, lsn: Lsn) {
        durability.advance(&durability.current.load(), lsn);
    }

    fn on_a_worker(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("nobody waits for ever") });
    }

    #[test]
    fn waiters_are_woken_by_the_flush_that_covers_them() {
        let durability = attached();
        on_a_worker(async {
            tokio::spawn(Arc::clone(&durability).run_porter(0, |_| ()));
            let waits = [5, 7, 9].map(|lsn| {
                let durability = Arc::clone(&durability);
                tokio::spawn(async move { durability.wait(0, SHARD, Lsn(lsn), || false).await })
            });
            tokio::task::yield_now().await;
            let syncer = Arc::clone(&durability);
            let thread = std::thread::spawn(move || advance(&syncer, Lsn(7)));
            let [five, seven, nine] = waits;
            assert!(five.await.expect("no panic") && seven.await.expect("no panic"));
            assert!(!nine.is_finished());
            advance(&durability, Lsn(9));
            assert!(nine.await.expect("no panic"));
            thread.join().expect("no panic");
        });
    }

    #[test]
    fn requests_that_arrive_before_the_flush_share_it() {
        let durability = attached();
        on_a_worker(async {
            let flushes = Arc::new(Mutex::new(Vec::new()));
            let (flushed, noted) = (Arc::clone(&durability), Arc::clone(&flushes));
            tokio::spawn(Arc::clone(&durability).run_porter(0, move |lsn| {
                noted.lock().push(lsn);
                advance(&flushed, lsn);
            }));
            let waits = [4, 6, 5].map(|lsn| {
                let durability = Arc::clone(&durability);
                tokio::spawn(async move {
                    // Read when the first one's flush was already asked for.
                    if lsn == 5 {
                        tokio::task::yield_now().await;
                    }
                    durability.wait(0, SHARD, Lsn(lsn), || false).await
                })
            });
            for wait in waits {
                assert!(wait.await.expect("no panic"));
            }
            assert_eq!(*flushes.lock(), [Lsn(6)]);
            assert!(durability.wait(0, SHARD, Lsn(7), || false).await);
            assert_eq!(*flushes.lock(), [Lsn(6), Lsn(7)]);
        });
    }

    #[test]
    fn what_is_flushed_already_is_not_waited_for() {
        let durability = attached();
        advance(&durability, Lsn(3));
        on_a_worker(async { assert!(durability.wait(0, SHARD, Lsn(3), || false).await) });
    }

    #[test]
    fn nobody_waits_for_a_log_that_is_lost() {
        let durability = attached();
        let lost = Arc::new(AtomicBool::new(false));
        on_a_worker(async {
            tokio::spawn(Arc::clone(&durability).run_porter(0, |_| ()));
            let (waiting, seen) = (Arc::clone(&durability), Arc::clone(&lost));
            let wait = tokio::spawn(async move { waiting.wait(0, SHARD, Lsn(4), || seen.load(Ordering::SeqCst)).await });
            tokio::task::yield_now().await;
            lost.store(true, Ordering::SeqCst);
            advance(&durability, Lsn(0));
            assert!(!wait.await.expect("no panic"));
        });
    }

    #[test]
    fn a_shard_that_takes_the_place_of_another_ends_the_waits_for_it() {
        let durability = attached();
        on_a_worker(async {
            let flushes = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&flushes);
            tokio::spawn(Arc::clone(&durability).run_porter(0, move |lsn| noted.lock().push(lsn)));
            let waiting = Arc::clone(&durability);
            let wait = tokio::spawn(async move { waiting.wait(0, SHARD, Lsn(1000), || false).await });
            while flushes.lock().is_empty() {
                tokio::task::yield_now().await;
            }
            let (old, new) = (durability.current.load_full(), Arc::new(Flushed::new(SHARD + 1)));
            durability.attach(Arc::clone(&new));
            assert!(!wait.await.expect("no panic"), "nobody knows what becomes of it");
            // What the old one flushes late says nothing of the new one, nor does it make its own waits worth anything.
            durability.advance(&old, Lsn(2000));
            assert!(!durability.wait(0, SHARD, Lsn(1000), || false).await);
            assert_eq!(durability.outcome(SHARD + 1, Lsn(5)), None);
            // Those who waited for the old one do not make anyone flush the new one further than it goes.
            flushes.lock().clear();
            let waiting = Arc::clone(&durability);
            let wait = tokio::spawn(async move { waiting.wait(0, SHARD + 1, Lsn(5), || false).await });
            while flushes.lock().is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(*flushes.lock(), [Lsn(5)]);
            durability.advance(&new, Lsn(5));
            assert!(wait.await.expect("no panic"));
        });
    }
}
