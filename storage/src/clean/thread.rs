//! The thread that cleans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::worker::{AskCheckpoint, Worker};
use super::{CleaningFigures, Counts};
use crate::checkpoint::Checkpointer;
use crate::error::Result;
use crate::index::Index;
use crate::log::Log;
use crate::shard::Values;
use crate::thread::{Signal, Thread};
use crate::types::Lsn;

/// The thread, and what it tells.
pub(crate) struct Cleaning {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
pub(super) struct Shared {
    signal: Signal<State>,
    pub(super) counts: Counts,
    /// What was superseded above this LSN stays.
    pinned: AtomicU64,
}

#[derive(Default)]
struct State {
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
        let thread = Thread::start("esker-clean", "cleaning", move || worker.run())?;
        Ok(Self { shared, thread })
    }

    /// Asks for a pass over all that is worth cleaning.
    pub(crate) fn request_pass(&self) {
        self.shared.signal.tell(|state| state.pass = true);
    }

    /// Whether a pass that was asked for goes on, and how many have ended.
    pub(crate) fn passes(&self) -> (bool, u64) {
        let state = self.shared.signal.state();
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
        self.shared.signal.stop();
        self.thread.join();
    }
}

impl Shared {
    /// Waits; true if the thread is to stop.
    pub(super) fn wait(&self, pause: Duration) -> bool {
        self.signal.wait(Some(pause), |_| true)
    }

    pub(super) fn pinned(&self) -> Lsn {
        Lsn(self.pinned.load(Ordering::Acquire))
    }

    /// Whether a pass was asked for.
    pub(super) fn pass(&self) -> bool {
        self.signal.state().pass
    }

    /// The pass that was asked for is done.
    pub(super) fn pass_done(&self) {
        let mut state = self.signal.state();
        state.pass = false;
        state.passes_done += 1;
    }
}
