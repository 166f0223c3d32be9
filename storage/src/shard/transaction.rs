//! Transactions: what one command, or one MULTI/EXEC, sees and writes.
//!
//! Invariants:
//! - The stripes of all keys touched are locked from begin to end, in ascending order.
//! - Writes are gathered and seen by the transaction itself at once; the log and the index change at commit only. A transaction that is
//!   dropped has changed nothing, so a command can always be run again.
//! - Expiry is judged by one time throughout, no earlier than the T of any sweep that has been over its stripes: of two keys that expire at
//!   once, neither is seen without the other.
//! - The segments are pinned after the stripes are locked: every location in those stripes is in the pinned table.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::Guard as TableGuard;
use parking_lot::{RwLockReadGuard, RwLockWriteGuard};
use smallvec::SmallVec;

use super::StoredValue;
use super::pending::Pending;
use super::record::Record;
use super::{Batch, Key, LockPlan, Metadata, Object, Shard};
use crate::codec::op::OpCode;
use crate::error::{Result, StorageError};
use crate::index::{CellRef, Stripe, TableSlot};
use crate::log::SegmentTable;
use crate::types::{DATABASES, Db, Location, Lsn, TableId, UnixMillis};

/// A locked stripe.
pub(super) enum Guard<'s> {
    Shared(RwLockReadGuard<'s, Stripe>),
    Exclusive(RwLockWriteGuard<'s, Stripe>),
}

impl Guard<'_> {
    #[inline]
    pub(super) fn stripe(&self) -> &Stripe {
        match self {
            Self::Shared(stripe) => stripe,
            Self::Exclusive(stripe) => stripe,
        }
    }

    #[inline]
    pub(super) fn stripe_mut(&mut self) -> &mut Stripe {
        match self {
            Self::Shared(_) => panic!("a write under a shared lock: the command table says it only reads"),
            Self::Exclusive(stripe) => stripe,
        }
    }
}

/// What a database number points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) slot: TableSlot,
    pub(super) id: TableId,
}

/// The access of one command, or of one MULTI/EXEC, to the data; its writes become one entry at [`commit`](Transaction::commit).
pub struct Transaction<'s> {
    pub(super) shard: &'s Shard,
    pub(super) batch: &'s Batch,
    now: UnixMillis,
    pub(super) guards: SmallVec<[(usize, Guard<'s>); 1]>,
    pub(super) segments: TableGuard<Arc<SegmentTable>>,
    pub(super) pending: Pending,
    /// Large values that it wrote, and that no entry names as long as it is not committed.
    pub(super) unnamed: Vec<StoredValue>,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        for stored in &self.unnamed {
            // What is left behind is removed at the next start.
            let _ = self.shard.values.discard(stored);
        }
    }
}

/// A place in a transaction to go back to.
#[derive(Debug, Clone, Copy)]
pub struct Savepoint {
    pub(super) ops: usize,
    pub(super) controls: usize,
}

impl<'s> Transaction<'s> {
    #[inline]
    pub(super) fn begin(shard: &'s Shard, batch: &'s Batch, plan: &LockPlan) -> Self {
        let mut guards = SmallVec::new();
        if let Some(n) = plan.only() {
            let stripe = shard.index.stripe(n);
            guards.push((n, if plan.is_exclusive() { Guard::Exclusive(stripe.write()) } else { Guard::Shared(stripe.read()) }));
        } else if plan.is_exclusive() {
            guards.extend(plan.stripes().map(|n| (n, Guard::Exclusive(shard.index.stripe(n).write()))));
        } else {
            guards.extend(plan.stripes().map(|n| (n, Guard::Shared(shard.index.stripe(n).read()))));
        }
        let now = batch.now().max(shard.expiry.at());
        Self { shard, batch, now, guards, segments: shard.log.segments(), pending: Pending::take(), unnamed: Vec::new() }
    }

    /// The time this transaction runs at; expiry is judged by it.
    #[inline]
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    #[inline]
    fn guard_index(&self, stripe: usize) -> usize {
        if self.guards.len() == 1 && self.guards[0].0 == stripe {
            return 0;
        }
        self.guards.binary_search_by_key(&stripe, |(n, _)| *n).expect("a key whose stripe is not in the plan")
    }

    #[inline]
    pub(super) fn stripe(&self, stripe: usize) -> &Stripe {
        self.guards[self.guard_index(stripe)].1.stripe()
    }

    #[inline]
    pub(super) fn stripe_mut(&mut self, stripe: usize) -> &mut Stripe {
        let at = self.guard_index(stripe);
        self.guards[at].1.stripe_mut()
    }

    /// The table of a database, as this transaction sees it.
    #[inline]
    pub(super) fn table(&self, db: Db) -> Table {
        assert!(db.0 < DATABASES, "a database that does not exist");
        match &self.pending.tables {
            Some(tables) => Table { slot: tables.slot(db), id: tables.id(db) },
            None => self.shard.table(db),
        }
    }

