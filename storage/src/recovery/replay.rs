//! Applying entries of the log to the index, without a transaction.
//!
//! Invariants:
//! - An entry is applied to a stripe only if its LSN is above the stripe's applied LSN; applying one again changes nothing.
//! - Ops on tables that no longer exist are skipped.
//! - Keys that had been removed because they had expired may come back, with their counts, and are removed again when they are found.
//! - Ops on keys wait until there are enough of them to look ahead for, and are applied in the order of the log, before any change of whole
//!   databases that comes after them.

use std::convert::Infallible;

use parking_lot::RwLockWriteGuard;

use crate::checkpoint::Loaded;
use crate::codec::control::{ExpiredUpTo, FlushedTable, SwappedDatabases};
use crate::codec::entry::EntryView;
use crate::codec::evicted::Evicted;
use crate::codec::op::{OpCode, OpView};
use crate::codec::value_ref::ValueRef;
use crate::error::{Result, StorageError};
use crate::index::{CounterChange, ExpiredMark, Index, Stripe, TableMap, TableSlot};
use crate::log::Segment;
use crate::segment::footer::key_hash;
use crate::shard::counted_parts;
use crate::slot::slot_of;
use crate::types::{Location, Lsn, STRIPES};

use super::ahead::{self, Waiting};
use super::chain::Chain;
use super::evicted;

