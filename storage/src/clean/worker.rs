//! What the cleaning thread does: it looks how things are, and then does one job, or waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::budget::{self, Growth, Load, Throttle};
use super::demand::{Demand, SHORT, Situation};
use super::evidence::{Evidence, Known};
use super::expired::ExpiredEntries;
use super::job::{Done, Job};
use super::judge::Judge;
use super::pick::{Candidate, pick};
use super::retired::Retired;
use super::thread::Shared;
use crate::checkpoint::Checkpointer;
use crate::clock::Clock;
use crate::error::{Result, StorageError};
use crate::evict::is_main;
use crate::history::HistoryRetention;
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

/// Asks for a checkpoint, without waiting for it.
pub(super) type AskCheckpoint = Box<dyn Fn() + Send>;

pub(super) struct Worker {
    shared: Arc<Shared>,
    log: Arc<Log>,
    index: Arc<Index>,
    values: Arc<Values>,
    checkpointer: Arc<Checkpointer>,
    ask: AskCheckpoint,
    /// Segments that were there at the start, each up to where it was written then: their cells are counted one by one.
    old: HashMap<SegmentId, usize>,
    counted: bool,
    /// Segments that could not be cleaned; they are left alone until the next start.
    unfit: HashSet<SegmentId>,
    retired: Retired,
    growth: Growth,
    clock: Clock,
    /// Whether history is shorter than was asked for.
    gave_way: bool,
    known_past: Known,
    expired: ExpiredEntries,
}

impl Worker {
    pub(super) fn new(
        shared: &Arc<Shared>,
        log: &Arc<Log>,
        index: &Arc<Index>,
        values: &Arc<Values>,
        checkpointer: &Arc<Checkpointer>,
        ask: AskCheckpoint,
        clock: Clock,
    ) -> Self {
        let there = log.segments().in_order().into_iter().filter(|segment| segment.is_sealed() || !segment.is_own());
        let end = |segment: &Segment| if segment.is_sealed() { usize::MAX } else { segment.own_from() };
        let old: HashMap<SegmentId, usize> = there.map(|segment| (segment.id(), end(&segment))).collect();
        if old.is_empty() {
            index.nothing_to_count();
        }
        Self {
            shared: Arc::clone(shared),
            log: Arc::clone(log),
            index: Arc::clone(index),
            values: Arc::clone(values),
            checkpointer: Arc::clone(checkpointer),
            ask,
            old,
            counted: false,
            unfit: HashSet::new(),
            retired: Retired::default(),
            growth: Growth::new(),
            clock,
            gave_way: false,
            known_past: Known::default(),
            expired: ExpiredEntries::default(),
        }
    }

