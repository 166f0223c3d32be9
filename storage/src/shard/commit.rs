//! Committing a transaction: one entry in the log, then its ops in the index.
//!
//! Invariants:
//! - What can fail, fails before the append: room in the index is reserved, the records to be replaced have been read.
//! - After the append the ops are applied without another failure, under the locks held since the beginning; so the stripes apply
//!   entries in LSN order, and the mapped index never leads the log.

use super::pending::{Control, Counted, Old, PendingOp};
use super::transaction::Transaction;
use crate::codec::content_hash::slot_digest_term;
use crate::codec::control::FlushedTable;
use crate::codec::entry::{EntryBuilder, SINGLE_HEADER, encode_single, single_len};
use crate::codec::op::{Op, OpCode};
use crate::codec::value_ref::ValueRef;
use crate::error::{Result, StorageError};
use crate::index::{CounterChange, IndexError};
use crate::log::{Appended, Purpose};
use crate::types::{DATABASES, Db, Location, Lsn, STRIPES};

impl Transaction<'_> {
    /// Writes the entry and applies it; none if nothing was written. After an error nothing has changed.
    ///
    /// # Errors
    /// No room in log or index; a poisoned log; an entry that exceeds the segment size.
    #[inline]
    pub fn commit(mut self) -> Result<Option<Lsn>> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let new_keys = self.pending.ops.iter().filter(|op| op.old.is_none()).count();
        self.shard.reserve(new_keys)?;
        let lsn = if self.pending.ops.len() == 1 && self.pending.controls.is_empty() { self.commit_one() } else { self.commit_many() }?;
        self.unnamed.clear();
        Ok(Some(lsn))
    }

    fn commit_one(&mut self) -> Result<Lsn> {
        let log = &self.shard.log;
        let op = self.pending.encode(&self.pending.ops[0]);
        let purpose = match op.code {
            OpCode::Tombstone => Purpose::Deletes,
            _ if op.value_segment => Purpose::NamesValues,
            _ => Purpose::Any,
        };
        let appended = log.append_for(purpose, single_len(&op), self.batch.now(), |out, head| encode_single(out, head, log.seed, &op))?;
        self.apply_one(&appended);
        Ok(appended.lsn)
    }

    /// Applies the only op of an entry.
    #[inline]
    pub(super) fn apply_one(&mut self, appended: &Appended) {
        let op = self.pending.ops.pop().expect("exactly one op");
        let cell_is_fresh = true;
        self.apply(&op, appended.location(SINGLE_HEADER as u32), appended.lsn, cell_is_fresh);
        let index = &self.shard.index;
        self.stripe_mut(op.slot.stripe()).set_applied(index, appended.lsn);
    }

    fn commit_many(&mut self) -> Result<Lsn> {
        let superseded = self.pending.superseded();
        let mut entry = EntryBuilder::new(None);
        for (control, _) in &self.pending.controls {
            match control {
                Control::Flush { flushed, .. } => {
                    entry.push(&Op::control(OpCode::FlushTables, &FlushedTable::encode_all(&[*flushed])));
                }
                Control::Swap(swapped) => {
                    entry.push(&Op::control(OpCode::SwapDatabases, &swapped.encode()));
                }
                Control::Forget(_) => {}
            }
        }
        let mut distances = Vec::with_capacity(self.pending.ops.len());
        for (op, superseded) in self.pending.ops.iter().zip(&superseded) {
            distances.push((!superseded).then(|| entry.push(&self.pending.encode(op))));
        }
        let log = &self.shard.log;
        let appended =
            log.append_for(self.purpose(), entry.encoded_len(), self.batch.now(), |out, head| entry.finish(head, log.seed, out))?;
        self.apply_many(&appended, &distances);
        Ok(appended.lsn)
    }

    /// Deletions and flushes alone let cleaning free space.
    fn purpose(&self) -> Purpose {
        let deletes = self.pending.ops.iter().all(|op| op.code == OpCode::Tombstone);
        let flushes = self.pending.controls.iter().all(|(control, _)| matches!(control, Control::Flush { .. } | Control::Forget(_)));
        match (deletes && flushes, self.pending.ops.is_empty()) {
            (true, true) => Purpose::Frees,
            (true, false) => Purpose::Deletes,
            (false, _) if self.pending.ops.iter().any(|op| op.value_segment) => Purpose::NamesValues,
            (false, _) => Purpose::Any,
        }
    }

    pub(super) fn apply_many(&mut self, appended: &Appended, distances: &[Option<u32>]) {
        self.apply_controls(appended.lsn);
        let ops = std::mem::take(&mut self.pending.ops);
        for (op, distance) in ops.iter().zip(distances) {
            match distance {
                Some(distance) => self.apply(op, appended.location(*distance), appended.lsn, false),
                None => self.bury_unwritten(op, appended.lsn),
            }
        }
        let index = &self.shard.index;
        for op in &ops {
            self.stripe_mut(op.slot.stripe()).set_applied(index, appended.lsn);
        }
    }

    /// Applies one op. `cell_is_fresh`: nothing changed the index since the op's old cell was looked up.
    #[inline]
    fn apply(&mut self, op: &PendingOp, location: Location, lsn: Lsn, cell_is_fresh: bool) {
        let index = &self.shard.index;
        let new = if op.code == OpCode::Tombstone {
            None
        } else {
            let bytes = op.key.len() as u64 + op.value_len;
            let digest = slot_digest_term(op.content_hash, op.expire_at, op.value_type, self.pending.key(op));
            Some(Counted { bytes, expires: op.expire_at.is_some(), digest })
        };
        let change = counter_change(op.old.as_ref().map(|old| &old.counted), new.as_ref());
        let old = op.old.filter(|_| cell_is_fresh).map(|old| old.cell).or_else(|| self.cell_again(op));
        let (table, hash, slot) = (op.table.slot, op.hash, op.slot);
        let stripe = self.stripe_mut(slot.stripe());
        if new.is_some() {
            stripe.put(index, table, hash, slot, old, location, &change).expect("room was reserved before the append");
            self.shard.note_write(self.stripe(slot.stripe()), table, hash, old, location);
        } else {
            if let Some(cell) = old {
                stripe.remove(index, table, hash, slot, cell, &change);
            }
            // Also of a key that this very transaction made: for WATCH it has changed.
            stripe.set_last_delete(index, lsn);
        }
        if op.old.is_some_and(|old| old.expired) {
            self.superseded_expired(op);
        }
        if let Some(value) = op.old.and_then(|old| old.value).filter(|value| !self.still_names(op, *value)) {
            self.shard.values.bury(value, lsn);
        }
        if let Some(base) = op.base {
            self.carry_materialised(base, op, location);
        }
    }

    #[cold]
    fn superseded_expired(&self, op: &PendingOp) {
        if let Some(db) = (0..DATABASES).map(Db).find(|db| self.shard.table(*db) == op.table) {
            self.shard.expiry.superseded(db, self.pending.key(op));
        }
    }

    /// The large value of an op that another one of the same entry took the place of.
    fn bury_unwritten(&self, op: &PendingOp, lsn: Lsn) {
        if op.value_segment
            && let Ok(reference) = ValueRef::decode(self.pending.body(op))
        {
            self.shard.values.bury(reference.value_id, lsn);
        }
    }

    /// Whether an op names a value segment itself, or by way of the record that it is a delta of.
    #[cold]
    fn still_names(&self, op: &PendingOp, value: u128) -> bool {
        let names = || ValueRef::decode(self.pending.body(op)).is_ok_and(|reference| reference.value_id == value);
        op.code == OpCode::Delta || (op.value_segment && names())
    }

    /// The cell of an op's key, after other ops of the same entry may have moved it.
    fn cell_again(&self, op: &PendingOp) -> Option<crate::index::CellRef> {
        let expected = op.old.as_ref().map(Old::location)?;
        let stripe = self.stripe(op.slot.stripe());
        let found =
            stripe.lookup(&self.shard.index, op.table.slot, op.hash, |location| Ok::<_, std::convert::Infallible>(location == expected));
        found.unwrap_or_else(|never| match never {})
    }

    fn apply_controls(&mut self, lsn: Lsn) {
        let Some(mut tables) = self.pending.tables.take() else { return };
        tables.lsn = lsn;
        self.shard.set_tables(&tables);
        let index = &self.shard.index;
        let flushed: Vec<_> = self
            .pending
            .controls
            .iter()
            .filter_map(|(c, _)| if let Control::Flush { old, .. } = c { Some(old.slot) } else { None })
            .collect();
        for number in 0..STRIPES {
            let stripe = self.stripe_mut(number);
            for slot in &flushed {
                stripe.clear_table(index, *slot);
            }
            stripe.set_last_delete(index, lsn);
            stripe.set_applied(index, lsn);
        }
        self.shard.background.wake();
    }
}

