//! The thread that keeps memory within its limit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::MemoryFigures;
use super::choice::{Candidate, CopiesLoad, choose};
use super::recent::Recent;
use crate::error::{Result, StorageError};
use crate::index::Index;
use crate::log::{Log, Segment};
use crate::options::Options;
use crate::shard::Values;

/// How often the thread looks.
const TICK: Duration = Duration::from_millis(200);
/// How long after it became cold a segment's memory is given back.
const GRACE: Duration = Duration::from_millis(100);
/// Of the limit one in so many bytes stays free, for what comes between two looks.
const FREE: u64 = 64;
/// And at least this much.
const LEAST_FREE: u64 = 1 << 20;
/// Large values in the page cache get at most one in so many bytes, when not everything fits.
const VALUES: u64 = 8;

/// Segments that are to become hot, the most wanted first.
#[derive(Default)]
pub(crate) struct WarmQueue(Mutex<VecDeque<Arc<Segment>>>);

impl WarmQueue {
    /// The next one.
    pub(crate) fn pop(&self) -> Option<Arc<Segment>> {
        self.0.lock().pop_front()
    }

    fn set(&self, segments: VecDeque<Arc<Segment>>) {
        *self.0.lock() = segments;
    }
}

/// The limit, and the thread that keeps it.
pub(crate) struct Grant {
    shared: Arc<Shared>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    log: Arc<Log>,
    index: Arc<Index>,
    values: Arc<Values>,
    queue: Arc<WarmQueue>,
    process_memory: fn() -> u64,
    limit: AtomicU64,
    figures: Mutex<MemoryFigures>,
    stop: Mutex<bool>,
    wake: Condvar,
}

impl Grant {
    /// Chooses once, and goes on choosing on a thread.
    pub(crate) fn start(
        log: &Arc<Log>,
        index: &Arc<Index>,
        values: &Arc<Values>,
        queue: &Arc<WarmQueue>,
        options: &Options,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            log: Arc::clone(log),
            index: Arc::clone(index),
            values: Arc::clone(values),
            queue: Arc::clone(queue),
            process_memory: options.process_memory,
            limit: AtomicU64::new(options.memory_limit),
            figures: Mutex::new(MemoryFigures::default()),
            stop: Mutex::new(false),
            wake: Condvar::new(),
        });
        let mut keeper = Keeper { shared: Arc::clone(&shared), recent: Recent::default(), cooling: Vec::new(), warned: false };
        keeper.step();
        let spawned = std::thread::Builder::new().name("esker-memory".to_owned()).spawn(move || keeper.run());
        let handle = spawned.map_err(StorageError::io("start a thread for", "the memory limit"))?;
        Ok(Self { shared, handle: Mutex::new(Some(handle)) })
    }

    pub(crate) fn set_limit(&self, bytes: u64) {
        if self.shared.limit.swap(bytes, Ordering::Relaxed) != bytes {
            self.shared.wake.notify_one();
        }
    }

    pub(crate) fn figures(&self) -> MemoryFigures {
        let copies = self.shared.log.copies.figures();
        let noted = *self.shared.figures.lock();
        MemoryFigures { copies: copies.records, copies_bytes: copies.bytes, copies_hits: copies.hits, ..noted }
    }

    /// Bytes that no choice can give back: anonymous memory other than copies, and the index.
    pub(crate) fn fixed(&self) -> u64 {
        self.shared.fixed()
    }

    pub(crate) fn stop(&self) {
        *self.shared.stop.lock() = true;
        self.shared.wake.notify_one();
        if let Some(handle) = self.handle.lock().take() {
            let _ = handle.join();
        }
    }
}

impl Shared {
    fn fixed(&self) -> u64 {
        (self.process_memory)().saturating_sub(self.log.copies.figures().bytes) + self.index.bytes_used()
    }

    /// Bytes for segments, copies and large values.
    fn room(&self, limit: u64, fixed: u64) -> u64 {
        if limit == u64::MAX {
            return limit;
        }
        // The next segment, or the one that cleaning writes, is not counted by itself.
        let free = (limit / FREE).max(LEAST_FREE) + u64::from(self.log.segment_size);
        limit.saturating_sub(fixed + free)
    }
}