/// The index being brought up to date.
pub(super) struct Replay<'a> {
    chain: &'a Chain,
    index: &'a Index,
    /// All of them, locked for as long as replay lasts: nobody else is there yet, and releasing a lock waits until all stores before it have
    /// reached memory that is nowhere in a cache.
    stripes: Vec<RwLockWriteGuard<'a, Stripe>>,
    seed: u64,
    tables: TableMap,
    expired: ExpiredMark,
    /// Applied LSN of each stripe, kept here while replaying.
    applied: Vec<Lsn>,
    loaded: Option<Loaded>,
    entries: u64,
    bytes: u64,
    /// Ops on keys that are not applied yet: of whole entries.
    waiting: Vec<Waiting<'a>>,
    /// Stripes that the present entry has changed, when it may have more ops for them.
    touched: Vec<usize>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(chain: &'a Chain, index: &'a Index, seed: u64, loaded: Option<Loaded>) -> Self {
        let stripes: Vec<_> = (0..STRIPES).map(|number| index.stripe(number).write()).collect();
        let applied = stripes.iter().map(|stripe| stripe.applied(index)).collect();
        Self {
            chain,
            index,
            stripes,
            seed,
            tables: index.tables(),
            expired: index.expired(),
            applied,
            loaded,
            entries: 0,
            bytes: 0,
            waiting: Vec::new(),
            touched: Vec::new(),
        }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Everything up to here was flushed before the checkpoint that was loaded got its name.
    pub(super) fn checkpointed(&self) -> Lsn {
        self.loaded.as_ref().map_or(Lsn(0), |loaded| loaded.reaches)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The highest LSN that any stripe has applied.
    pub(super) fn highest_applied(&self) -> Lsn {
        self.applied.iter().copied().max().unwrap_or_default().max(self.tables.lsn).max(self.expired.lsn)
    }

    /// Takes an entry; value segments that it names are added to `values`. It is applied by the next [`settle`](Self::settle) at the latest.
    pub(super) fn apply(&mut self, segment: &Segment, offset: u32, entry: &EntryView<'a>, values: &mut Vec<u128>) -> Result<()> {
        let lsn = entry.head().lsn;
        self.bytes += entry.bytes().len() as u64;
        if self.loaded.as_ref().is_some_and(|loaded| lsn < loaded.replay_from) {
            return Ok(());
        }
        self.entries += 1;
        let alone = entry.header().ops == 1;
        let mut controls = false;
        for (distance, op) in entry.ops() {
            match op.header.code {
                OpCode::Put | OpCode::Tombstone | OpCode::Delta => {}
                OpCode::FlushTables | OpCode::SwapDatabases => {
                    controls = true;
                    continue;
                }
                OpCode::ExpiredUpTo => {
                    self.apply_expired(lsn, &op)?;
                    continue;
                }
                OpCode::Evict => {
                    self.apply_evicted(lsn, &op)?;
                    continue;
                }
                OpCode::EpochStart => continue,
            }
            if op.header.value_segment
                && let Ok(reference) = ValueRef::decode(op.body)
            {
                values.push(reference.value_id);
            }
            let location = Location::new(segment.id(), offset + distance);
            self.waiting.push(Waiting { lsn, alone, location, slot: slot_of(op.key), hash: key_hash(op.key, self.seed), op });
        }
        if controls {
            let own = self.waiting.iter().rposition(|op| op.lsn != lsn).map_or(0, |last| last + 1);
            let own = self.waiting.split_off(own);
            self.settle()?;
            self.apply_controls(lsn, entry)?;
            self.waiting = own;
            self.settle_at(lsn)?;
        } else if self.waiting.len() >= ahead::WINDOW {
            self.settle()?;
        }
        Ok(())
    }

    /// Applies all that waits.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.settle_at(Lsn(0))
    }

    /// Applies all that waits, and ends the entry `open`, if that is what changed stripes before.
    fn settle_at(&mut self, open: Lsn) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut entry = open;
        for window in waiting.chunks(ahead::WINDOW) {
            ahead::look_ahead(self.index, &self.tables, &self.chain.table, window);
            for op in window {
                if op.lsn != entry {
                    self.end_entry(entry);
                    entry = op.lsn;
                }
                self.apply_key(op)?;
            }
        }
        self.end_entry(entry);
        waiting.clear();
        self.waiting = waiting;
        Ok(())
    }

    fn end_entry(&mut self, lsn: Lsn) {
        while let Some(stripe) = self.touched.pop() {
            self.applied[stripe] = lsn;
            self.stripes[stripe].set_applied(self.index, lsn);
        }
    }

    fn apply_key(&mut self, waiting: &Waiting<'_>) -> Result<()> {
        let Waiting { lsn, location, op, hash, slot, .. } = *waiting;
        let number = slot.stripe();
        if lsn <= self.applied[number] {
            return Ok(());
        }
        if waiting.alone {
            self.applied[number] = lsn;
        } else {
            self.touched.push(number);
        }
        if let Some(db) = self.tables.db_of(op.header.table) {
            let table = self.tables.slot(db);
            let mut old = None;
            let cell = self.stripes[number].lookup(self.index, table, hash, |found| {
                let record = self.op_at(found)?;
                let same = record.key == op.key;
                if same {
                    old = Some(record);
                }
                Ok::<_, StorageError>(same)
            })?;
            let stripe = &mut self.stripes[number];
            let counts = self.loaded.as_ref().is_none_or(|loaded| lsn > loaded.counted_to(number, table));
            let new = (op.header.code != OpCode::Tombstone).then_some(&op);
            let change = if counts { change(old.as_ref(), new)? } else { CounterChange::default() };
            if new.is_some() {
                self.index.reserve(1).map_err(|error| no_room(&error))?;
                stripe.put(self.index, table, hash, slot, cell, location, &change).map_err(|error| no_room(&error))?;
            } else if let Some(cell) = cell {
                stripe.remove(self.index, table, hash, slot, cell, &change);
                stripe.set_last_delete(self.index, lsn);
            }
        }
        if waiting.alone {
            self.stripes[number].set_applied(self.index, lsn);
        }
        Ok(())
    }

    /// The op at a location that the index holds.
    fn op_at(&self, location: Location) -> Result<OpView<'a>> {
        let chain = self.chain;
        let bytes = chain.table.get(location.segment()).and_then(|segment| segment.bytes(location.offset()));
        let op = bytes.and_then(|bytes| OpView::parse(bytes).ok());
        op.ok_or_else(|| StorageError::Corrupt {
            path: chain.directory.path("index"),
            offset: 0,
            lsn: Lsn(0),
            reason: format!(
                "it points to segment {} offset {}, where there is no record: remove it and start again",
                location.segment(),
                location.offset()
            ),
        })
    }

    /// Applies the entry's changes of whole databases; they come before its ops on keys.
    fn apply_controls(&mut self, lsn: Lsn, entry: &EntryView<'_>) -> Result<()> {
        if lsn > self.tables.lsn {
            let mut tables = self.tables.clone();
            let mut emptied = Vec::new();
            for (_, op) in entry.ops() {
                self.change_tables(lsn, &op, &mut tables, &mut emptied)?;
            }
            tables.lsn = lsn;
            self.index.set_tables(&tables);
            self.tables = tables;
            self.clear(&emptied);
        }
        for stripe in 0..STRIPES {
            if lsn > self.applied[stripe] {
                self.touched.push(stripe);
                self.stripes[stripe].set_last_delete(self.index, lsn);
            }
        }
        Ok(())
    }

    fn apply_expired(&mut self, lsn: Lsn, op: &OpView<'_>) -> Result<()> {
        let expired = ExpiredUpTo::decode(op.body).map_err(|error| undecodable(lsn, &error))?;
        if lsn > self.expired.lsn {
            self.expired = ExpiredMark { at: expired.at.max(self.expired.at), lsn };
            self.index.set_expired(self.expired);
        }
        Ok(())
    }

    /// Takes keys out that made room for others. It does not ask what a stripe has applied: a kill may have ended it between two keys. A key that was written again has another record, and stays.
    fn apply_evicted(&mut self, lsn: Lsn, op: &OpView<'_>) -> Result<()> {
        let evicted = Evicted::decode(op.body).map_err(|error| undecodable(lsn, &error))?;
        self.settle()?;
        self.index.set_evicted(lsn.max(self.index.evicted()));
        for segment in self.chain.within(evicted.range()) {
            for (location, op) in evicted::named(segment, &evicted) {
                self.evict_key(lsn, location, &op)?;
            }
        }
        Ok(())
    }

    fn evict_key(&mut self, lsn: Lsn, location: Location, op: &OpView<'_>) -> Result<()> {
        let Some(db) = self.tables.db_of(op.header.table) else { return Ok(()) };
        let (table, hash, slot) = (self.tables.slot(db), key_hash(op.key, self.seed), slot_of(op.key));
        let number = slot.stripe();
        let found = self.stripes[number].lookup(self.index, table, hash, |at| Ok::<_, Infallible>(at == location));
        if let Some(cell) = found.unwrap_or_else(|never| match never {}) {
            let counts = self.loaded.as_ref().is_none_or(|loaded| lsn > loaded.counted_to(number, table));
            let change = if counts { change(Some(op), None)? } else { CounterChange::default() };
            let stripe = &mut self.stripes[number];
            stripe.remove(self.index, table, hash, slot, cell, &change);
            let last = stripe.last_delete(self.index).max(lsn);
            stripe.set_last_delete(self.index, last);
        }
        Ok(())
    }

    fn change_tables(&self, lsn: Lsn, op: &OpView<'_>, tables: &mut TableMap, emptied: &mut Vec<TableSlot>) -> Result<()> {
        match op.header.code {
            OpCode::FlushTables => {
                for table in FlushedTable::decode_all(op.body).map_err(|error| undecodable(lsn, &error))? {
                    let Some(db) = tables.db_of(table.old) else { continue };
                    emptied.push(tables.slot(db));
                    // Not a slot that this entry itself has just vacated: it is not empty yet.
                    let fresh = tables.unused().find(|slot| self.tables.unused().any(|free| free == *slot));
                    tables.replace(db, table.new, fresh.expect("twice as many slots as databases"));
                }
            }
            OpCode::SwapDatabases => {
                let swapped = SwappedDatabases::decode(op.body).map_err(|error| undecodable(lsn, &error))?;
                tables.swap(swapped.a, swapped.b);
            }
            _ => {}
        }
        Ok(())
    }

    fn clear(&mut self, tables: &[TableSlot]) {
        if let Some(loaded) = &mut self.loaded {
            tables.iter().for_each(|table| loaded.forget(*table));
        }
        for stripe in &mut self.stripes {
            for table in tables {
                stripe.clear_table(self.index, *table);
            }
        }
        while self.index.reclaim(usize::MAX) {}
    }
}

fn change(old: Option<&OpView<'_>>, new: Option<&OpView<'_>>) -> Result<CounterChange> {
    let old = old.map(counted_parts).transpose()?;
    let new = new.map(counted_parts).transpose()?;
    Ok(crate::shard::counter_change(old.as_ref(), new.as_ref()))
}

fn undecodable(lsn: Lsn, error: &crate::codec::DecodeError) -> StorageError {
    StorageError::Corrupt { path: "the log".into(), offset: 0, lsn, reason: error.to_string() }
}

fn no_room(error: &crate::index::IndexError) -> StorageError {
    StorageError::Io { action: "grow", path: "the index".into(), source: std::io::Error::other(error.to_string()) }
}
