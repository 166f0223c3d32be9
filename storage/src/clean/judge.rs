//! Whether an op has to stay.

use super::evidence::Evidence;
use super::place::Place;
use crate::clock::wall_clock;
use crate::codec::DecodeError;
use crate::codec::delta::Delta;
use crate::codec::entry::{EntryHead, Fate};
use crate::codec::evicted::Evicted;
use crate::codec::op::{OpCode, OpView};
use crate::codec::value_ref::ValueRef;
use crate::error::{Result, StorageError};
use crate::index::{Index, TableMap};
use crate::log::Log;
use crate::shard::{Newest, locate_waiting, newest_at};
use crate::types::{Location, Lsn, UnixMillis};

/// What judging knows beside the op.
pub(super) struct Judge<'a> {
    log: &'a Log,
    index: &'a Index,
    tables: TableMap,
    /// No segment below the ones being cleaned holds anything.
    oldest: bool,
    /// What was superseded above this LSN stays, for those who still need it.
    pinned: Lsn,
    /// Everything written when judging began.
    pub(super) written: Lsn,
    /// Clock of the log then; all evictions dated before are in the index.
    pub(super) began: UnixMillis,
    now: UnixMillis,
    /// What is known of the past that is to be kept; none: none of it is.
    past: Option<Evidence>,
    /// The last `expired up to` entry that is not behind the pin.
    expired: Lsn,
    /// Ops that stayed for the sake of the past only.
    pub(super) held: u64,
    /// The highest LSN consulted so far when an op was dropped.
    pub(super) seen: Lsn,
    /// Value segments that dropped ops named, and no live record names.
    pub(super) values: Vec<u128>,
    /// Kept for its memory.
    cells: Vec<Location>,
}

/// What is to become of an op.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) fate: Fate,
    /// Whether its key's cell points to it.
    pub(super) has_cell: bool,
}

impl From<Fate> for Verdict {
    fn from(fate: Fate) -> Self {
        Self { fate, has_cell: false }
    }
}

impl<'a> Judge<'a> {
    /// `oldest`: no segment below the ones being cleaned holds anything.
    pub(super) fn new(log: &'a Log, index: &'a Index, oldest: bool, past: Option<Evidence>, expired: Lsn) -> Self {
        let began = log.tail.lock().last_time;
        // Whoever evicts holds all stripes from before the append until it is done: what was dated before has been done once one is free.
        drop(index.stripe(0).read());
        Self {
            log,
            index,
            tables: index.tables(),
            oldest,
            pinned: past.as_ref().map_or(Lsn(u64::MAX), |past| past.pin),
            written: log.durability().written(),
            began,
            now: wall_clock(),
            past,
            expired,
            held: 0,
            seen: Lsn(0),
            values: Vec::new(),
            cells: Vec::new(),
        }
    }

    /// Where the key of an op is; none if it has no key, or its table was flushed.
    pub(super) fn place(&self, op: &OpView<'_>) -> Option<Place> {
        Place::of(op, &self.tables, self.log.key_hash_seed)
    }

    /// Judges the op at `location`, whose key is at `place`.
    pub(super) fn judge(&mut self, head: EntryHead, location: Location, op: &OpView<'_>, place: Option<Place>) -> Result<Verdict> {
        let lsn = head.lsn;
        let mut cells = std::mem::take(&mut self.cells);
        let verdict = match place {
            Some(place) if place.is_at(self.index, location, &mut cells) => Ok(self.fate_of_newest()),
            Some(place) => self.fate_of_dead(lsn, location, op, place, &cells).map(Verdict::from),
            None if op.header.code.has_key() => self.fate_of_flushed(lsn, op).map(Verdict::from),
            None => self.fate_of_control(head, op).map(Verdict::from),
        };
        self.cells = cells;
        verdict
    }

    /// The op's cell points to it.
    fn fate_of_newest(&self) -> Verdict {
        Verdict { fate: Fate::Keep, has_cell: true }
    }

