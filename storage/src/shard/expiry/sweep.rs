//! The sweep: over all stripes, tables and cells in hash order, again and again, a piece at a time.
//!
//! Invariants:
//! - No lock is held while a record is looked at; a stripe's lock is held for [`PIECE`] cells at most.
//! - A stripe's part of a table without a key that expires costs a glance at a counter, and a slot without one no look at its records.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::found::Found;
use super::pace::{Done, Progress};
use super::remove::Doomed;
use super::{Queue, Shared};
use crate::clock::Clock;
use crate::codec::op::{OP_HEADER_MAX, OpHeader};
use crate::error::Result;
use crate::index::{Cell, Index, TableSlot};
use crate::log::{Log, SegmentTable};
use crate::shard::Values;
use crate::types::{DATABASES, Db, Location, STRIPES, Slot, UnixMillis};

/// Cells copied out under one lock.
const PIECE: usize = 128;
/// Cells looked at in one step.
const STEP: u64 = 512;
/// A step that takes longer ends early.
const STEP_TIME: Duration = Duration::from_millis(2);
/// Slots of a stripe.
const STRIPE_SLOTS: u16 = 64;
/// How far into a record the prefetch of its header reaches, if that crosses into another cache line.
const HEADER_REACH: usize = 24;

/// What a whole sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Cells looked at.
    pub seen: u64,
    /// Keys with an expiry among them.
    pub volatile: u64,
    /// Keys removed.
    pub removed: u64,
}

/// What sweeps.
pub(super) struct Sweeper {
    pub(super) log: Arc<Log>,
    pub(super) index: Arc<Index>,
    pub(super) values: Arc<Values>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
    round: Round,
    cells: Vec<Cell>,
}

/// A sweep that is under way: where it is, and what it saw.
struct Round {
    started: Instant,
    tables: Vec<(Db, TableSlot)>,
    /// Cells of the tables that have keys with an expiry.
    cells: u64,
    stripe: usize,
    table: usize,
    cursor: u64,
    swept: Swept,
    /// For each database: keys with an expiry to come, and the milliseconds until then.
    ttl: [(u64, u64); DATABASES as usize],
}

impl Round {
    fn new(index: &Index) -> Self {
        let map = index.tables();
        let tables: Vec<_> = (0..DATABASES).map(Db).map(|db| (db, map.slot(db))).collect();
        let parts = tables.iter().flat_map(|(_, table)| (0..STRIPES).map(move |stripe| (stripe, *table)));
        let cells = parts.map(|(stripe, table)| index.volatile_part(stripe, table).map_or(0, |part| part.keys)).sum();
        Self { started: Instant::now(), tables, cells, stripe: 0, table: 0, cursor: 0, swept: Swept::default(), ttl: Default::default() }
    }

    fn is_done(&self) -> bool {
        self.stripe == STRIPES
    }

    fn next_part(&mut self) {
        self.cursor = 0;
        self.table += 1;
        if self.table == self.tables.len() {
            (self.table, self.stripe) = (0, self.stripe + 1);
        }
    }

    /// The part to go on with: a stripe, a database and its table; none at the end.
    fn part(&mut self, index: &Index) -> Option<(usize, Db, TableSlot)> {
        while !self.is_done() {
            let (db, table) = self.tables[self.table];
            if index.volatile_part(self.stripe, table).is_some() {
                return Some((self.stripe, db, table));
            }
            self.next_part();
        }
        None
    }
}

impl Sweeper {
    pub(super) fn new(log: Arc<Log>, index: Arc<Index>, values: Arc<Values>, shared: Arc<Shared>, clock: Clock) -> Self {
        let round = Round::new(&index);
        Self { log, index, values, shared, clock, round, cells: Vec::new() }
    }

    pub(super) fn progress(&self) -> Progress {
        let round = &self.round;
        Progress { cells: round.cells, seen: round.swept.seen, elapsed: round.started.elapsed(), done: round.is_done() }
    }

    /// Sweeps once over everything.
    pub(super) fn whole(&mut self) -> Result<Swept> {
        let now = self.limit();
        self.round = Round::new(&self.index);
        let index = Arc::clone(&self.index);
        while !self.round.is_done() {
            let _right = index.unlogged();
            self.piece(now, now)?;
        }
        self.finish_round();
        self.shared.swept_to.fetch_max(now.0, Relaxed);
        Ok(self.round.swept)
    }

    /// Goes on for a bounded piece; none if an image is being taken. Keys are removed that have expired by the last T, or by now, if that
    /// T is at least `patience` old: then a new one is written.
    pub(super) fn step(&mut self, patience: Duration) -> Result<Option<Done>> {
        if self.round.is_done() {
            self.round = Round::new(&self.index);
        }
        let index = Arc::clone(&self.index);
        let Some(_right) = index.try_unlogged() else { return Ok(None) };
        let started = Instant::now();
        let (now, last) = (self.clock.now(), self.shared.at());
        let declares = now.0.saturating_sub(last.0) >= patience.as_millis() as i64 && !self.log.is_replica();
        let limit = if declares { now } else { last };
        let before = self.round.swept;
        let seen = |sweeper: &Self| sweeper.round.swept.seen - before.seen;
        while !self.round.is_done() && seen(self) < STEP {
            if started.elapsed() >= STEP_TIME {
                self.shared.counts.capped.fetch_add(1, Relaxed);
                break;
            }
            self.piece(now, limit)?;
        }
        let after = self.round.swept;
        let (volatile, expired) = (after.volatile - before.volatile, after.removed - before.removed);
        let took = started.elapsed();
        self.shared.counts.saw(volatile, expired);
        self.shared.counts.micros.fetch_add(took.as_micros() as u64, Relaxed);
        if self.round.is_done() {
            self.finish_round();
        }
        Ok(Some(Done { seen: seen(self), volatile, expired, took }))
    }

