//! Background threads: how one is started, woken, told to stop and waited for. A leaf.
//!
//! Invariants: whoever holds a signal's state does nothing that waits: the thread and those who wake it want it too.

use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, MappedMutexGuard, Mutex, MutexGuard};

use crate::error::{Result, StorageError};

/// A thread that others wait for when it ends.
#[derive(Debug, Default)]
pub(crate) struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Thread {
    /// No thread: there is nothing to wait for.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Starts a thread of this name; `what` it is for stands in the error.
    pub(crate) fn start(name: &str, what: &'static str, run: impl FnOnce() + Send + 'static) -> Result<Self> {
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        let handle = spawned.map_err(StorageError::io("start a thread for", what))?;
        Ok(Self(Mutex::new(Some(handle))))
    }

    /// Waits until it has ended: who calls has told it to.
    pub(crate) fn join(&self) {
        if let Some(handle) = self.0.lock().take() {
            // A thread that panicked has aborted the process in production; in tests the panic is reported there.
            let _ = handle.join();
        }
    }
}

/// Gives this thread the lowest priority: requests come first. Only for a thread that seldom holds a lock which requests want.
pub(crate) fn stand_back() {
    // Linux sets the priority of the one thread whose id it is given. Where it may not be changed, all is as fair as before.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19);
}

/// What a thread is told: a state that it shares with those who wake it, and whether to stop.
#[derive(Debug, Default)]
pub(crate) struct Signal<S> {
    told: Mutex<Told<S>>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Told<S> {
    stop: bool,
    state: S,
}

impl<S> Signal<S> {
    /// The state.
    pub(crate) fn state(&self) -> MappedMutexGuard<'_, S> {
        MutexGuard::map(self.told.lock(), |told| &mut told.state)
    }

    /// Changes the state and wakes the thread.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut S)) {
        change(&mut self.told.lock().state);
        self.wake.notify_one();
    }

    /// Tells the thread to stop.
    pub(crate) fn stop(&self) {
        self.told.lock().stop = true;
        self.wake.notify_one();
    }

    /// Waits until woken, at most for `time` where it is given, unless the state says that there is something to do. True: stop.
    pub(crate) fn wait(&self, time: Option<Duration>, idle: impl FnOnce(&S) -> bool) -> bool {
        let mut told = self.told.lock();
        if !told.stop && idle(&told.state) {
            match time {
                Some(time) if time.is_zero() => {}
                Some(time) => drop(self.wake.wait_for(&mut told, time)),
                None => self.wake.wait(&mut told),
            }
        }
        told.stop
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_thread_hears_what_it_is_told_and_stops() {
        let signal = Arc::new(Signal::<u32>::default());
        let heard = Arc::clone(&signal);
        let thread = Thread::start("test", "a test", move || {
            while !heard.wait(None, |told| *told != 1) {
                let mut told = heard.state();
                if *told == 1 {
                    *told = 2;
                }
            }
        });
        signal.tell(|told| *told = 1);
        while *signal.state() != 2 {
            std::thread::yield_now();
        }
        signal.stop();
        thread.unwrap().join();
        assert!(signal.wait(None, |_| true), "who was told to stop does not wait");
    }

    #[test]
    fn a_wait_ends_by_itself_and_is_left_out_when_there_is_work() {
        let signal = Signal::<bool>::default();
        let started = Instant::now();
        assert!(!signal.wait(Some(Duration::from_millis(20)), |_| true));
        assert!(started.elapsed() >= Duration::from_millis(20));
        *signal.state() = true;
        assert!(!signal.wait(None, |work| !work));
    }
}
