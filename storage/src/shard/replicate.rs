//! Being a replica: taking the primary's entries as they are, and becoming a primary.
//!
//! Invariants:
//! - The log of a replica takes the primary's entries, byte by byte and in order, and no others: nothing is written on its own account.
//! - An entry is applied under the locks of all stripes that it changes, taken before it is appended, as if a transaction had written it
//!   here: readers see all of it or nothing, and the index never leads the log.
//! - An epoch is in the manifest before its first entry is in the log.

use super::pending::Control;
use super::transaction::{Table, Transaction};
use super::write::Written;
use super::{Batch, LockPlan, Shard, chain};
use crate::codec::DecodeError;
use crate::codec::control::{EpochStart, ExpiredUpTo, FlushedTable, SwappedDatabases};
use crate::codec::entry::EntryView;
use crate::codec::evicted::Evicted;
use crate::codec::frame::{FrameKind, FrameStart, SINGLE_HEADER};
use crate::codec::op::{OpCode, OpView};
use crate::error::{Result, StorageError};
use crate::index::ExpiredMark;
use crate::manifest::Epoch;
use crate::types::{DATABASES, Db, EpochNumber, Lsn, TableId, WriterId};

impl Shard {
    /// Whether the log takes the primary's entries only.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.log.is_replica()
    }

    /// Becomes a replica: from here on only [`replicate`](Self::replicate) writes. What is being committed is done when this returns, or fails.
    pub fn become_replica(&self) {
        self.log.tail.lock().is_replica = true;
    }

    /// Becomes a primary, with a new epoch; nobody replicates meanwhile. Of a primary nothing changes.
    ///
    /// # Errors
    /// The log takes no entry, the manifest cannot be stored: it is a replica still.
    pub fn become_primary(&self) -> Result<EpochNumber> {
        let epoch = {
            let tail = self.log.tail.lock();
            if !tail.is_replica {
                return Ok(tail.epoch);
            }
            Epoch { number: promoted(tail.epoch), writer: WriterId(rand::random()), first: tail.next }
        };
        self.log.add_epoch(epoch)?;
        if let Err(error) = crate::recovery::start_epoch(&self.log, &self.index, epoch, self.options.clock.now()) {
            self.log.forget_unbegun_epochs()?;
            return Err(error);
        }
        Ok(epoch.number)
    }

    /// Appends and applies the entries in `frames`, whole frames of the primary's log that follow the last entry here, and returns the LSN
    /// of the last one. Waits for the medium where records are not in memory.
    ///
    /// # Errors
    /// They do not pass their checks, or do not follow; no room; the log is poisoned. Those before the first bad one have been applied.
    pub fn replicate(&self, frames: &[u8]) -> Result<Lsn> {
        let batch = self.batch();
        let mut at = 0;
        while at < frames.len() {
            let rest = &frames[at..];
            let start = FrameStart::parse(rest).map_err(|error| self.undecodable(error))?;
            if start.kind == FrameKind::Entry {
                let entry = EntryView::parse(rest, self.log.seed).map_err(|error| self.undecodable(error))?;
                self.replicate_entry(&batch, &entry)?;
            }
            at += start.len as usize;
        }
        Ok(self.written_lsn())
    }

    fn undecodable(&self, error: DecodeError) -> StorageError {
        let path = self.log.directory.path("(received from the primary)");
        StorageError::Corrupt { path, offset: 0, lsn: self.written_lsn().next(), reason: error.to_string() }
    }

    fn replicate_entry(&self, batch: &Batch, entry: &EntryView<'_>) -> Result<()> {
        loop {
            match self.try_replicate(batch, entry) {
                Err(StorageError::Cold(location)) => batch.add_fetched(self.fetch_now(location)?),
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        batch.forget_fetched();
        Ok(())
    }

    fn try_replicate(&self, batch: &Batch, entry: &EntryView<'_>) -> Result<()> {
        let mut plan = LockPlan::exclusive();
        for (_, op) in entry.ops() {
            match op.header.code {
                OpCode::Put | OpCode::Tombstone | OpCode::Delta => plan.add(&self.key(op.key)),
                OpCode::FlushTables | OpCode::SwapDatabases | OpCode::ExpiredUpTo => plan.add_all(),
                OpCode::Evict => return self.replicate_eviction(batch, entry, &op),
                OpCode::EpochStart => return self.replicate_epoch(entry, &op),
            }
        }
        self.begin(batch, &plan).replicate(entry)
    }

    fn replicate_epoch(&self, entry: &EntryView<'_>, op: &OpView<'_>) -> Result<()> {
        let start = EpochStart::decode(op.body).map_err(|error| self.undecodable(error))?;
        let head = entry.head();
        self.log.add_epoch(Epoch { number: head.epoch, writer: start.writer, first: head.lsn })?;
        if let Err(error) = self.log.append_replicated(entry) {
            // Listed and not begun, it would be taken for that of whatever comes to stand there.
            self.log.forget_unbegun_epochs()?;
            return Err(error);
        }
        self.log.tail.lock().writer = start.writer;
        Ok(())
    }

    fn replicate_eviction(&self, batch: &Batch, entry: &EntryView<'_>, op: &OpView<'_>) -> Result<()> {
        let evicted = Evicted::decode(op.body).map_err(|error| self.undecodable(error))?;
        self.eviction.replicate(&self.log, &self.index, &self.values, batch.now(), entry, &evicted)
    }
}

/// The epoch of a promotion: above those of restarts, which count by one, of a primary that does not know that it is none any more. Of two
/// logs the one with the higher (epoch, LSN) is then the one that was promoted later.
fn promoted(last: EpochNumber) -> EpochNumber {
    const RESTARTS: u32 = 1 << 16;
    EpochNumber(last.0.checked_next_multiple_of(RESTARTS).filter(|next| *next > last.0).unwrap_or_else(|| last.0.saturating_add(RESTARTS)))
}

impl Transaction<'_> {
    /// Writes the primary's entry and applies it.
    fn replicate(mut self, entry: &EntryView<'_>) -> Result<()> {
        let mut distances = Vec::new();
        let mut expired = None;
        for (distance, op) in entry.ops() {
            match op.header.code {
                OpCode::FlushTables => self.replicate_flush(op.body)?,
                OpCode::SwapDatabases => self.replicate_swap(op.body)?,
                OpCode::ExpiredUpTo => {
                    expired = Some(ExpiredUpTo::decode(op.body).map_err(|error| self.shard.undecodable(error))?.at);
                }
                _ if self.replicate_op(&op)? => distances.push(Some(distance)),
                _ => {}
            }
        }
        let new_keys = self.pending.ops.iter().filter(|op| op.old.is_none()).count();
        self.shard.reserve(new_keys)?;
        let appended = self.shard.log.append_replicated(entry)?;
        if let Some(at) = expired {
            self.shard.expiry.declared(&self.shard.index, ExpiredMark { at, lsn: appended.lsn });
        }
        if self.pending.controls.is_empty() && distances == [Some(SINGLE_HEADER as u32)] {
            self.apply_one(&appended);
        } else {
            self.apply_many(&appended, &distances);
        }
        Ok(())
    }

    /// False: its table is no more.
    fn replicate_op(&mut self, op: &OpView<'_>) -> Result<bool> {
        let Some(table) = self.table_of(op.header.table) else { return Ok(false) };
        let key = self.shard.key(op.key);
        let header = &op.header;
        let written = Written {
            code: header.code,
            value_type: header.value_type,
            value_segment: header.value_segment,
            expire_at: header.expire_at,
            content_hash: header.content_hash,
            value_len: chain::op_value_len(header, op.body)?,
            body: [op.body, &[]],
        };
        self.write(table, &key, &written)?;
        Ok(true)
    }

    fn table_of(&self, id: TableId) -> Option<Table> {
        (0..DATABASES).map(|db| self.table(Db(db))).find(|table| table.id == id)
    }

    fn replicate_flush(&mut self, body: &[u8]) -> Result<()> {
        for flushed in FlushedTable::decode_all(body).map_err(|error| self.shard.undecodable(error))? {
            let Some(db) = (0..DATABASES).map(Db).find(|db| self.table(*db).id == flushed.old) else { continue };
            self.flush_into(db, flushed.new);
        }
        Ok(())
    }

    fn replicate_swap(&mut self, body: &[u8]) -> Result<()> {
        let swapped = SwappedDatabases::decode(body).map_err(|error| self.shard.undecodable(error))?;
        let mut tables = self.tables();
        tables.swap(swapped.a, swapped.b);
        self.pending.control(Control::Swap(swapped), tables);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotions_count_above_restarts() {
        assert_eq!(promoted(EpochNumber(0)), EpochNumber(1 << 16));
        assert_eq!(promoted(EpochNumber(7)), EpochNumber(1 << 16));
        assert_eq!(promoted(EpochNumber(1 << 16)), EpochNumber(2 << 16));
        assert_eq!(promoted(EpochNumber((1 << 16) + 3)), EpochNumber(2 << 16));
    }
}