struct Keeper {
    shared: Arc<Shared>,
    recent: Recent,
    /// Segments that have become cold, since when, and still have their memory.
    cooling: Vec<(Arc<Segment>, Instant)>,
    warned: bool,
}

impl Keeper {
    fn run(&mut self) {
        loop {
            let mut stop = self.shared.stop.lock();
            if !*stop {
                self.shared.wake.wait_for(&mut stop, TICK);
            }
            if *stop {
                return;
            }
            drop(stop);
            self.step();
        }
    }

    fn step(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (limit, fixed) = (shared.limit.load(Ordering::Relaxed), shared.fixed());
        let room = shared.room(limit, fixed);
        let table = shared.log.segments();
        let segments = table.in_order();
        let retired = table.retired();
        drop(table);
        self.recent.look(segments.iter().map(Arc::as_ref));
        let candidates: Vec<_> = segments.iter().map(|segment| self.candidate(segment)).collect();
        let all: u64 = candidates.iter().map(|one| one.bytes).sum();
        let values = shared.values.cached_bytes();
        let for_values = if all.saturating_add(values) <= room { u64::MAX } else { room / VALUES };
        shared.values.keep_cached(for_values);
        let copies = shared.log.copies.figures();
        let full = self.recent.dropped(copies.dropped);
        let load = CopiesLoad { budget: shared.log.copies.budget(), bytes: copies.bytes, hits: self.recent.hits(copies.hits), full };
        let choice = choose(room.saturating_sub(values.min(for_values)), &candidates, load);
        let mut wanted = VecDeque::new();
        for (segment, hot) in segments.iter().zip(&choice.hot).rev() {
            match (segment.is_hot(), *hot) {
                (false, true) => wanted.push_back(Arc::clone(segment)),
                (_, false) => self.cool(segment),
                (true, true) => {}
            }
        }
        retired.iter().for_each(|segment| self.cool(segment));
        self.release();
        // Segments first: the copies take what they leave.
        shared.log.copies.set_budget(choice.copies);
        shared.queue.set(wanted);
        self.note(limit, fixed, &segments);
    }

    fn candidate(&self, segment: &Segment) -> Candidate {
        let (uses, misses) = self.recent.of(segment);
        let bytes = (segment.map().written() as u64).next_multiple_of(4096);
        let must = !segment.is_sealed();
        Candidate { bytes, hot: segment.is_hot(), must, fit: !segment.is_bad(), uses, misses }
    }

    /// Sees to it that a segment that is not to be hot gives its memory back.
    fn cool(&mut self, segment: &Arc<Segment>) {
        let had_memory = segment.is_hot() || segment.may_be_cached();
        segment.set_hot(false);
        if had_memory && !self.cooling.iter().any(|(one, _)| Arc::ptr_eq(one, segment)) {
            self.cooling.push((Arc::clone(segment), Instant::now()));
        }
    }

    fn release(&mut self) {
        self.cooling.retain(|(segment, since)| {
            let due = since.elapsed() >= GRACE;
            if due && !segment.is_hot() {
                segment.release();
            }
            !due
        });
    }

    fn note(&mut self, limit: u64, fixed: u64, segments: &[Arc<Segment>]) {
        let copies = self.shared.log.copies.figures();
        let mut now = MemoryFigures { limit, fixed, values_bytes: self.shared.values.cached_bytes(), ..MemoryFigures::default() };
        for segment in segments {
            let bytes = segment.map().written() as u64;
            if segment.is_hot() {
                (now.hot_segments, now.hot_bytes) = (now.hot_segments + 1, now.hot_bytes + bytes);
            } else {
                (now.cold_segments, now.cold_bytes) = (now.cold_segments + 1, now.cold_bytes + bytes);
            }
            now.bad_segments += u64::from(segment.is_bad());
        }
        now.counted = fixed + copies.bytes + now.hot_bytes + now.values_bytes;
        let over = now.fixed > limit;
        if over && !self.warned {
            tracing::warn!(
                "index and anonymous memory take {} bytes, memory-limit allows {limit}: the limit is not kept; raise it, or store fewer keys",
                now.fixed
            );
        }
        self.warned = over;
        *self.shared.figures.lock() = now;
    }
}
