//! Stops a test between any two stores into the mapping, as a kill would.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Stores that are still let through; `None`: all.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The panic's payload, to tell it from a real one.
#[derive(Debug)]
pub(super) struct Killed;

/// Counts a store, and stops this thread in front of it when its time has come.
#[inline]
pub(super) fn step() {
    LEFT.with(|left| match left.get() {
        None => {}
        Some(0) => {
            left.set(None);
            std::panic::resume_unwind(Box::new(Killed));
        }
        Some(more) => left.set(Some(more - 1)),
    });
}

/// Runs `work` and stops it after `stores` stores. `None` if it was stopped.
pub(super) fn run<T>(stores: u64, work: impl FnOnce() -> T) -> Option<T> {
    LEFT.with(|left| left.set(Some(stores)));
    let result = catch_unwind(AssertUnwindSafe(work));
    LEFT.with(|left| left.set(None));
    match result {
        Ok(value) => Some(value),
        Err(payload) if payload.is::<Killed>() => None,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// Number of stores that `work` makes.
pub(super) fn stores(work: impl FnOnce()) -> u64 {
    LEFT.with(|left| left.set(Some(u64::MAX)));
    work();
    LEFT.with(|left| left.take()).map_or(0, |left| u64::MAX - left)
}
