//! Removing keys that were found expired.

use std::sync::Arc;

use super::found::Found;
use super::sweep::Sweeper;
use crate::codec::control::ExpiredUpTo;
use crate::codec::entry::{encode_single, single_len};
use crate::codec::op::{Op, OpCode};
use crate::error::Result;
use crate::index::ExpiredMark;
use crate::log::{Purpose, SegmentTable};
use crate::shard::chain::value_ref;
use crate::shard::commit::counter_change;
use crate::shard::pending::Counted;
use crate::shard::record::Record;
use crate::shard::write::counted;
use crate::types::{DATABASES, Db, UnixMillis};

/// Keys removed under one lock.
const UNDER_ONE_LOCK: usize = 32;

/// A key that is about to be removed, with its record, which was read without a lock.
pub(super) struct Doomed<'t> {
    found: Found,
    pub(super) expire_at: UnixMillis,
    counted: Counted,
    record: Record<'t>,
}

impl<'t> Doomed<'t> {
    /// The key's record; none if it does not expire, or cannot be read: then it stays, and whoever asks for it is told why. Waits for the
    /// medium.
    pub(super) fn new(segments: &'t SegmentTable, found: Found) -> Option<Self> {
        let segment = segments.get(found.location.segment())?;
        let record = match Record::hot(segment, found.location) {
            Some(record) => record,
            None => Record::wait(segment, found.location).and_then(|fetched| Record::fetched(&fetched)),
        };
        let record = record.ok()?;
        Some(Self { found, expire_at: record.header.expire_at?, counted: counted(&record).ok()?, record })
    }
}

impl Sweeper {
    /// Removes keys that expire at `now` or before, those of a stripe standing together, and returns how many were still there.
    /// The caller has the right to unlogged changes; `segments` are those that the records were read from.
    pub(super) fn remove(&self, doomed: &[Doomed<'_>], segments: &SegmentTable, now: UnixMillis) -> Result<u64> {
        let mut removed = 0;
        for of_stripe in doomed.chunk_by(|a, b| a.found.slot.stripe() == b.found.slot.stripe()) {
            for some in of_stripe.chunks(UNDER_ONE_LOCK) {
                removed += self.remove_some(some, segments, now)?;
            }
        }
        Ok(removed)
    }

    fn remove_some(&self, doomed: &[Doomed<'_>], segments: &SegmentTable, now: UnixMillis) -> Result<u64> {
        let Some(number) = doomed.first().map(|one| one.found.slot.stripe()) else { return Ok(0) };
        let mut stripe = self.index.stripe(number).write();
        if doomed.iter().any(|one| one.expire_at > self.shared.at()) {
            self.declare(now)?;
        }
        let (current, tables) = (self.log.segments(), self.index.tables());
        let (mut removed, mut told) = (0, self.index.expired().lsn);
        for Doomed { found, counted, record, .. } in doomed {
            let Some(db) = (0..DATABASES).map(Db).find(|db| tables.slot(*db) == found.table) else { continue };
            // The same place in the same file holds the same record: what was read before still counts.
            let segment = found.location.segment();
            let same = current.get(segment).zip(segments.get(segment)).is_some_and(|(now, then)| Arc::ptr_eq(now, then));
            let at = |location| Ok::<_, std::convert::Infallible>(location == found.location);
            let Ok(cell) = stripe.lookup(&self.index, found.table, found.hash, at);
            if let Some(cell) = cell.filter(|_| same) {
                stripe.remove(&self.index, found.table, found.hash, found.slot, cell, &counter_change(Some(counted), None));
                if record.header.value_segment
                    && let Ok(value) = value_ref(record.body())
                {
                    // Gone for good once the entry that declared it is flushed.
                    self.values.bury(value.value_id, self.index.expired().lsn);
                }
                self.shared.removed(db, record.key());
                // A record with a time in the past may be newer than the entry that declared it.
                told = told.max(record.lsn());
                removed += 1;
            }
        }
        if removed > 0 {
            stripe.note_expired(told);
        }
        Ok(removed)
    }

    /// Says in the log that everything that expires by `at` counts as removed. Under the exclusive lock of a stripe: whoever notes a replay
    /// position beyond the entry passes through that lock first, and then the index knows of it.
    fn declare(&self, at: UnixMillis) -> Result<()> {
        let body = ExpiredUpTo { at }.encode();
        let op = Op::control(OpCode::ExpiredUpTo, &body);
        let appended =
            self.log.append_for(Purpose::Frees, single_len(&op), at, |out, head| encode_single(out, head, self.log.seed, &op))?;
        self.index.set_expired(ExpiredMark { at, lsn: appended.lsn });
        self.shared.at.store(at.0, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}