/// What changes when one record takes the place of another.
#[inline]
pub(crate) fn counter_change(old: Option<&Counted>, new: Option<&Counted>) -> CounterChange {
    let (o, n) = (old.copied().unwrap_or_default(), new.copied().unwrap_or_default());
    CounterChange {
        keys: i32::from(new.is_some()) - i32::from(old.is_some()),
        expires: i32::from(n.expires) - i32::from(o.expires),
        bytes: n.bytes as i64 - o.bytes as i64,
        digest: n.digest.wrapping_sub(o.digest),
    }
}

impl super::Shard {
    /// Makes sure that new keys find room in the index. Who flushes faster than the background gives the dropped tables back does it himself.
    pub(super) fn reserve(&self, keys: usize) -> Result<()> {
        let reserved = match self.index.reserve(keys) {
            Err(IndexError::Full { .. }) => {
                super::background::reclaim(&self.log, &self.index, &self.values, usize::MAX);
                self.index.reserve(keys)
            }
            outcome => outcome,
        };
        reserved.map_err(|error| self.index_error(error))
    }

    pub(super) fn index_error(&self, error: IndexError) -> StorageError {
        match error {
            IndexError::Full { .. } => {
                self.log.counts.refused();
                StorageError::DiskFull { path: self.log.directory.path("") }
            }
            IndexError::Io { action, source } => StorageError::Io { action, path: self.log.directory.path("index"), source },
            IndexError::BadCell { .. } => {
                StorageError::Corrupt { path: self.log.directory.path("checkpoint"), offset: 0, lsn: Lsn(0), reason: error.to_string() }
            }
        }
    }
}
