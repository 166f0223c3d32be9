//! The thread that cleans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::worker::{AskCheckpoint, Worker};
use super::{CleaningFigures, Counts};
use crate::checkpoint::Checkpointer;
use crate::error::Result;
use crate::history::HistoryRetention;
use crate::index::Index;
use crate::log::Log;
use crate::options::Options;
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
    /// What was superseded above this LSN stays, for those who asked for that.
    pinned: AtomicU64,
    /// The same, history taken into account.
    kept_from: AtomicU64,
}

#[derive(Default)]
struct State {
    /// A pass over everything was asked for.
    pass: bool,
    passes_done: u64,
    retention: HistoryRetention,
}

impl Cleaning {
    pub(crate) fn start(
        log: &Arc<Log>,
        index: &Arc<Index>,
        values: &Arc<Values>,
        checkpointer: &Arc<Checkpointer>,
        ask: AskCheckpoint,
        options: &Options,
    ) -> Result<Self> {
        // Nothing is dropped before it is known what has to stay.
        let shared = Arc::new(Shared { pinned: AtomicU64::new(u64::MAX), ..Shared::default() });
        shared.signal.state().retention = options.history;
        let mut worker = Worker::new(&shared, log, index, values, checkpointer, ask, options.clock.clone());
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

    pub(crate) fn set_retention(&self, retention: HistoryRetention) {
        self.shared.signal.state().retention = retention;
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

    /// Whether everything is to be left as it is for now.
    pub(super) fn rests(&self) -> bool {
        self.pinned.load(Ordering::Acquire) == 0
    }

    /// What was superseded above this LSN stays.
    pub(super) fn kept_from(&self) -> Lsn {
        Lsn(self.kept_from.load(Ordering::Acquire))
    }

    /// Moves it to where history and those who asked need it.
    pub(super) fn keep_from(&self, lsn: Lsn) {
        self.kept_from.store(lsn.0.min(self.pinned.load(Ordering::Acquire)), Ordering::Release);
    }

    pub(super) fn retention(&self) -> HistoryRetention {
        self.signal.state().retention
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
