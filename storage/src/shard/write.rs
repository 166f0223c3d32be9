//! The writes of a transaction, as its commands ask for them.

use super::pending::{Control, Counted, Old, PendingOp};
use super::record::Record;
use super::transaction::{Table, Transaction};
use super::values::StoredValue;
use super::{Key, chain};
use crate::codec::content_hash::{content_hash, slot_digest_term};
use crate::codec::control::{FlushedTable, SwappedDatabases};
use crate::codec::op::{OpCode, OpView, ValueType};
use crate::error::Result;
use crate::index::TableMap;
use crate::types::{DATABASES, Db, TableId, UnixMillis};

/// What a write leaves behind for its key.
pub(super) struct Written<'a> {
    pub(super) code: OpCode,
    pub(super) value_type: ValueType,
    pub(super) value_segment: bool,
    pub(super) expire_at: Option<UnixMillis>,
    pub(super) content_hash: u64,
    pub(super) value_len: u64,
    /// The body, in up to two parts.
    pub(super) body: [&'a [u8]; 2],
}

impl Transaction<'_> {
    /// Sets the key to a string, whatever it was.
    ///
    /// # Errors
    /// As [`get`](Self::get): the record that is replaced is looked at.
    #[inline]
    pub fn put(&mut self, db: Db, key: &Key<'_>, value: &[u8], expire_at: Option<UnixMillis>) -> Result<()> {
        if value.len() >= self.shard.options.value_segment_threshold() {
            return self.put_large(db, key, value, expire_at);
        }
        let written = Written {
            code: OpCode::Put,
            value_type: ValueType::String,
            value_segment: false,
            expire_at,
            content_hash: content_hash(value),
            value_len: value.len() as u64,
            body: [value, &[]],
        };
        self.write(self.table(db), key, &written)
    }

    fn put_large(&mut self, db: Db, key: &Key<'_>, value: &[u8], expire_at: Option<UnixMillis>) -> Result<()> {
        let stored = self.shard.values.store(value).inspect_err(|error| {
            if error.is_disk_full() {
                self.shard.log.counts.refused();
            }
        })?;
        self.unnamed.push(stored);
        self.put_stored(db, key, &stored, expire_at)
    }

    /// Sets the key to a value that was written to a value segment of its own (see [`Shard::value_writer`](super::Shard::value_writer)).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn put_stored(&mut self, db: Db, key: &Key<'_>, stored: &StoredValue, expire_at: Option<UnixMillis>) -> Result<()> {
        let written = Written {
            code: OpCode::Put,
            value_type: ValueType::String,
            value_segment: true,
            expire_at,
            content_hash: stored.content_hash,
            value_len: stored.len(),
            body: [&stored.reference.encode(), &[]],
        };
        self.write(self.table(db), key, &written)
    }

    /// Removes the key; true if there was one that had not expired.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn delete(&mut self, db: Db, key: &Key<'_>) -> Result<bool> {
        let table = self.table(db);
        let live = self.metadata(db, key)?.is_some();
        let stored = self.pending.find(table, key).is_some() || self.find(table, key)?.is_some();
        if stored {
            // An expired record goes too: whoever deletes it expects it gone from the counts.
            let written = Written {
                code: OpCode::Tombstone,
                value_type: ValueType::String,
                value_segment: false,
                expire_at: None,
                content_hash: 0,
                value_len: 0,
                body: [&[], &[]],
            };
            self.write(table, key, &written)?;
        }
        Ok(live)
    }

    /// Gathers one write.
    #[inline]
    pub(super) fn write(&mut self, table: Table, key: &Key<'_>, written: &Written<'_>) -> Result<()> {
        let previous = self.pending.find(table, key);
        let old = match previous {
            Some(at) => self.pending.op(at).old,
            None => self.old(table, key)?,
        };
        let key_range = self.pending.store(&[key.bytes()]);
        let body = self.pending.store(&written.body);
        self.pending.push(PendingOp {
            code: written.code,
            value_type: written.value_type,
            value_segment: written.value_segment,
            table,
            hash: key.hash(),
            slot: key.slot(),
            expire_at: written.expire_at,
            content_hash: written.content_hash,
            value_len: written.value_len,
            key: key_range,
            body,
            old,
            base: None,
            previous,
        });
        Ok(())
    }

    /// What the index holds for a key.
    #[inline]
    fn old(&self, table: Table, key: &Key<'_>) -> Result<Option<Old>> {
        let Some((cell, record)) = self.find(table, key)? else { return Ok(None) };
        let expired = record.header.expire_at.is_some_and(|at| at <= self.now());
        let value = if record.header.value_segment { Some(chain::value_ref(record.body())?.value_id) } else { None };
        Ok(Some(Old { cell, counted: counted(&record)?, expired, value }))
    }

    /// Removes all keys of a database (plan: all stripes, exclusive).
    ///
    /// # Errors
    /// None today; a result like all writes.
    pub fn flush(&mut self, db: Db) -> Result<()> {
        let tables = self.tables();
        let old = self.table(db);
        let made_here = self.pending.controls.iter().any(|(c, _)| matches!(c, Control::Flush { flushed, .. } if flushed.new == old.id));
        if made_here {
            self.pending.control(Control::Forget(old.id), tables);
            return Ok(());
        }
        let new = tables.next_id();
        self.flush_into(db, new);
        Ok(())
    }

    /// Gives a database a new table of this id.
    pub(super) fn flush_into(&mut self, db: Db, new: TableId) {
        let (mut tables, old) = (self.tables(), self.table(db));
        // Not a slot that this transaction itself has just vacated: it is emptied at commit only.
        let committed = self.shard.index.tables();
        let fresh = tables.unused().find(|slot| committed.unused().any(|free| free == *slot)).expect("twice as many slots as databases");
        tables.replace(db, new, fresh);
        self.pending.control(Control::Flush { flushed: FlushedTable { db, old: old.id, new }, old }, tables);
    }

    /// Removes all keys of all databases (plan: all stripes, exclusive).
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn flush_all(&mut self) -> Result<()> {
        for db in (0..DATABASES).map(Db) {
            let table = self.table(db);
            if self.shard.index.table_keys(table.slot) > 0 || self.pending.ops.iter().any(|op| op.table == table) {
                self.flush(db)?;
            }
        }
        Ok(())
    }

    /// Exchanges two databases (plan: all stripes, exclusive).
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn swap(&mut self, a: Db, b: Db) -> Result<()> {
        if a != b {
            let mut tables = self.tables();
            tables.swap(a, b);
            self.pending.control(Control::Swap(SwappedDatabases { a, b }), tables);
        }
        Ok(())
    }

    pub(super) fn tables(&self) -> Box<TableMap> {
        self.pending.tables.clone().unwrap_or_else(|| Box::new(self.shard.index.tables()))
    }
}

/// What a record adds to the counters.
#[inline]
pub(super) fn counted(record: &Record<'_>) -> Result<Counted> {
    let header = &record.header;
    Ok(Counted {
        bytes: u64::from(header.key_len) + chain::value_len(record)?,
        expires: header.expire_at.is_some(),
        digest: slot_digest_term(header.content_hash, header.expire_at, header.value_type, record.key()),
    })
}

/// The same of an op as it lies in the log.
pub(crate) fn counted_parts(op: &OpView<'_>) -> Result<Counted> {
    let header = &op.header;
    Ok(Counted {
        bytes: u64::from(header.key_len) + chain::op_value_len(header, op.body)?,
        expires: header.expire_at.is_some(),
        digest: slot_digest_term(header.content_hash, header.expire_at, header.value_type, op.key),
    })
}
