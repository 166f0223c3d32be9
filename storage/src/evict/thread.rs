//! The thread that evicts.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::limit::delay;
use super::pass::{Place, pass};
use super::policy::EvictionPolicy;
use super::queue::{Queued, next};
use super::replicate::replicate;
use super::{Limit, Usage};
use crate::clean::sealed;
use crate::clock::Clock;
use crate::codec::entry::EntryView;
use crate::codec::evicted::Evicted;
use crate::error::Result;
use crate::index::Index;
use crate::log::{Log, Segment};
use crate::options::Options;
use crate::shard::Values;
use crate::thread::{Signal, Thread};
use crate::types::UnixMillis;

/// How often the thread looks, with a limit: in that time the log grows by less than a segment.
const TICK: Duration = Duration::from_millis(5);
/// The same without one.
const IDLE: Duration = Duration::from_millis(500);
/// How long it waits when nothing could be evicted.
const BARREN: Duration = Duration::from_millis(200);
/// How often data is measured that is beyond the limit, or near it.
const MEASURE: Duration = Duration::from_millis(50);
/// How full the disk may get with data that lives, if keys may go: the rest is what cleaning works with.
const DISK_SHARE: f64 = 0.75;
/// Bytes that the data may have grown by for each byte of log: a key counts for more beside its value than its framing takes.
const GROWTH: u64 = 2;
/// A key that is asked for again and again survives so many passes at most, when nobody asks for it any more.
const ROUNDS: usize = 4;

/// The thread, and what it shares.
pub(crate) struct Eviction {
    limit: Arc<Limit>,
    signal: Arc<Signal<()>>,
    worker: Arc<Mutex<Worker>>,
    thread: Thread,
}

impl Eviction {
    pub(crate) fn start(log: &Arc<Log>, index: &Arc<Index>, values: &Arc<Values>, options: &Options) -> Result<Self> {
        let limit = Arc::new(Limit::default());
        limit.set_bytes(options.data_limit);
        limit.set_policy(options.eviction);
        index.count_uses(options.eviction.is_some_and(|policy| policy.order.counts_use()));
        let signal = Arc::new(Signal::default());
        let worker = Arc::new(Mutex::new(Worker {
            signal: Arc::clone(&signal),
            limit: Arc::clone(&limit),
            log: Arc::clone(log),
            index: Arc::clone(index),
            values: Arc::clone(values),
            clock: options.clock.clone(),
            measured: Measured { usage: Usage::default(), appended: 0, at: None },
        }));
        let (mine, theirs) = (Arc::clone(&worker), Arc::clone(&signal));
        let run = move || {
            let mut pause = Duration::ZERO;
            while !theirs.wait(Some(pause), |()| true) {
                pause = mine.lock().tick();
            }
        };
        let thread = Thread::start("esker-evict", "eviction", run)?;
        Ok(Self { limit, signal, worker, thread })
    }

    pub(crate) fn limit(&self) -> &Limit {
        &self.limit
    }

    /// The limit or the policy has changed.
    pub(crate) fn wake(&self) {
        self.signal.tell(|()| ());
    }

    /// Evicts until the data is within its limit, on this thread.
    pub(crate) fn run(&self) -> Result<()> {
        let mut worker = self.worker.lock();
        worker.measured.at = None;
        worker.step().map(|_| ())
    }

    /// Appends the primary's entry, and lets the keys go that it names.
    pub(crate) fn replicate(
        &self,
        log: &Log,
        index: &Index,
        values: &Values,
        now: UnixMillis,
        entry: &EntryView<'_>,
        evicted: &Evicted,
    ) -> Result<()> {
        replicate(Place { log, index, values, limit: &self.limit, now }, entry, evicted)
    }

    pub(crate) fn stop(&self) {
        self.signal.stop();
        self.thread.join();
    }
}

/// When the data was measured, and how far the log was then: since, it can have grown by no more than what was appended.
struct Measured {
    usage: Usage,
    appended: u64,
    at: Option<Instant>,
}

struct Worker {
    signal: Arc<Signal<()>>,
    limit: Arc<Limit>,
    log: Arc<Log>,
    index: Arc<Index>,
    values: Arc<Values>,
    clock: Clock,
    measured: Measured,
}

impl Worker {
    fn tick(&mut self) -> Duration {
        if self.log.is_replica() {
            // The primary says what goes.
            return IDLE;
        }
        match self.step() {
            Ok(pause) => pause,
            Err(error) => {
                self.limit.counts.failed.fetch_add(1, Relaxed);
                if error.is_disk_full() {
                    tracing::warn!("eviction waits for room: {error}");
                } else {
                    tracing::error!("eviction failed: {error}");
                }
                // Neither is anything freed nor does waiting help: who writes is told.
                self.judge_overrun(false);
                BARREN
            }
        }
    }

