//! The thread that cleans.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::budget::{self, Load, Throttle};
use super::job::{Done, Job};
use super::judge::Judge;
use super::pick::{Candidate, pick};
use super::retired::Retired;
use super::{CleaningFigures, Counts};
use crate::checkpoint::Checkpointer;
use crate::clock::wall_clock;
use crate::error::{Result, StorageError};
use crate::index::{Index, STORED_CELL_BYTES};
use crate::log::{Log, SealedCounts, Segment};
use crate::segment::footer::Footer;
use crate::shard::Values;
use crate::types::{Lsn, SegmentId};

/// How often the thread looks whether there is something to do.
const TICK: Duration = Duration::from_millis(100);
/// How often the space in use is measured during a job.
const MEASURE: Duration = Duration::from_millis(20);
/// Cells counted under one lock.
const COUNT: usize = 2000;
/// Pause between two such counts: right after a start the processor is wanted for requests, and cleaning has time.
const COUNT_PAUSE: Duration = Duration::from_millis(1);
/// Dead bytes may lie about up to this part of the log: the files then take at most 1.5 times what is live in them.
const DEAD_SHARE: f64 = 0.3;
/// Dead bytes may lie about up to so many segments, whatever the size of the log: as much as there is between two checkpoints anyway, above
/// which nothing can be cleaned.
const DEAD_SEGMENTS: u64 = 4;
/// A segment is cleaned if at least this part of it is dead: in general, and when space is short or a pass was asked for.
const LEAST_DEAD: f64 = 0.15;
const LEAST_DEAD_URGENT: f64 = 0.04;
/// From this share of the space on, dead bytes are not left about at all.
const SHORT: f64 = 0.85;

/// Asks for a checkpoint, without waiting for it.
type AskCheckpoint = Box<dyn Fn() + Send>;

/// The thread, and what it tells.
pub(crate) struct Cleaning {
    shared: Arc<Shared>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    counts: Counts,
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
        let old: HashSet<SegmentId> =
            log.segments().in_order().iter().filter(|segment| segment.is_sealed()).map(|segment| segment.id()).collect();
        if old.is_empty() {
            index.nothing_to_count();
        }
        let mut worker = Worker {
            shared: Arc::clone(&shared),
            log: Arc::clone(log),
            index: Arc::clone(index),
            values: Arc::clone(values),
            checkpointer: Arc::clone(checkpointer),
            ask,
            old,
            counted: false,
            known: HashSet::new(),
            unfit: HashSet::new(),
            retired: Retired::default(),
            growth: Growth { bytes: 0, at: Instant::now(), rate: 0.0 },
        };
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
    fn wait(&self, pause: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.stop && !pause.is_zero() {
            self.wake.wait_for(&mut state, pause);
        }
        state.stop
    }
}

/// How fast the log grows, smoothed over about a second.
struct Growth {
    bytes: u64,
    at: Instant,
    rate: f64,
}