    /// The record at a location.
    #[inline]
    pub(super) fn record(&self, location: Location) -> Result<Record<'_>> {
        let Some(segment) = self.segments.get(location.segment()) else {
            return Err(self.shard.dangling(location));
        };
        match Record::hot(segment, location) {
            Some(record) => record,
            None => self.cold_record(location),
        }
    }

    /// The record at a location, which is probably the key's.
    #[inline]
    fn record_of(&self, key: &Key<'_>, location: Location) -> Result<Record<'_>> {
        match self.segments.get(location.segment()).and_then(|segment| Record::hot(segment, location).map(|record| (segment, record))) {
            Some((segment, record)) => {
                segment.uses().used();
                record
            }
            None => self.copied_record(key, location),
        }
    }

    #[cold]
    fn copied_record(&self, key: &Key<'_>, location: Location) -> Result<Record<'_>> {
        let log = &self.shard.log;
        if let Some(segment) = self.segments.get(location.segment())
            && let Some(copied) = log.copies.show(segment.copy_of(key.hash(), location), |lsn, op| (lsn, op.to_vec()))
        {
            return Record::copied(location, copied.0, copied.1);
        }
        let record = self.cold_record(location)?;
        if record.key() == key.bytes() {
            log.copy(&record);
        }
        Ok(record)
    }

    #[cold]
    fn cold_record(&self, location: Location) -> Result<Record<'_>> {
        if let Some(fetched) = self.batch.fetched(location)? {
            return Record::fetched(&fetched);
        }
        let segment = self.segments.get(location.segment()).ok_or_else(|| self.shard.dangling(location))?;
        Record::cached(segment, location)
    }

    /// The cell and the newest record of a key, expired or not.
    #[inline]
    pub(super) fn find(&self, table: Table, key: &Key<'_>) -> Result<Option<(CellRef, Record<'_>)>> {
        let mut found = None;
        let stripe = self.stripe(key.slot().stripe());
        let cell = stripe.lookup(&self.shard.index, table.slot, key.hash(), |location| {
            let record = self.record_of(key, location)?;
            let same = record.key() == key.bytes();
            if same {
                found = Some(record);
            }
            Ok::<_, StorageError>(same)
        })?;
        let found = cell.zip(found);
        if self.batch.notes() {
            match &found {
                Some((_, record)) => self.shard.note_found(self.batch, record.lsn(), record.header.expire_at),
                None => self.shard.note_absent(self.batch, stripe),
            }
        }
        Ok(found)
    }

    /// The newest record of a key in the log that has not expired. What this transaction wrote is not in it.
    #[inline]
    pub(super) fn find_live(&self, table: Table, key: &Key<'_>) -> Result<Option<Record<'_>>> {
        let Some((cell, record)) = self.find(table, key)? else { return Ok(None) };
        if record.header.expire_at.is_some_and(|at| at <= self.now()) {
            self.shard.found_expired(table.slot, key, record.location);
            return Ok(None);
        }
        self.shard.index.used(&cell, 1);
        Ok(Some(record))
    }

    /// How often the key was asked for, 0 to 3, as far as the eviction policy counts that; none without the key. This is no use of it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn uses(&self, db: Db, key: &Key<'_>) -> Result<Option<u8>> {
        Ok(self.find(self.table(db), key)?.map(|(cell, _)| self.shard.index.uses(&cell)))
    }

    /// The key's value.
    ///
    /// # Errors
    /// [`StorageError::Cold`] when it has to be fetched first; corruption.
    #[inline]
    pub fn get(&self, db: Db, key: &Key<'_>) -> Result<Option<Object<'_>>> {
        let table = self.table(db);
        if !self.pending.is_empty()
            && let Some(op) = self.pending.find(table, key)
        {
            return self.pending_object(op);
        }
        let Some(record) = self.find_live(table, key)? else { return Ok(None) };
        let (value_type, expire_at) = (record.header.value_type, record.header.expire_at);
        Ok(Some(Object { value_type, data: self.string(record)?, expire_at }))
    }

    fn pending_object(&self, at: usize) -> Result<Option<Object<'_>>> {
        let op = self.pending.op(at);
        if op.code == OpCode::Tombstone || op.expire_at.is_some_and(|at| at <= self.now()) {
            return Ok(None);
        }
        let data = match op.code {
            OpCode::Put if op.value_segment => Cow::Owned(self.shard.values.read_encoded(self.pending.body(op))?),
            OpCode::Put => Cow::Borrowed(self.pending.body(op)),
            _ => Cow::Owned(self.pending_chain(op)?),
        };
        Ok(Some(Object { value_type: op.value_type, data, expire_at: op.expire_at }))
    }

    /// What is known of the key without touching its value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn metadata(&self, db: Db, key: &Key<'_>) -> Result<Option<Metadata>> {
        let table = self.table(db);
        if let Some(at) = self.pending.find(table, key) {
            let op = self.pending.op(at);
            let live = op.code != OpCode::Tombstone && op.expire_at.is_none_or(|at| at > self.now());
            let (value_type, len, expire_at) = (op.value_type, op.value_len, op.expire_at);
            return Ok(live.then_some(Metadata { value_type, len, expire_at, lsn: Lsn(u64::MAX) }));
        }
        let Some(record) = self.find_live(table, key)? else { return Ok(None) };
        let len = super::chain::value_len(&record)?;
        Ok(Some(Metadata { value_type: record.header.value_type, len, expire_at: record.header.expire_at, lsn: record.lsn() }))
    }

    /// For WATCH: changes whenever the key changes, by expiring too. Needs the key's stripe in the plan.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn version(&self, db: Db, key: &Key<'_>) -> Result<Lsn> {
        let table = self.table(db);
        Ok(match self.find_live(table, key)? {
            Some(record) => record.lsn(),
            None => self.stripe(key.slot().stripe()).last_delete(&self.shard.index),
        })
    }

    /// Whether anything was written so far.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// A place to come back to with [`rollback`](Self::rollback).
    #[must_use]
    pub fn savepoint(&self) -> Savepoint {
        self.pending.savepoint()
    }

    /// Forgets what was written after the savepoint.
    pub fn rollback(&mut self, savepoint: Savepoint) {
        self.pending.rollback(savepoint);
    }
}