    /// Evicts what is beyond the limit; how long to wait before the next look.
    fn step(&mut self) -> Result<Duration> {
        let policy = self.limit.policy();
        let Some(target) = self.target(policy) else {
            self.limit.set_over(false);
            self.limit.set_write_delay(Duration::ZERO);
            return Ok(IDLE);
        };
        if self.at_most() <= target && !self.limit.is_over() {
            self.limit.set_write_delay(Duration::ZERO);
            return Ok(TICK);
        }
        if policy.is_none() && self.measured.at.is_some_and(|at| at.elapsed() < MEASURE) {
            return Ok(TICK);
        }
        self.measure();
        let Some(policy) = policy else {
            self.judge_overrun(false);
            return Ok(TICK);
        };
        self.limit.ghosts.reserve(self.measured.usage.keys);
        let frees = self.evict_down_to(target, policy)?;
        self.judge_overrun(frees);
        Ok(if frees { TICK } else { BARREN })
    }

    /// Up to where data is allowed, with room for the segment that is being written; none without a limit.
    fn target(&self, policy: Option<EvictionPolicy>) -> Option<u64> {
        let segment = u64::from(self.log.segment_size);
        let data = Some(self.limit.bytes()).filter(|bytes| *bytes > 0);
        // Without a policy nothing can be done about the disk: writes are refused when it is full.
        let disk = policy.and_then(|_| self.disk_target());
        let limit = data.into_iter().chain(disk).min()?;
        Some(if policy.is_some() { limit.saturating_sub(segment) } else { limit })
    }

    fn disk_target(&self) -> Option<u64> {
        let room = self.log.space.for_log()?;
        let index = self.index.bytes_used() + self.index.checkpoint_estimate();
        Some((room.saturating_sub(index) as f64 * DISK_SHARE) as u64)
    }

    /// At most so much data is there.
    fn at_most(&self) -> u64 {
        match self.measured.at {
            Some(_) => self.measured.usage.total() + GROWTH * (self.log.appended_bytes() - self.measured.appended),
            None => u64::MAX,
        }
    }

    fn measure(&mut self) {
        let appended = self.log.appended_bytes();
        self.measured = Measured { usage: Usage::measure(&self.index), appended, at: Some(Instant::now()) };
        self.limit.counts.used.store(self.measured.usage.total(), Relaxed);
    }

    /// Whether the data is beyond its limit and nothing frees it; and how long writers pause until it is within.
    fn judge_overrun(&self, frees: bool) {
        let (used, limit) = (self.measured.usage.total(), self.limit.bytes());
        let over = limit > 0 && used > limit;
        self.limit.set_over(over && !frees);
        let pause = if over && frees { delay(used, limit, u64::from(self.log.segment_size)) } else { Duration::ZERO };
        self.limit.set_write_delay(pause);
    }

    /// Passes over segments until the data is within `target`; false if no key can go.
    fn evict_down_to(&mut self, target: u64, policy: EvictionPolicy) -> Result<bool> {
        let mut barren = 0;
        while self.measured.usage.total() > target && !self.signal.wait(Some(Duration::ZERO), |()| true) {
            let (segments, queue) = self.queue();
            if barren > ROUNDS * segments.len() {
                return Ok(false);
            }
            let Some(number) = next(policy.order, &queue, self.measured.usage.keys, rand::random()) else { return Ok(false) };
            let started = Instant::now();
            let place = Place { log: &self.log, index: &self.index, values: &self.values, limit: &self.limit, now: self.clock.now() };
            let went = pass(place, &segments[number], policy);
            self.limit.counts.micros.fetch_add(started.elapsed().as_micros() as u64, Relaxed);
            barren = if went? == 0 { barren + 1 } else { 0 };
            self.measure();
            self.judge_overrun(true);
        }
        Ok(true)
    }

    /// Sealed segments with keys, and what the choice depends on.
    fn queue(&self) -> (Vec<Arc<Segment>>, Vec<Queued>) {
        let segments = sealed(&self.log, &self.index).into_iter();
        let with_keys = segments.map(|segment| {
            let keys = self.index.live_cells(segment.id());
            (Arc::clone(&segment), Queued { stamp: segment.stamp(), keys })
        });
        with_keys.filter(|(_, queued)| queued.keys > 0).unzip()
    }
}
