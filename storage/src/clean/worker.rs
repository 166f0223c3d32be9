//! What the cleaning thread does: it looks how things are, and then does one job, or waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::budget::{self, Freed, Growth, Load, Room, Throttle};
use super::demand::{Demand, Situation};
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
use crate::index::Index;
use crate::log::{Log, SealedCounts, Segment};
use crate::segment::footer::Footer;
use crate::shard::Values;
use crate::types::{Lsn, SegmentId};

/// How often the thread looks whether there is something to do.
const TICK: Duration = Duration::from_millis(100);
/// The same while the space is nearly used up, and how often it is measured during a job.
const MEASURE: Duration = Duration::from_millis(10);
/// From this share of the space on, the files of dead large values do not wait for the next flush of the log.
const VALUES_AT_ONCE: f64 = 0.85;
/// Bytes a second below which a log hardly grows.
const LEAST_GROWTH: f64 = 1e6;
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
    freed: Freed,
    /// How many checkpoints are still to find room.
    checkpoints: Arc<AtomicU64>,
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
            freed: Freed::default(),
            checkpoints: reserve_space(log, index),
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
        self.retired.remove(&self.log, &self.index, &self.checkpointer, &self.shared.counts)?;
        self.checkpoints.store(checkpoints_to_come(&self.log), Ordering::Relaxed);
        let room = self.look().room()?;
        self.move_pin();
        // Who is about to open one of them finds that its key has changed, at worst.
        let at_once = self.log.space.share() >= VALUES_AT_ONCE;
        if at_once && self.values.has_buried() {
            self.log.flush()?;
        }
        let settled = self.log.durability().flushed().min(self.shared.kept_from());
        self.values.remove_buried(settled, at_once)?;
        let segments = sealed(&self.log, &self.index);
        let candidates = self.candidates(&segments);
        let tick = if room.is_near() && self.growth.rate() > LEAST_GROWTH { MEASURE } else { TICK };
        let situation = self.situation(room, &candidates);
        let demand = situation.demand();
        self.tell(&demand);
        if demand.checkpoint {
            (self.ask)();
        }
        let Some(least) = demand.least_dead else { return Ok(tick) };
        let Some(range) = pick(&candidates, u64::from(self.log.segment_size), least) else {
            self.nothing_picked(&situation);
            return Ok(tick);
        };
        let live = candidates[range.clone()].iter().map(|c| c.live * c.bytes as f64).sum::<f64>();
        let bytes = candidates[range.clone()].iter().map(|c| c.bytes as f64).sum::<f64>();
        if situation.retired > 0 && !self.log.space.admits_job(live as u64) {
            // What was cleaned goes first: after a checkpoint, for which there would be no room otherwise.
            (self.ask)();
            return Ok(MEASURE);
        }
        self.clean(&segments, range, live / bytes.max(1.0))?;
        Ok(Duration::ZERO)
    }

    /// Moves on from where the past is kept. It gives way when the space runs out.
    fn move_pin(&mut self) {
        let (retention, part) = self.shared.retention().within(self.share_for_good());
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

    /// The part of the space that is in use and not what cleaning frees without history giving way.
    fn share_for_good(&self) -> f64 {
        let retention = self.shared.retention();
        if retention == HistoryRetention::Off {
            return self.log.space.share();
        }
        // Not the pin as it is: where history has given way more can be freed, which is no reason to keep it again.
        let pin = retention.pin(&self.log, self.clock.now());
        let freed = |segment: &Arc<Segment>| segment.map().written() as f64 * (1.0 - self.live_part(segment, pin));
        let segments = sealed(&self.log, &self.index);
        let dead: f64 = segments.iter().filter(|segment| !self.is_left_alone(segment, pin)).map(freed).sum();
        self.log.space.share_without(self.retired.bytes() + dead as u64, u64::from(self.log.segment_size))
    }

    fn candidates(&self, segments: &[Arc<Segment>]) -> Vec<Candidate> {
        let below = self.log.manifest.lock().checkpoint.map_or(Lsn(0), |checkpoint| checkpoint.replay_from);
        let replay = self.index.replay_position();
        let written = self.log.durability().written();
        let pin = self.shared.kept_from();
        let candidate = |segment: &Arc<Segment>| {
            let left_alone = self.is_left_alone(segment, pin);
            Candidate {
                bytes: segment.map().written() as u64,
                live: if left_alone { 1.0 } else { self.live_part(segment, pin) },
                age: written.0 - segment.last_lsn().0,
                main: is_main(segment.stamp()),
                eligible: segment.last_lsn() < below && segment.last_lsn() < replay.lsn && segment.id() != replay.segment && !left_alone,
            }
        };
        segments.iter().map(candidate).collect()
    }

    /// Whether cleaning cannot free anything of it, checkpoint or not: it was found damaged, or all of it is history that is to stay.
    fn is_left_alone(&self, segment: &Segment, pin: Lsn) -> bool {
        segment.last_lsn() > pin || segment.is_bad() || self.unfit.contains(&segment.id())
    }

    fn live_part(&self, segment: &Segment, pin: Lsn) -> f64 {
        let ops = match segment.counts() {
            Some(counts) => counts.ops,
            None => Footer::ops_of(segment.file()).inspect(|ops| segment.set_counts(SealedCounts { ops: *ops, values: 0 })).unwrap_or(0),
        };
        let ops = ops + segment.released(pin);
        if ops == 0 { 1.0 } else { (self.index.live_cells(segment.id()) as f64 / ops as f64).min(1.0) }
    }

    fn situation<'c>(&self, room: Room, candidates: &'c [Candidate]) -> Situation<'c> {
        Situation {
            candidates,
            segment: u64::from(self.log.segment_size),
            room,
            pass: self.shared.pass(),
            retired: self.retired.bytes(),
            checkpoint: self.index.checkpoint_estimate(),
            since_checkpoint: self.checkpointer.status().log_bytes_since,
        }
    }

    fn look(&self) -> Look {
        Look {
            log: Arc::clone(&self.log),
            retired: self.retired.bytes(),
            growth: self.growth.rate(),
            freed: self.freed.rate(),
            checkpoint: Duration::from_millis(self.checkpointer.status().last_millis),
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
        let shared = &self.shared;
        let look = self.look();
        let started = Instant::now();
        let measured = std::cell::Cell::new((started, look.room()?));
        let rate = || {
            let (at, mut room) = measured.get();
            if at.elapsed() >= MEASURE {
                // What fails here fails at the next look, too.
                room = look.room().unwrap_or(room);
                measured.set((Instant::now(), room));
            }
            budget::rate(Load { growth: look.growth, room, live })
        };
        // Whoever has it rest has it give up the job, too: what it took of a core would be missing there.
        let wait = |pause| shared.wait(pause) || shared.rests();
        let mut pace = Throttle { rate: &rate, wait: &wait, since: started, bytes: 0, waited: Duration::ZERO };
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
        let waited = pace.waited;
        self.log.space.set_lent(0);
        shared.counts.micros.fetch_add(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        match outcome {
            Ok(None) => Ok(()),
            Ok(Some(done)) => {
                self.freed.note(done.read.saturating_sub(done.written), started.elapsed().saturating_sub(waited));
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

/// Has the log leave free what checkpoints take, and the index. Returns where the number of checkpoints is looked up.
fn reserve_space(log: &Log, index: &Arc<Index>) -> Arc<AtomicU64> {
    let checkpoints = Arc::new(AtomicU64::new(checkpoints_to_come(log)));
    let (number, index) = (Arc::clone(&checkpoints), Arc::clone(index));
    log.space.reserve_for(move || number.load(Ordering::Relaxed) * index.checkpoint_estimate() + index.next_growth());
    checkpoints
}

/// A new checkpoint stands beside the last one for a while; without one, there will be two.
fn checkpoints_to_come(log: &Log) -> u64 {
    if log.manifest.lock().checkpoint.is_some() { 1 } else { 2 }
}

/// What is needed to find out how much room there is.
struct Look {
    log: Arc<Log>,
    /// Bytes of segments that wait for a checkpoint.
    retired: u64,
    /// Bytes a second by which the log grows, and that cleaning frees.
    growth: f64,
    freed: f64,
    /// How long a checkpoint takes.
    checkpoint: Duration,
}

impl Look {
    /// Measures the space in use; writers are held back as that demands.
    fn room(&self) -> Result<Room> {
        let (log, space) = (&self.log, &self.log.space);
        let segment = u64::from(log.segment_size);
        space.measure(log.directory.as_ref()).map_err(StorageError::io("measure", log.directory.path("")))?;
        let Some(free) = space.free() else {
            space.hold_writers(None);
            return Ok(Room::UNLIMITED);
        };
        let allocated = {
            let tail = log.tail.lock();
            let map = tail.segment.map();
            (map.capacity() - map.written()) as u64 + if tail.spare.is_some() { segment } else { 0 }
        };
        let segments = |bytes: f64| bytes / segment as f64;
        // Cleaning writes, too: for a byte that it frees about one.
        let checkpoint = 2.0 * self.growth * self.checkpoint.as_secs_f64();
        let room = Room {
            free: segments(free as f64),
            soon: segments((free + self.retired as i64) as f64),
            ahead: segments(allocated as f64),
            checkpoint: segments(checkpoint),
        };
        space.hold_writers(budget::write_rate(room, self.freed).filter(|_| space.reclaims()));
        // Who needs more than what is left gets it by cleaning only.
        Ok(if space.is_pressed() { Room { free: room.free.min(0.0), soon: room.soon.min(0.0), ..room } } else { room })
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
