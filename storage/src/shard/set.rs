//! A plain write: one short string put in place of whatever a key holds, without a transaction around it.
//!
//! Invariants: those of a commit. The stripe is locked throughout; what can fail, fails before the append; after it the index follows without
//! another failure.

use super::commit::counter_change;
use super::pending::Counted;
use super::write::counted_parts;
use super::{Batch, Key, Shard};
use crate::codec::content_hash::{content_hash, slot_digest_term};
use crate::codec::entry::{SINGLE_HEADER, encode_single, single_len};
use crate::codec::op::{Op, OpView, ValueType};
use crate::index::{CellRef, Stripe};
use crate::types::{Db, Lsn, UnixMillis};

/// The write is not that simple.
struct NotPlain;

impl Shard {
    /// Sets a key to a string that does not expire. Returns none, with nothing changed, if the string needs a value segment, if the record
    /// that is replaced cannot be looked at where it lies, or if there is an error: then a transaction has to do it, or to fail.
    #[inline]
    pub fn write_plain(&self, batch: &Batch, db: Db, key: &Key<'_>, value: &[u8]) -> Option<Lsn> {
        if value.len() >= self.options.value_segment_threshold() {
            return None;
        }
        let (table, slot) = (self.table(db), key.slot());
        let mut stripe = self.index.stripe(slot.stripe()).write();
        let replaced = self.replaced(&stripe, db, key).ok()?;
        let expired =
            replaced.as_ref().is_some_and(|(_, _, expire_at)| expire_at.is_some_and(|at| at <= batch.now().max(self.expiry.at())));
        let (cell, old) = replaced.map(|(cell, counted, _)| (cell, counted)).unzip();
        self.index.reserve(usize::from(cell.is_none())).ok()?;
        let hash = content_hash(value);
        let op = Op { fresh: cell.is_none(), ..Op::put(table.id, key.bytes(), value, hash) };
        let fill = |out: &mut [u8], head| encode_single(out, head, self.log.seed, &op);
        let appended = self.log.append(single_len(&op), batch.now(), fill).ok()?;
        let new = Counted {
            bytes: (key.bytes().len() + value.len()) as u64,
            expires: false,
            digest: slot_digest_term(hash, None, ValueType::String, key.bytes()),
        };
        let change = counter_change(old.as_ref(), Some(&new));
        let location = appended.location(SINGLE_HEADER as u32);
        stripe.put(&self.index, table.slot, key.hash(), slot, cell, location, &change).expect("room was reserved before the append");
        stripe.set_applied(&self.index, appended.lsn);
        self.note_write(&stripe, table.slot, key.hash(), cell, location);
        if expired {
            self.expiry.superseded(db, key.bytes());
        }
        Some(appended.lsn)
    }

    /// The cell of a key, what its record adds to the counters, and when it expires.
    #[inline]
    fn replaced(&self, stripe: &Stripe, db: Db, key: &Key<'_>) -> Result<Option<(CellRef, Counted, Option<UnixMillis>)>, NotPlain> {
        let segments = self.log.segments();
        let mut newest = None;
        let cell = stripe.lookup(&self.index, self.table(db).slot, key.hash(), |location| {
            let bytes = segments.get(location.segment()).and_then(|segment| segment.hot_bytes(location.offset()));
            let op = bytes.and_then(|bytes| OpView::parse(bytes).ok()).ok_or(NotPlain)?;
            let same = op.key == key.bytes();
            if same && op.header.value_segment {
                // Its file is to be removed.
                return Err(NotPlain);
            }
            if same {
                newest = Some((counted_parts(&op).map_err(|_| NotPlain)?, op.header.expire_at));
            }
            Ok(same)
        })?;
        Ok(cell.zip(newest).map(|(cell, (counted, expire_at))| (cell, counted, expire_at)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::shard::{LockPlan, Transaction};

    fn within<R>(shard: &Shard, batch: &Batch, change: impl FnOnce(&mut Transaction<'_>) -> R) -> R {
        let mut plan = LockPlan::exclusive();
        plan.add_all();
        let mut txn = shard.begin(batch, &plan);
        let result = change(&mut txn);
        txn.commit().unwrap();
        result
    }

    /// Everything that a write changes beside the record.
    fn counters(shard: &Shard, key: &Key<'_>) -> (crate::index::SlotCounters, u64) {
        let table = shard.table(Db(0)).slot;
        let stripe = shard.index().stripe(key.slot().stripe()).read();
        (stripe.slot_counters(shard.index(), table, key.slot()), stripe.table_keys(shard.index(), table))
    }

    #[test]
    fn a_plain_write_leaves_what_a_transaction_leaves() {
        let (plain, transacted) = (Shard::temporary(), Shard::temporary());
        let batch = Batch::at(UnixMillis(100));
        let key = plain.key(b"key");
        let large = vec![b'x'; 100_000];
        for value in [&b"a"[..], b"", &large, b"another"] {
            let lsn = plain.write_plain(&batch, Db(0), &key, value).unwrap();
            assert_eq!(lsn, plain.written_lsn());
            within(&transacted, &batch, |txn| txn.put(Db(0), &transacted.key(b"key"), value, None)).unwrap();
            assert_eq!(lsn, transacted.written_lsn());
            assert_eq!(within(&plain, &batch, |txn| txn.get(Db(0), &key).unwrap().unwrap().data.into_owned()), value);
            assert_eq!(counters(&plain, &key), counters(&transacted, &transacted.key(b"key")));
        }
        // Over a delta, and over a key that expires.
        for shard in [&plain, &transacted] {
            let key = shard.key(b"key");
            within(shard, &batch, |txn| {
                txn.put(Db(0), &key, &large, Some(UnixMillis(1000))).unwrap();
            });
            within(shard, &batch, |txn| txn.write_range(Db(0), &key, 7, b"y").unwrap());
        }
        plain.write_plain(&batch, Db(0), &key, b"last").unwrap();
        within(&transacted, &batch, |txn| txn.put(Db(0), &transacted.key(b"key"), b"last", None)).unwrap();
        assert_eq!(counters(&plain, &key), counters(&transacted, &transacted.key(b"key")));
    }

    #[test]
    fn what_is_not_plain_is_left_to_a_transaction() {
        let shard = Shard::temporary();
        let batch = shard.batch();
        let key = shard.key(b"key");
        let before = shard.written_lsn();
        let long = vec![0; shard.options.value_segment_threshold()];
        assert_eq!(shard.write_plain(&batch, Db(0), &key, &long), None);
        assert_eq!(shard.written_lsn(), before);
    }
}
