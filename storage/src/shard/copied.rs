//! Copies of records that are not in memory otherwise: making them, and reading them without a transaction.

use super::record::Record;
use super::{Batch, Key, Shard};
use crate::codec::op::{OpView, ValueType};
use crate::copies::CopyOf;
use crate::index::Stripe;
use crate::log::{Log, Segment, SegmentTable};
use crate::segment::footer::key_hash;
use crate::types::{Db, KeyHash, Location};

/// There is no copy that will do.
struct NotCopied;

impl Segment {
    /// What a copy of the record at a location in this segment is found by.
    #[inline]
    pub(crate) fn copy_of(&self, hash: KeyHash, location: Location) -> CopyOf {
        CopyOf { hash, location, generation: self.generation() }
    }
}

impl Log {
    /// Keeps a copy of a record that was read from a segment that is not hot.
    pub(super) fn copy(&self, record: &Record<'_>) {
        if self.copies.budget() > 0
            && let Some(op) = record.to_copy()
            && let Some(segment) = self.segments().get(record.location.segment())
            && !segment.is_hot()
        {
            self.copies.insert(segment.copy_of(key_hash(record.key(), self.key_hash_seed), record.location), record.lsn(), op);
        }
    }
}

impl Shard {
    /// Does what [`read_plain`](Shard::read_plain) does where the key's record is cold and there is a copy of it.
    #[inline(never)]
    pub(super) fn read_copied<R>(
        &self,
        stripe: &Stripe,
        segments: &SegmentTable,
        batch: &Batch,
        (db, key): (Db, &Key<'_>),
        show: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Option<R> {
        let table = self.table(db).slot;
        let now = batch.now().max(self.expiry.at());
        let (mut show, mut shown, mut expired) = (Some(show), None, None);
        let cell = stripe.lookup(&self.index, table, key.hash(), |location| {
            let segment = segments.get(location.segment()).ok_or(NotCopied)?;
            let look = |lsn, op: &[u8]| {
                let op = OpView::parse(op).map_err(|_| NotCopied)?;
                if op.key != key.bytes() {
                    return Ok(false);
                }
                if op.header.value_type != ValueType::String {
                    return Err(NotCopied);
                }
                if batch.notes() {
                    self.note_found(batch, lsn, op.header.expire_at);
                }
                let live = op.header.expire_at.is_none_or(|at| at > now);
                expired = (!live).then_some(location);
                shown = show.take().map(|show| show(live.then_some(op.body)));
                Ok(true)
            };
            match segment.hot_bytes(location.offset()) {
                // Another key with the same hash, or the key's own that has just become hot: rare.
                Some(_) => Err(NotCopied),
                None => self.log.copies.show(segment.copy_of(key.hash(), location), look).unwrap_or(Err(NotCopied)),
            }
        });
        if let Some(location) = expired {
            self.found_expired(table, key, location);
        }
        match cell {
            Ok(Some(cell)) => {
                if expired.is_none() {
                    self.index.used(&cell, 1);
                }
                shown
            }
            Ok(None) => {
                if batch.notes() {
                    self.note_absent(batch, stripe);
                }
                show.take().map(|show| show(None))
            }
            Err(NotCopied) => None,
        }
    }
}
