//! A look ahead: the memory that the next transactions will touch is asked for before the first of them begins, so that a batch waits for
//! memory about once, and not three times a key (directory, index line, record).
//!
//! Invariants:
//! - Only hints are given; nothing that is read here is believed by anyone.
//! - No lock is waited for.

use super::{Key, Shard};
use crate::types::Db;

/// A cache line.
const LINE: usize = 64;

/// A key that a transaction will read or write soon.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The key.
    pub key: Key<'a>,
    /// Whether it will be written.
    pub write: bool,
}

impl Shard {
    /// Asks the processor to load what transactions on these keys of a database will touch. Best for about as many keys as it can have
    /// loads under way.
    pub fn look_ahead(&self, db: Db, expected: &[Expected<'_>]) {
        let table = self.table(db).slot;
        for one in expected {
            self.index.prefetch_entry(table, one.key.hash(), one.key.slot());
        }
        for one in expected {
            if one.write {
                self.index.prefetch_put(table, one.key.hash(), one.key.slot());
            } else {
                self.index.prefetch(table, one.key.hash(), one.key.slot());
            }
        }
        let segments = self.log.segments();
        for one in expected {
            if let Some(location) = self.index.guess(table, one.key.hash(), one.key.slot())
                && let Some(segment) = segments.get(location.segment())
                && segment.is_hot()
            {
                // From the op's CRC on; a read goes on to the end of a short value.
                let start = location.offset() as usize;
                segment.map().prefetch(start);
                segment.map().prefetch(start + LINE);
                if !one.write {
                    segment.map().prefetch(start + 2 * LINE);
                }
            }
        }
    }
}
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::shard::LockPlan;

    #[test]
    fn looking_ahead_changes_nothing_and_waits_for_no_lock() {
        let shard = Shard::temporary();
        let (present, absent) = (shard.key(b"present"), shard.key(b"absent"));
        let expected = [present, absent].map(|key| Expected { key, write: true });
        shard.look_ahead(Db(0), &expected);
        let mut plan = LockPlan::exclusive();
        plan.add_all();
        let batch = shard.batch();
        let mut txn = shard.begin(&batch, &plan);
        shard.look_ahead(Db(0), &expected);
        txn.put(Db(0), &present, b"value", None).unwrap();
        txn.commit().unwrap();
        shard.look_ahead(Db(0), &expected);
        shard.look_ahead(Db(9), &expected);
        let txn = shard.begin(&batch, &plan);
        assert_eq!(txn.get(Db(0), &present).unwrap().unwrap().data.as_ref(), b"value");
        assert!(txn.get(Db(0), &absent).unwrap().is_none());
    }
}
