//! The thread that cleans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::worker::{AskCheckpoint, Worker};
use super::{CleaningFigures, Counts};
use crate::checkpoint::Checkpointer;
use crate::error::{Result, StorageError};
use crate::index::Index;
use crate::log::Log;
use crate::shard::Values;
use crate::types::Lsn;

/// The thread, and what it tells.
pub(crate) struct Cleaning {
    shared: Arc<Shared>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    pub(super) counts: Counts,
    /// What was superseded above this LSN stays.
    pinned: AtomicU64,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// A pass over everything was asked for.
    pass: bool,
    passes_done: u64,
}

impl Cleaning {
    pub(crate) fn start(
        log: &Arc<Log>,
        index: &Arc<Index>,
        values: &Arc<Values>,
        checkpointer: &Arc<Checkpointer>,
        ask: AskCheckpoint,
    ) -> Result<Self> {
        let shared = Arc::new(Shared { pinned: AtomicU64::new(u64::MAX), ..Shared::default() });
        let mut worker = Worker::new(&shared, log, index, values, checkpointer, ask);
        let spawned = std::thread::Builder::new().name("esker-clean".to_owned()).spawn(move || worker.run());
        let handle = spawned.map_err(StorageError::io("start a thread for", "cleaning"))?;
        Ok(Self { shared, handle: Mutex::new(Some(handle)) })
    }

    /// Asks for a pass over all that is worth cleaning.
    pub(crate) fn request_pass(&self) {
        self.shared.state.lock().pass = true;
        self.shared.wake.notify_one();
    }

    /// Whether a pass that was asked for goes on, and how many have ended.
    pub(crate) fn passes(&self) -> (bool, u64) {
        let state = self.shared.state.lock();
        (state.pass, state.passes_done)
    }

    /// Keeps the state as of every LSN from this one on: what was superseded later stays.
    pub(crate) fn pin(&self, lsn: Lsn) {
        self.shared.pinned.store(lsn.0, Ordering::Release);
    }

    pub(crate) fn figures(&self) -> CleaningFigures {
        self.shared.counts.figures()
    }

    pub(crate) fn stop(&self) {
        self.shared.state.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(handle) = self.handle.lock().take() {
            let _ = handle.join();
        }
    }
}

impl Shared {
    /// Waits; true if the thread is to stop.
    pub(super) fn wait(&self, pause: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.stop && !pause.is_zero() {
            self.wake.wait_for(&mut state, pause);
        }
        state.stop
    }

    pub(super) fn pinned(&self) -> Lsn {
        Lsn(self.pinned.load(Ordering::Acquire))
    }

    /// Whether a pass was asked for.
    pub(super) fn pass(&self) -> bool {
        self.state.lock().pass
    }

    /// The pass that was asked for is done.
    pub(super) fn pass_done(&self) {
        let mut state = self.state.lock();
        state.pass = false;
        state.passes_done += 1;
    }
}
