//! Work that nobody waits for: moving the replay position, warming segments, giving back dropped tables, checkpoints that are due.
//!
//! Invariants:
//! - No step holds a lock for longer than a bounded piece of work.
//! - A segment becomes hot only after its frames passed their checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::chain::value_ref;
use super::record::Record;
use super::values::Values;
use super::warm::Warmer;
use crate::checkpoint::Checkpointer;
use crate::error::Result;
use crate::index::{Index, ReplayPosition};
use crate::log::{Log, Segment};
use crate::memory::WarmQueue;
use crate::thread::{Signal, Thread, stand_back};
use crate::types::{Location, Lsn, STRIPES};

/// How often the thread looks up: what a kill -9 makes the next start replay is what was written in this time.
const TICK: Duration = Duration::from_millis(50);
/// Leaves of dropped tables given back in one go.
const RECLAIM: usize = 256;
/// Puts for which the index keeps room, so that writers do not wait for its file to grow.
const RESERVE_AHEAD: usize = 100_000;

/// The thread and how to reach it.
pub(super) struct Background {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    signal: Signal<State>,
    checkpoint_running: AtomicBool,
}

#[derive(Default)]
struct State {
    work: bool,
    checkpoint: bool,
}

impl State {
    fn ask_for_checkpoint(&mut self) {
        (self.checkpoint, self.work) = (true, true);
    }
}

impl Background {
    pub(super) fn start(
        log: &Arc<Log>,
        index: &Arc<Index>,
        values: &Arc<Values>,
        checkpointer: &Arc<Checkpointer>,
        queue: &Arc<WarmQueue>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut worker = Worker {
            shared: Arc::clone(&shared),
            log: Arc::clone(log),
            index: Arc::clone(index),
            values: Arc::clone(values),
            checkpointer: Arc::clone(checkpointer),
            warmer: Warmer::new(queue),
            noted: Lsn(0),
        };
        let thread = Thread::start("esker-background", "the background work", move || worker.run())?;
        Ok(Self { shared, thread })
    }

    pub(super) fn wake(&self) {
        self.shared.signal.tell(|state| state.work = true);
    }

    pub(super) fn request_checkpoint(&self) {
        self.shared.signal.tell(State::ask_for_checkpoint);
    }

    /// What asks for a checkpoint.
    pub(super) fn checkpoint_request(&self) -> Box<dyn Fn() + Send> {
        let shared = Arc::clone(&self.shared);
        Box::new(move || shared.signal.tell(State::ask_for_checkpoint))
    }

    pub(super) fn stop(&self) {
        self.shared.signal.stop();
        self.thread.join();
    }
}

/// Notes in the index up to where all stripes have applied the log.
pub(crate) fn note_replay_position(log: &Log, index: &Index) -> Lsn {
    let position = {
        let tail = log.tail.lock();
        ReplayPosition { lsn: Lsn(tail.next.0 - 1), segment: tail.segment.id(), offset: tail.segment.map().written() as u32 }
    };
    // Every entry up to there was appended under the locks of its stripes: whoever has passed through all locks since knows that
    // they have been applied.
    for stripe in 0..STRIPES {
        drop(index.stripe(stripe).read());
    }
    index.set_replay_position(position);
    position.lsn
}

/// The value segment that the record at a location names. What cannot be read is left to cleaning.
fn value_named_at(segment: &Segment, location: Location) -> Option<u128> {
    let fetched;
    let record = match Record::hot(segment, location) {
        Some(record) => record.ok()?,
        None => {
            fetched = Record::wait(segment, location).ok()?;
            Record::fetched(&fetched).ok()?
        }
    };
    if record.header.value_segment { value_ref(record.body()).ok().map(|reference| reference.value_id) } else { None }
}

/// Gives back about so many leaves of dropped tables, and the large values of their keys. Returns whether more is left.
pub(super) fn reclaim(log: &Log, index: &Index, values: &Values, leaves: usize) -> bool {
    let segments = log.segments();
    // The tables were dropped by an entry at or below this one.
    let written = log.durability().written();
    index.reclaim_seeing(leaves, &mut |location| {
        let segment = segments.get(location.segment()).filter(|segment| segment.names_values());
        if let Some(value) = segment.and_then(|segment| value_named_at(segment, location)) {
            values.bury(value, written);
        }
    })
}

struct Worker {
    shared: Arc<Shared>,
    log: Arc<Log>,
    index: Arc<Index>,
    values: Arc<Values>,
    checkpointer: Arc<Checkpointer>,
    warmer: Warmer,
    noted: Lsn,
}

impl Worker {
    fn run(&mut self) {
        // After a start it has hundreds of megabytes to verify.
        stand_back();
        let mut checkpoint_thread = None;
        while let Some(asked) = self.wait() {
            if self.log.durability().written() != self.noted {
                self.noted = note_replay_position(&self.log, &self.index);
            }
            // Not into what the log leaves free. Without room, writers get their own error; nothing is to be done here.
            if self.log.space.admits(self.index.growth_for(RESERVE_AHEAD)) {
                let _ = self.index.reserve(RESERVE_AHEAD);
            }
            let more = reclaim(&self.log, &self.index, &self.values, RECLAIM) | self.warmer.step();
            if asked || self.checkpointer.is_due() {
                checkpoint_thread = self.checkpoint(checkpoint_thread);
            }
            self.shared.signal.state().work |= more;
        }
        if let Some(thread) = checkpoint_thread {
            self.checkpointer.hurry();
            let _ = JoinHandle::join(thread);
        }
    }

    /// Waits for a tick or for work; none to stop, else whether a checkpoint was asked for.
    fn wait(&self) -> Option<bool> {
        let stop = self.shared.signal.wait(Some(TICK), |state| !state.work);
        let mut state = self.shared.signal.state();
        state.work = false;
        (!stop).then(|| std::mem::take(&mut state.checkpoint))
    }

    /// Takes a checkpoint on a thread of its own, unless one is being taken.
    fn checkpoint(&self, last: Option<JoinHandle<()>>) -> Option<JoinHandle<()>> {
        if self.shared.checkpoint_running.swap(true, Ordering::AcqRel) {
            return last;
        }
        if let Some(last) = last {
            let _ = last.join();
        }
        let (shared, checkpointer) = (Arc::clone(&self.shared), Arc::clone(&self.checkpointer));
        let run = move || {
            if let Err(error) = checkpointer.take_in_background() {
                tracing::warn!("the checkpoint failed, the log goes on without it: {error}");
            }
            shared.checkpoint_running.store(false, Ordering::Release);
        };
        std::thread::Builder::new().name("esker-checkpoint".to_owned()).spawn(run).ok()
    }
}