impl Growth {
    fn note(&mut self, bytes: u64) {
        let seconds = self.at.elapsed().as_secs_f64();
        if seconds >= 0.05 {
            let now = (bytes - self.bytes) as f64 / seconds;
            let weight = (seconds / 1.0).min(1.0);
            self.rate += (now - self.rate) * weight;
            (self.bytes, self.at) = (bytes, Instant::now());
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    log: Arc<Log>,
    index: Arc<Index>,
    values: Arc<Values>,
    checkpointer: Arc<Checkpointer>,
    ask: AskCheckpoint,
    /// Segments that were sealed at the start: their cells are counted one by one.
    old: HashSet<SegmentId>,
    counted: bool,
    /// Segments whose live cells are known.
    known: HashSet<SegmentId>,
    /// Segments that could not be cleaned; they are left alone until the next start.
    unfit: HashSet<SegmentId>,
    retired: Retired,
    growth: Growth,
}

impl Worker {
    fn run(&mut self) {
        // At the usual priority, held back by its budget: it takes stripes' locks, and requests would wait for a thread that does not run.
        match Retired::adopt(&self.log, &self.index, &self.checkpointer) {
            Ok(retired) => self.retired = retired,
            Err(error) => tracing::error!("what cleaning left behind stays until the next start: {error}"),
        }
        let mut pause = Duration::ZERO;
        while !self.shared.wait(pause) {
            pause = self.step().unwrap_or_else(|error| self.failed(&error));
        }
    }

    fn failed(&self, error: &StorageError) -> Duration {
        self.shared.counts.failed.fetch_add(1, Ordering::Relaxed);
        if error.is_disk_full() {
            tracing::warn!("cleaning waits for room: {error}");
        } else {
            tracing::error!("cleaning failed: {error}");
        }
        10 * TICK
    }

    /// Does one thing; how long to wait before the next.
    fn step(&mut self) -> Result<Duration> {
        self.growth.note(self.log.appended_bytes());
        if !self.counted {
            let old = &self.old;
            self.counted = !self.index.count_live_cells(COUNT, |id| old.contains(&id));
            if !self.counted {
                return Ok(COUNT_PAUSE);
            }
        }
        self.log.durability().check()?;
        self.log.measure_space(&self.index)?;
        self.retired.remove(&self.log, &self.index, &self.checkpointer, &self.shared.counts)?;
        let settled = self.log.durability().flushed().min(Lsn(self.shared.pinned.load(Ordering::Acquire)));
        self.values.remove_buried(settled)?;
        let segments = self.sealed();
        let candidates = self.candidates(&segments);
        let demand = self.demand(&candidates);
        self.ask_for_checkpoint(&demand);
        let Some(least) = demand.least_dead else { return Ok(TICK) };
        let Some(range) = pick(&candidates, u64::from(self.log.segment_size), least) else {
            self.pass_ended(&candidates);
            return Ok(TICK);
        };
        let live = candidates[range.clone()].iter().map(|c| c.live * c.bytes as f64).sum::<f64>();
        let bytes = candidates[range.clone()].iter().map(|c| c.bytes as f64).sum::<f64>();
        self.clean(&segments, range, live / bytes.max(1.0))?;
        Ok(Duration::ZERO)
    }

    /// Sealed segments by LSN. Those sealed since the last look get their figure.
    fn sealed(&mut self) -> Vec<Arc<Segment>> {
        let all: Vec<_> = self.log.segments().in_order().into_iter().filter(|segment| segment.is_sealed()).collect();
        for segment in &all {
            if self.known.insert(segment.id())
                && !self.old.contains(&segment.id())
                && let Some(counts) = segment.counts().filter(|_| !segment.is_cleaned())
            {
                self.index.add_live_cells(segment.id(), counts.values as u32);
            }
        }
        all
    }

    fn candidates(&self, segments: &[Arc<Segment>]) -> Vec<Candidate> {
        let below = self.log.manifest.lock().checkpoint.map_or(Lsn(0), |checkpoint| checkpoint.replay_from);
        let replay = self.index.replay_position();
        let written = self.log.durability().written();
        let candidate = |segment: &Arc<Segment>| Candidate {
            bytes: segment.map().written() as u64,
            live: self.live_part(segment),
            age: written.0 - segment.last_lsn().0,
            eligible: segment.last_lsn() < below
                && segment.last_lsn() < replay.lsn
                && segment.id() != replay.segment
                && !self.unfit.contains(&segment.id()),
        };
        segments.iter().map(candidate).collect()
    }

    fn live_part(&self, segment: &Segment) -> f64 {
        let ops = match segment.counts() {
            Some(counts) => counts.ops,
            None => Footer::ops_of(segment.file()).inspect(|ops| segment.set_counts(SealedCounts { ops: *ops, values: 0 })).unwrap_or(0),
        };
        if ops == 0 { 1.0 } else { (self.index.live_cells(segment.id()) as f64 / ops as f64).min(1.0) }
    }

    fn demand(&self, candidates: &[Candidate]) -> Demand {
        let total: f64 = candidates.iter().map(|c| c.bytes as f64).sum();
        let dead: f64 = candidates.iter().map(Candidate::dead_bytes).sum();
        let share = self.log.space.share();
        let slack = (DEAD_SEGMENTS * u64::from(self.log.segment_size)) as f64;
        let allowed = if share >= SHORT { 0.0 } else { (total * DEAD_SHARE).max(slack) };
        let counts = &self.shared.counts;
        counts.log_bytes.store(total as u64, Ordering::Relaxed);
        counts.live_bytes.store((total - dead) as u64, Ordering::Relaxed);
        counts.debt_bytes.store((dead - allowed).max(0.0) as u64, Ordering::Relaxed);
        counts.retired_bytes.store(self.retired.bytes(), Ordering::Relaxed);
        counts.used_bytes.store(self.log.space.used(), Ordering::Relaxed);
        let pass = self.shared.state.lock().pass;
        let least_dead = if pass || share >= SHORT { Some(LEAST_DEAD_URGENT) } else { (dead > allowed).then_some(LEAST_DEAD) };
        self.log.space.set_reclaims(self.retired.bytes() > 0 || dead > f64::from(self.log.segment_size));
        let waiting = candidates.iter().any(|c| !c.eligible && least_dead.is_some_and(|least| 1.0 - c.live >= least));
        let possible = candidates.iter().any(|c| c.eligible && least_dead.is_some_and(|least| 1.0 - c.live >= least));
        Demand { least_dead, share, total, stuck: waiting && !possible }
    }

    /// A checkpoint sets retired segments free, and lets those above the last one be cleaned.
    fn ask_for_checkpoint(&self, demand: &Demand) {
        let retired = self.retired.bytes();
        let segment = u64::from(self.log.segment_size);
        // Worth a checkpoint's cost: its own size several times over, or space that is needed now.
        let cost = self.log.checkpoint_estimate(&self.index);
        let many = retired > (4 * cost).max(demand.total as u64 / 10).max(4 * segment);
        let urgent = demand.share >= SHORT && (retired > segment.max(cost / 2) || (demand.stuck && demand.share >= 0.95));
        let stuck = demand.stuck && self.log.bytes_since_checkpoint(&self.checkpointer) > (2 * cost).max(2 * segment);
        let pass = self.shared.state.lock().pass && (retired > 0 || demand.stuck);
        self.checkpointer.set_urgent(demand.share >= SHORT && retired > segment);
        if many || urgent || stuck || pass {
            (self.ask)();
        }
    }

    fn pass_ended(&self, candidates: &[Candidate]) {
        let mut state = self.shared.state.lock();
        // What is above the last checkpoint can be cleaned after the next.
        let waits = candidates.iter().any(|c| !c.eligible && 1.0 - c.live >= LEAST_DEAD_URGENT);
        let unsealed = !self.log.tail.lock().full.is_empty();
        if state.pass && !waits && !unsealed && self.retired.bytes() == 0 {
            state.pass = false;
            state.passes_done += 1;
        }
    }

    fn clean(&mut self, segments: &[Arc<Segment>], range: std::ops::Range<usize>, live: f64) -> Result<()> {
        let victims = &segments[range.clone()];
        let judge = Judge {
            log: &self.log,
            index: &self.index,
            tables: self.index.tables(),
            oldest: range.start == 0,
            pinned: Lsn(self.shared.pinned.load(Ordering::Acquire)),
            written: self.log.durability().written(),
            now: wall_clock(),
            evicts: false,
            seen: Lsn(0),
            values: Vec::new(),
        };
        let mut job =
            Job { log: &self.log, index: &self.index, victims, values: &self.values, judge, room: u64::from(self.log.segment_size) };
        let (log, shared) = (&self.log, &self.shared);
        let growth = self.growth.rate;
        let measured = std::cell::Cell::new(Instant::now());
        let rate = || {
            if measured.get().elapsed() >= MEASURE {
                // What fails here fails at the next look, too.
                let _ = log.measure_space(&self.index);
                measured.set(Instant::now());
            }
            budget::rate(Load { growth, used: log.space.share(), live })
        };
        let wait = |pause| shared.wait(pause);
        let started = Instant::now();
        let mut pace = Throttle { rate: &rate, wait: &wait, since: started, bytes: 0 };
        let outcome = job.run(&mut pace);
        shared.counts.micros.fetch_add(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        match outcome {
            Ok(None) => Ok(()),
            Ok(Some(done)) => {
                self.done(victims, done);
                Ok(())
            }
            Err(error) if error.is_disk_full() => Err(error),
            Err(error) => {
                // A bad medium: the segments stay as they are, and readable where they can be read.
                self.unfit.extend(victims.iter().map(|victim| victim.id()));
                Err(error)
            }
        }
    }

    fn done(&mut self, victims: &[Arc<Segment>], done: Done) {
        let counts = &self.shared.counts;
        counts.jobs.fetch_add(1, Ordering::Relaxed);
        counts.read.fetch_add(done.read, Ordering::Relaxed);
        counts.written.fetch_add(done.written, Ordering::Relaxed);
        for victim in victims {
            self.known.remove(&victim.id());
            self.old.remove(&victim.id());
        }
        self.retired.add(victims, &self.checkpointer);
    }
}

/// What is to be done.
struct Demand {
    /// Clean segments of which at least this part is dead; none: do not clean.
    least_dead: Option<f64>,
    /// The part of the allowed space that is in use.
    share: f64,
    /// Bytes of sealed segments.
    total: f64,
    /// There is something to clean, and all of it lies above the last checkpoint.
    stuck: bool,
}

impl Log {
    /// Bytes that a checkpoint takes, roughly.
    pub(crate) fn checkpoint_estimate(&self, index: &Index) -> u64 {
        index.bytes_used() * STORED_CELL_BYTES as u64 / 16
    }

    /// Finds out how much of the disk is in use, and how much of the limit to leave free.
    fn measure_space(&self, index: &Index) -> Result<()> {
        let used = self.directory.usage().map_err(StorageError::io("measure", self.directory.path("")))?;
        self.space.set_used(used);
        self.space.set_reserve(u64::from(self.segment_size), self.checkpoint_estimate(index));
        Ok(())
    }

    fn bytes_since_checkpoint(&self, checkpointer: &Checkpointer) -> u64 {
        checkpointer.status().log_bytes_since
    }
}