    fn fate_of_control(&mut self, head: EntryHead, op: &OpView<'_>) -> Result<Fate> {
        Ok(match op.header.code {
            // Which epochs there were is in the manifest.
            OpCode::EpochStart => self.drop(head.lsn),
            // Only the last one counts.
            OpCode::ExpiredUpTo if self.past.is_some() && head.lsn < self.expired => self.drop(self.expired),
            OpCode::ExpiredUpTo if head.lsn < self.index.expired().lsn => self.drop_for(self.index.expired().lsn),
            OpCode::Evict => {
                let evicted = Evicted::decode(op.body).map_err(|error| self.undecodable(head.lsn, &error))?;
                if self.is_carried_out(head.time, evicted.range()) { self.drop_for(self.written) } else { Fate::Keep }
            }
            _ => Fate::Keep,
        })
    }

    /// Whether nothing that was evicted at this time can be left: all segments that may hold it were judged anew since.
    fn is_carried_out(&self, at: UnixMillis, (first, last): (Lsn, Lsn)) -> bool {
        let segments = self.log.segments().in_order();
        let mut within = segments.iter().filter(|segment| segment.base_lsn() <= Some(last) && segment.last_lsn() >= first);
        within.all(|segment| segment.judged_at().is_some_and(|judged| judged > at))
    }

    /// The op's table was flushed.
    fn fate_of_flushed(&mut self, lsn: Lsn, op: &OpView<'_>) -> Result<Fate> {
        let flushed = match &self.past {
            Some(past) if past.is_flushed(op.header.table) => self.tables.lsn.min(past.pin),
            _ => self.tables.lsn,
        };
        let fate = self.drop_for(flushed);
        self.bury_value(lsn, op, fate)?;
        Ok(fate)
    }

    /// No cell points to the op, which stays if the past needs it.
    fn fate_of_dead(&mut self, lsn: Lsn, location: Location, op: &OpView<'_>, place: Place, cells: &[Location]) -> Result<Fate> {
        let Some(past) = &mut self.past else { return self.fate_of_other(lsn, op, cells) };
        // Keys leave the index by deletion and eviction, which the log tells.
        let last_delete = self.index.stripe(place.slot.stripe()).read().last_delete(self.index).max(self.index.evicted());
        let touched = past.is_touched(self.log, last_delete, place.hash, op.header.table)?;
        let newest = self.newest(cells, op.key)?;
        let past = self.past.as_ref().expect("it was there");
        // The index tells all of a key that was not written since, unless what was based on this record left it without a trace.
        let held = past.holds(place.hash, op.header.table);
        let known = match &newest {
            Some(newest) => newest.lsn <= past.pin,
            None => {
                let gone_since = touched || past.is_evicted(lsn, op.header.op_number());
                let expired = op.header.expire_at.is_none_or(|at| at <= past.time);
                !gone_since && expired && !past.may_have_deltas(place.hash, op.header.table)
            }
        };
        if known && !(held && op.header.code == OpCode::Tombstone) {
            return self.fate_of_other(lsn, op, cells);
        }
        let superseded = past.superseded(place.hash, op.header.table, location);
        match superseded {
            // A large value may still be needed by another record, a tombstone as long as it hides something.
            Some(by) if !op.header.value_segment && (op.header.code != OpCode::Tombstone || (self.oldest && !held)) => Ok(self.drop(by)),
            _ => {
                self.held += 1;
                if let Some(past) = &mut self.past {
                    past.hold(place.hash, op);
                }
                Ok(Fate::Keep)
            }
        }
    }

    /// No cell points to the op. `cells`: where those point that may be its key's.
    fn fate_of_other(&mut self, lsn: Lsn, op: &OpView<'_>, cells: &[Location]) -> Result<Fate> {
        match self.newest(cells, op.key)? {
            Some(newest) if newest.lsn < lsn => Ok(Fate::Keep),
            Some(newest) if self.is_base(lsn, op, &newest)? => Ok(Fate::Keep),
            // The newest one goes without a tombstone when its time has come: it counts on this one.
            Some(newest) if op.header.code == OpCode::Tombstone && newest.fresh && !self.oldest => Ok(Fate::Keep),
            Some(newest) => {
                let fate = self.drop_for(newest.lsn);
                // Another record may name the same value, that of the newest one or one that it is based on.
                if op.header.value_segment && self.value_behind(newest, op.key)? != self.value_of(lsn, op)? {
                    self.bury_value(lsn, op, fate)?;
                }
                Ok(fate)
            }
            None => {
                let fate = self.fate_of_absent(lsn, op);
                self.bury_value(lsn, op, fate)?;
                Ok(fate)
            }
        }
    }