    /// Removes what accesses found expired; false if an image is being taken, and they wait on.
    pub(super) fn empty_queue(&mut self) -> Result<bool> {
        let index = Arc::clone(&self.index);
        let Some(_right) = index.try_unlogged() else { return Ok(false) };
        let mut found = {
            let mut queue: parking_lot::MutexGuard<'_, Queue> = self.shared.queue.lock();
            std::mem::take(&mut queue.found)
        };
        found.sort_unstable_by_key(|one| (one.slot, one.location));
        found.dedup();
        let now = self.limit();
        let segments = self.log.segments();
        let doomed = found.into_iter().filter_map(|one| Doomed::new(&segments, one)).filter(|one| one.expire_at <= now);
        self.remove(&doomed.collect::<Vec<_>>(), &segments, now)?;
        Ok(true)
    }

    /// Looks at some cells of a stripe and removes those that expire at `limit` or before.
    fn piece(&mut self, now: UnixMillis, limit: UnixMillis) -> Result<()> {
        let Some((number, db, table)) = self.round.part(&self.index) else { return Ok(()) };
        let mut cells = std::mem::take(&mut self.cells);
        cells.clear();
        let stripe = self.index.stripe(number).read();
        let wanted = volatile_slots(|slot| stripe.slot_counters(&self.index, table, slot).expires > 0, number);
        let next = stripe.cells_from(&self.index, table, self.round.cursor, PIECE, &mut cells);
        // Pinned before the lock is released: all these locations are in them.
        let segments = self.log.segments();
        drop(stripe);
        let seen = cells.len() as u64;
        cells.retain(|cell| wanted & 1 << (cell.slot.0 % STRIPE_SLOTS) != 0);
        for cell in &cells {
            prefetch(&segments, cell.location);
        }
        let mut expired = Vec::new();
        let mut volatile = 0;
        let ttl = &mut self.round.ttl[usize::from(db.0)];
        for cell in &cells {
            let Some(at) = expire_at(&segments, cell.location) else { continue };
            volatile += 1;
            if at > now {
                *ttl = (ttl.0 + 1, ttl.1.saturating_add((at.0 - now.0) as u64));
            } else if at <= limit {
                expired.push(Found { table, hash: cell.hash(), slot: cell.slot, location: cell.location });
            }
        }
        let doomed = expired.into_iter().filter_map(|one| Doomed::new(&segments, one)).filter(|one| one.expire_at <= limit);
        let removed = self.remove(&doomed.collect::<Vec<_>>(), &segments, limit)?;
        let round = &mut self.round;
        round.swept =
            Swept { seen: round.swept.seen + seen, volatile: round.swept.volatile + volatile, removed: round.swept.removed + removed };
        match next {
            Some(next) => round.cursor = next,
            None => round.next_part(),
        }
        self.cells = cells;
        Ok(())
    }

    /// Up to when keys may be removed: on a replica only the primary says that.
    fn limit(&self) -> UnixMillis {
        if self.log.is_replica() { self.shared.at() } else { self.clock.now() }
    }

    fn finish_round(&self) {
        let counts = &self.shared.counts;
        for (db, (keys, millis)) in (0..DATABASES).map(Db).zip(self.round.ttl) {
            counts.set_average_ttl(db, millis.checked_div(keys).unwrap_or(0));
        }
        counts.rounds.fetch_add(1, Relaxed);
    }
}

/// The slots of a stripe that have keys with an expiry, as bits.
fn volatile_slots(is_volatile: impl Fn(Slot) -> bool, stripe: usize) -> u64 {
    (0..STRIPE_SLOTS).fold(0, |bits, n| bits | u64::from(is_volatile(Slot(stripe as u16 * STRIPE_SLOTS + n))) << n)
}

fn prefetch(segments: &SegmentTable, location: Location) {
    if let Some(segment) = segments.get(location.segment())
        && segment.is_hot()
    {
        segment.map().prefetch(location.offset() as usize);
        segment.map().prefetch(location.offset() as usize + HEADER_REACH);
    }
}

/// When the record at a location expires, as its header says. What is cold is read without a check: a record that seems expired is read
/// again, and checked, before anything is done to it. What cannot be read is left alone.
fn expire_at(segments: &SegmentTable, location: Location) -> Option<UnixMillis> {
    let segment = segments.get(location.segment())?;
    if let Some(bytes) = segment.hot_bytes(location.offset()) {
        return OpHeader::parse(bytes).ok()?.expire_at;
    }
    let mut head = [0; OP_HEADER_MAX];
    let len = segment.map().written().checked_sub(location.offset() as usize)?.min(head.len());
    segment.read_waiting(u64::from(location.offset()), &mut head[..len]).ok()?;
    OpHeader::parse(&head[..len]).ok()?.expire_at
}