    pub(super) fn run(&mut self) {
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
            self.counted =
                !self.index.count_live_cells(COUNT, |at| old.get(&at.segment()).is_some_and(|end| (at.offset() as usize) < *end));
            if !self.counted {
                return Ok(COUNT_PAUSE);
            }
        }
        self.log.durability().check()?;
        self.log.space.look_at_refused();
        self.log.measure_space(&self.index)?;
        self.move_pin();
        self.retired.remove(&self.log, &self.index, &self.checkpointer, &self.shared.counts)?;
        // Who is about to open one of them finds that its key has changed, at worst.
        let at_once = self.log.space.share() >= SHORT;
        if at_once && self.values.has_buried() {
            self.log.flush()?;
        }
        let settled = self.log.durability().flushed().min(self.shared.kept_from());
        self.values.remove_buried(settled, at_once)?;
        let segments = sealed(&self.log, &self.index);
        let candidates = self.candidates(&segments);
        let situation = self.situation(&candidates);
        let demand = situation.demand();
        self.tell(&demand);
        if demand.checkpoint {
            (self.ask)();
        }
        let Some(least) = demand.least_dead else { return Ok(TICK) };
        let Some(range) = pick(&candidates, u64::from(self.log.segment_size), least) else {
            self.nothing_picked(&situation);
            return Ok(TICK);
        };
        let live = candidates[range.clone()].iter().map(|c| c.live * c.bytes as f64).sum::<f64>();
        let bytes = candidates[range.clone()].iter().map(|c| c.bytes as f64).sum::<f64>();
        if situation.retired > 0 && !self.log.space.admits_job(live as u64) {
            // What was cleaned goes first: after a checkpoint, for which there would be no room otherwise.
            (self.ask)();
            return Ok(TICK);
        }
        self.clean(&segments, range, live / bytes.max(1.0))?;
        Ok(Duration::ZERO)
    }

    /// Moves on from where the past is kept. It gives way when the space runs out.
    fn move_pin(&mut self) {
        let (retention, part) = self.shared.retention().within(self.log.space.share());
        let pin = retention.pin(&self.log, self.clock.now());
        self.shared.keep_from(pin);
        self.expired.note(self.index.expired().lsn);
        let gives_way = part < 1.0 && self.shared.retention() != HistoryRetention::Off;
        let counts = &self.shared.counts;
        if gives_way && !self.gave_way {
            counts.history_gave_way.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("history is shorter than history-retention says, as the disk is nearly full");
        }
        self.gave_way = gives_way;
        let kept = if pin == Lsn(u64::MAX) { self.log.durability().written() } else { pin };
        let of_history = |segment: &Arc<Segment>| segment.last_lsn() > kept;
        let bytes = self.log.segments().in_order().iter().filter(|s| of_history(s)).map(|s| s.map().written() as u64).sum();
        counts.history_bytes.store(if retention == HistoryRetention::Off { 0 } else { bytes }, Ordering::Relaxed);
        counts.history_from.store(kept.0.max(self.log.manifest.lock().cleaned.horizon.0), Ordering::Relaxed);
    }

    fn candidates(&self, segments: &[Arc<Segment>]) -> Vec<Candidate> {
        let below = self.log.manifest.lock().checkpoint.map_or(Lsn(0), |checkpoint| checkpoint.replay_from);
        let replay = self.index.replay_position();
        let written = self.log.durability().written();
        let candidate = |segment: &Arc<Segment>| {
            let left_alone = self.is_left_alone(segment);
            Candidate {
                bytes: segment.map().written() as u64,
                live: if left_alone { 1.0 } else { self.live_part(segment) },
                age: written.0 - segment.last_lsn().0,
                main: is_main(segment.stamp()),
                eligible: segment.last_lsn() < below && segment.last_lsn() < replay.lsn && segment.id() != replay.segment && !left_alone,
            }
        };
        segments.iter().map(candidate).collect()
    }

    /// Whether cleaning cannot free anything of it, checkpoint or not: it was found damaged, or all of it is history that is to stay.
    fn is_left_alone(&self, segment: &Segment) -> bool {
        segment.last_lsn() > self.shared.kept_from() || segment.is_bad() || self.unfit.contains(&segment.id())
    }

    fn live_part(&self, segment: &Segment) -> f64 {
        let ops = match segment.counts() {
            Some(counts) => counts.ops,
            None => Footer::ops_of(segment.file()).inspect(|ops| segment.set_counts(SealedCounts { ops: *ops, values: 0 })).unwrap_or(0),
        };
        let ops = ops + segment.released(self.shared.kept_from());
        if ops == 0 { 1.0 } else { (self.index.live_cells(segment.id()) as f64 / ops as f64).min(1.0) }
    }

    fn situation<'c>(&self, candidates: &'c [Candidate]) -> Situation<'c> {
        Situation {
            candidates,
            segment: u64::from(self.log.segment_size),
            share: self.log.space.share(),
            pass: self.shared.pass(),
            retired: self.retired.bytes(),
            checkpoint: self.log.checkpoint_estimate(&self.index),
            since_checkpoint: self.checkpointer.status().log_bytes_since,
        }
    }

    /// Tells INFO, the writers and the checkpoints how things are.
    fn tell(&self, demand: &Demand) {
        let counts = &self.shared.counts;
        counts.log_bytes.store(demand.log, Ordering::Relaxed);
        counts.live_bytes.store(demand.live, Ordering::Relaxed);
        counts.debt_bytes.store(demand.debt, Ordering::Relaxed);
        counts.retired_bytes.store(self.retired.bytes(), Ordering::Relaxed);
        counts.used_bytes.store(self.log.space.used(), Ordering::Relaxed);
        self.log.space.set_reclaims(demand.reclaims || self.values.has_buried());
        self.checkpointer.set_urgent(demand.hurry);
    }

    fn nothing_picked(&self, situation: &Situation<'_>) {
        let unsealed = !self.log.tail.lock().full.is_empty();
        if situation.pass && !situation.waits_for_checkpoint() && !unsealed && situation.retired == 0 {
            self.shared.pass_done();
        }
    }

    fn clean(&mut self, segments: &[Arc<Segment>], range: std::ops::Range<usize>, live: f64) -> Result<()> {
        let victims = &segments[range.clone()];
        let (log, shared) = (&self.log, &self.shared);
        let growth = self.growth.rate();
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
        let pin = self.shared.kept_from();
        let written = self.log.durability().written();
        let past = if pin < written {
            match Evidence::gather(&self.log, &self.index, &mut self.known_past, segments, range.clone(), pin, &mut pace)? {
                None => return Ok(()),
                past => past,
            }
        } else {
            None
        };
        let judge = Judge::new(&self.log, &self.index, range.start == 0, past, self.expired.last_before(pin));
        let mut job =
            Job { log: &self.log, index: &self.index, victims, values: &self.values, judge, room: u64::from(self.log.segment_size) };
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
            self.old.remove(&victim.id());
        }
        self.retired.add(victims, &self.checkpointer);
    }
}

impl Log {
    /// Bytes that a checkpoint takes, roughly.
    pub(crate) fn checkpoint_estimate(&self, index: &Index) -> u64 {
        index.bytes_used() * STORED_CELL_BYTES as u64 / 16
    }

    /// Finds out how much of the disk is in use, and how much of the limit to leave free.
    fn measure_space(&self, index: &Index) -> Result<()> {
        // A new checkpoint stands beside the last one for a while; without one, there will be two.
        let checkpoints = if self.manifest.lock().checkpoint.is_some() { 1 } else { 2 };
        self.space.set_reserve(u64::from(self.segment_size), checkpoints * self.checkpoint_estimate(index));
        self.space.measure(self.directory.as_ref()).map_err(StorageError::io("measure", self.directory.path("")))
    }
}

/// Sealed segments by LSN. Those sealed since somebody last asked get their figure of live cells.
pub(crate) fn sealed(log: &Log, index: &Index) -> Vec<Arc<Segment>> {
    let mut segments = log.segments().in_order();
    segments.retain(|segment| segment.is_sealed());
    for segment in &segments {
        if let Some(cells) = segment.take_cells() {
            index.add_live_cells(segment.id(), cells);
        }
    }
    segments
}
