//! The lookout: a task of each worker that asks the kernel for new events a few more times before the worker goes to sleep. Falling asleep
//! and being woken costs more than many looks: the worker two switches, and the client whose request arrives the waking of another processor.
//!
//! Invariant: a worker sleeps after at most [`MOST`] looks in a row that found nothing, and where looking does not pay, after [`LEAST`].

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// The most looks, some microseconds.
const MOST: u32 = 8;
/// The fewest looks: what a worker whose requests come far apart pays for each.
const LEAST: u32 = 3;

thread_local! {
    /// Turns of the worker's connections so far.
    static TURNS: Cell<u64> = const { Cell::new(0) };
    /// The lookout, while it waits for a turn.
    static LOOKOUT: Cell<Option<Waker>> = const { Cell::new(None) };
}

/// A connection of this worker had a turn.
#[inline]
pub(super) fn note_turn() {
    TURNS.set(TURNS.get() + 1);
    if let Some(lookout) = LOOKOUT.take() {
        lookout.wake();
    }
}

/// Runs on a worker for as long as it lives. Workers that share the processors with one another look the fewest times: what one of them
/// spends on looking, another or a client on the same machine may lack.
pub(super) async fn run(sole_worker: bool) {
    let most = if sole_worker { MOST } else { LEAST };
    let mut patience = most;
    loop {
        next_turn().await;
        let mut looks = 0;
        while looks < patience {
            let before = TURNS.get();
            // Has the runtime ask for events, without waiting for any.
            tokio::task::yield_now().await;
            looks = if TURNS.get() == before { looks + 1 } else { 0 };
            patience = adapt(patience, looks).min(most);
        }
    }
}

/// Doubled by each find, halved when nothing was found.
fn adapt(patience: u32, looks: u32) -> u32 {
    match looks {
        0 => (2 * patience).min(MOST),
        _ if looks == patience => (patience / 2).max(LEAST),
        _ => patience,
    }
}

/// Returns when a connection has had a turn.
async fn next_turn() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        LOOKOUT.set(Some(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_what_looking_brings() {
        let in_vain = |patience| adapt(patience, patience);
        assert_eq!(adapt(MOST, 1), MOST);
        assert_eq!(in_vain(MOST), MOST / 2);
        assert_eq!((0..20).fold(MOST, |patience, _| in_vain(patience)), LEAST);
        assert_eq!((0..20).fold(LEAST, |patience, _| adapt(patience, 0)), MOST);
    }

    #[test]
    fn the_worker_sleeps_when_nothing_comes() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.spawn(run(true));
        runtime.block_on(async {
            tokio::task::yield_now().await;
            note_turn();
            for _ in 0..2 * MOST {
                tokio::task::yield_now().await;
            }
            assert!(LOOKOUT.take().is_some(), "it waits for the next turn");
        });
    }
}