    /// Notes the value segment of an op that goes.
    fn bury_value(&mut self, lsn: Lsn, op: &OpView<'_>, fate: Fate) -> Result<()> {
        if fate != Fate::Keep {
            self.values.extend(self.value_of(lsn, op)?);
        }
        Ok(())
    }

    /// The value segment that an op names.
    fn value_of(&self, lsn: Lsn, op: &OpView<'_>) -> Result<Option<u128>> {
        if !op.header.value_segment {
            return Ok(None);
        }
        ValueRef::decode(op.body).map(|reference| Some(reference.value_id)).map_err(|error| self.undecodable(lsn, &error))
    }

    /// The value segment that a record names, or the one that it is based on by way of deltas.
    fn value_behind(&self, mut record: Newest, key: &[u8]) -> Result<Option<u128>> {
        while record.code == OpCode::Delta {
            let delta = Delta::decode(&record.body).map_err(|error| self.undecodable(record.lsn, &error))?;
            let segments = self.log.segments();
            let location = locate_waiting(&segments, delta.base_lsn, delta.base_op)?;
            match newest_at(&segments, location, key)? {
                Some(base) => record = base,
                None => return Ok(None),
            }
        }
        Ok(record.value)
    }

    /// The newest record of a key, among those whose hash is the key's.
    fn newest(&self, candidates: &[Location], key: &[u8]) -> Result<Option<Newest>> {
        for location in candidates {
            if let Some(newest) = newest_at(&self.log.segments(), *location, key)? {
                return Ok(Some(newest));
            }
        }
        Ok(None)
    }

    /// Whether the newest record of the key is a delta that is based, by way of others maybe, on this one.
    fn is_base(&self, lsn: Lsn, op: &OpView<'_>, newest: &Newest) -> Result<bool> {
        if newest.code != OpCode::Delta || op.header.code == OpCode::Tombstone {
            return Ok(false);
        }
        let mut body = newest.body.clone();
        loop {
            let delta = Delta::decode(&body).map_err(|error| self.undecodable(newest.lsn, &error))?;
            if delta.base_lsn <= lsn {
                return Ok((delta.base_lsn, delta.base_op) == (lsn, op.header.op_number()));
            }
            let segments = self.log.segments();
            let location = locate_waiting(&segments, delta.base_lsn, delta.base_op)?;
            match newest_at(&segments, location, op.key)? {
                Some(base) if base.code == OpCode::Delta => body = base.body,
                _ => return Ok(false),
            }
        }
    }

    pub(super) fn undecodable(&self, lsn: Lsn, error: &DecodeError) -> StorageError {
        StorageError::Corrupt { path: self.log.directory.path(""), offset: 0, lsn, reason: error.to_string() }
    }

    /// The op's key has no cell: the op is a tombstone, or one was written later, or the key left the index without one.
    fn fate_of_absent(&mut self, lsn: Lsn, op: &OpView<'_>) -> Fate {
        // T of the last sweep, which may have been while this goes on: it was noted before the key left the index.
        let expired = |at: UnixMillis| at <= self.now || at <= self.index.expired().at;
        let left_without = lsn < self.index.evicted() || op.header.expire_at.is_some_and(expired);
        if op.header.code == OpCode::Tombstone {
            if self.oldest { self.drop(lsn) } else { Fate::Keep }
        } else if self.oldest || op.header.fresh || !left_without {
            // Before a fresh one there was nothing, or what was deleted, or what has expired itself.
            self.drop(self.written.min(self.pinned))
        } else {
            // It could be read until it expired, which was no longer ago than this.
            self.seen = self.seen.max(self.written.min(self.pinned));
            Fate::Tombstone
        }
    }

    /// Drops what an entry at `superseder` made dead, unless somebody still needs the state before it.
    fn drop_for(&mut self, superseder: Lsn) -> Fate {
        if superseder > self.pinned { Fate::Keep } else { self.drop(superseder) }
    }

    fn drop(&mut self, consulted: Lsn) -> Fate {
        self.seen = self.seen.max(consulted);
        Fate::Drop
    }
}
