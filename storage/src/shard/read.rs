//! A plain read: one string shown where it lies, without a transaction around it. Most requests of a cache are just that.
//!
//! Invariants: the stripe is locked and the segments are pinned while the value is shown, in the order in which a transaction does both.
//! What is shown is noted as a transaction notes it.

use super::{Batch, Key, Shard};
use crate::codec::op::{OpCode, OpView, ValueType};
use crate::types::Db;

/// The read is not that simple.
enum NotPlain {
    /// The record is not in memory, unless there is a copy of it.
    Cold,
    Otherwise,
}

impl Shard {
    /// Shows the string that a key holds to `show`, or none if there is no such key. Without showing anything, returns none if that takes
    /// more than one look at one place in memory (a chain, a value segment, a cold record without a copy, a corrupt one): then a transaction has to do it.
    #[inline]
    pub fn read_plain<R>(&self, batch: &Batch, db: Db, key: &Key<'_>, show: impl FnOnce(Option<&[u8]>) -> R) -> Option<R> {
        let stripe = self.index.stripe(key.slot().stripe()).read();
        let segments = self.log.segments();
        let mut newest = None;
        let cell = stripe.lookup(&self.index, self.table(db).slot, key.hash(), |location| {
            let segment = segments.get(location.segment()).ok_or(NotPlain::Otherwise)?;
            let bytes = segment.hot_bytes(location.offset()).ok_or(NotPlain::Cold)?;
            let op = OpView::parse(bytes).map_err(|_| NotPlain::Otherwise)?;
            let same = op.key == key.bytes();
            if same {
                segment.uses().used();
                newest = Some(op);
            }
            Ok(same)
        });
        let (op, cell) = match cell {
            Ok(Some(cell)) => (newest?, cell),
            Ok(None) => {
                if batch.notes() {
                    self.note_absent(batch, &stripe);
                }
                return Some(show(None));
            }
            Err(NotPlain::Cold) => return self.read_copied(&stripe, &segments, batch, (db, key), show),
            Err(NotPlain::Otherwise) => return None,
        };
        let header = &op.header;
        if header.code != OpCode::Put || header.value_segment || header.value_type != ValueType::String {
            return None;
        }
        if batch.notes() {
            self.note_hot(batch, &segments, cell.location(), header);
        }
        let live = header.expire_at.is_none_or(|at| at > batch.now().max(self.expiry.at()));
        if live {
            self.index.used(&cell, 1);
        } else {
            self.found_expired(self.table(db).slot, key, cell.location());
        }
        Some(show(live.then_some(op.body)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::shard::{LockPlan, Transaction};
    use crate::types::UnixMillis;

    fn write(shard: &Shard, batch: &Batch, change: impl FnOnce(&mut Transaction<'_>)) {
        let mut plan = LockPlan::exclusive();
        plan.add_all();
        let mut txn = shard.begin(batch, &plan);
        change(&mut txn);
        txn.commit().unwrap();
    }

    fn read(shard: &Shard, batch: &Batch, key: &str) -> Option<Option<Vec<u8>>> {
        shard.read_plain(batch, Db(0), &shard.key(key.as_bytes()), |value| value.map(<[u8]>::to_vec))
    }

    #[test]
    fn a_plain_string_is_shown_until_it_expires_or_is_deleted() {
        let shard = Shard::temporary();
        let key = shard.key(b"key");
        let early = Batch::at(UnixMillis(100));
        assert_eq!(read(&shard, &early, "key"), Some(None));
        write(&shard, &early, |txn| txn.put(Db(0), &key, b"value", Some(UnixMillis(200))).unwrap());
        assert_eq!(read(&shard, &early, "key"), Some(Some(b"value".to_vec())));
        assert_eq!(read(&shard, &early, "another"), Some(None));
        assert_eq!(read(&shard, &Batch::at(UnixMillis(200)), "key"), Some(None));
        assert_eq!(shard.read_plain(&early, Db(1), &key, |value| value.is_some()), Some(false));
        write(&shard, &early, |txn| assert!(txn.delete(Db(0), &key).unwrap()));
        assert_eq!(read(&shard, &early, "key"), Some(None));
    }

    #[test]
    fn what_is_not_plain_is_left_to_a_transaction() {
        let shard = Shard::temporary();
        let key = shard.key(b"key");
        let batch = Batch::at(UnixMillis(100));
        write(&shard, &batch, |txn| txn.put(Db(0), &key, &[b'x'; 100_000], None).unwrap());
        assert!(read(&shard, &batch, "key").is_some());
        // A small change of a large string is a delta in the log.
        write(&shard, &batch, |txn| assert_eq!(txn.write_range(Db(0), &key, 7, b"y").unwrap(), 100_000));
        assert_eq!(read(&shard, &batch, "key"), None);
    }
}
