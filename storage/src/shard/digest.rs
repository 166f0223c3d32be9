//! Digests of slots, by which copies are compared.
//!
//! Invariants:
//! - What is told is what all entries up to the LSN, and no others, have made of the slots: the stripes are locked together.
//! - Expired keys count or do not count by the log, never by a clock: those that the last `expired up to` entry names are out, all others in,
//!   if the digest says that it is exact.

use std::ops::RangeInclusive;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::Shard;
use crate::error::Result;
use crate::types::{DATABASES, Db, Lsn, STRIPES, Slot, UnixMillis};

/// Slots of a stripe.
const STRIPE_SLOTS: u16 = 64;
/// How often the sweep is run again because more was declared expired meanwhile.
const SWEEPS: u32 = 5;

/// Digests of slots at an LSN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotDigests {
    /// The last entry that they know of.
    pub lsn: Lsn,
    /// What expires by this time is absent by the log's word.
    pub expired_up_to: UnixMillis,
    /// Whether all of that is out of the counts.
    pub exact: bool,
    /// Slots with keys, rising, and their digests.
    pub slots: Vec<(Slot, u128)>,
}

/// What a database adds to the digest of a slot, given the digest of its table there: a key counts as another one in another database.
fn in_database(db: Db, digest: u128) -> u128 {
    xxh3_128_with_seed(&digest.to_le_bytes(), u64::from(db.0))
}

impl Shard {
    /// The digests of these slots over all databases, or of one. Sweeps expired keys first, on this thread, and waits while a checkpoint is
    /// being taken.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    pub fn slot_digests(&self, slots: RangeInclusive<u16>, db: Option<Db>) -> Result<SlotDigests> {
        for _ in 1..SWEEPS {
            self.sweep()?;
            let found = self.slot_digests_now(&slots, db);
            if found.exact {
                return Ok(found);
            }
        }
        self.sweep()?;
        Ok(self.slot_digests_now(&slots, db))
    }

    fn slot_digests_now(&self, slots: &RangeInclusive<u16>, db: Option<Db>) -> SlotDigests {
        let stripes = (0..STRIPES).filter(|number| {
            let first = *number as u16 * STRIPE_SLOTS;
            first <= *slots.end() && first + (STRIPE_SLOTS - 1) >= *slots.start()
        });
        let stripes: Vec<_> = stripes.map(|number| self.index.stripe(number).read()).collect();
        let tables = self.index.tables();
        let databases: Vec<Db> = (0..DATABASES).map(Db).filter(|each| db.is_none_or(|db| db == *each)).collect();
        let mut found = Vec::new();
        for stripe in &stripes {
            let first = stripe.number() as u16 * STRIPE_SLOTS;
            let used: Vec<Db> = databases.iter().copied().filter(|db| stripe.table_keys(&self.index, tables.slot(*db)) > 0).collect();
            for slot in (first..first + STRIPE_SLOTS).filter(|slot| slots.contains(slot) && !used.is_empty()).map(Slot) {
                let counters = used.iter().map(|db| (*db, stripe.slot_counters(&self.index, tables.slot(*db), slot)));
                let parts = counters.filter(|(_, counters)| counters.keys > 0).map(|(db, counters)| in_database(db, counters.digest));
                if let Some(sum) = parts.reduce(u128::wrapping_add) {
                    found.push((slot, sum));
                }
            }
        }
        // No entry that changes these stripes is under way while they are locked.
        let (lsn, expired_up_to) = (self.written_lsn(), self.expiry.at());
        SlotDigests { lsn, expired_up_to, exact: self.expiry.swept_to() >= expired_up_to, slots: found }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::shard::testing::within;

    fn put(shard: &Shard, db: u8, key: &str, value: &str, expire: Option<i64>) {
        within(shard, |txn| txn.put(Db(db), &shard.key(key.as_bytes()), value.as_bytes(), expire.map(UnixMillis)));
    }

    fn digests(shard: &Shard) -> Vec<(Slot, u128)> {
        let found = shard.slot_digests(0..=16383, None).unwrap();
        assert!(found.exact && found.lsn == shard.written_lsn());
        found.slots
    }

    #[test]
    fn what_is_there_counts_and_not_how_it_came() {
        let (one, other) = (Shard::temporary(), Shard::temporary());
        for n in 0..200 {
            put(&one, n % 3, &format!("key{n}"), "v", None);
            put(&other, n % 3, &format!("key{}", 199 - n), "other", None);
        }
        assert_ne!(digests(&one), digests(&other));
        within(&other, |txn| txn.flush_all());
        assert_eq!(digests(&other), []);
        for n in (0..200).rev() {
            put(&other, n % 3, &format!("key{n}"), "v", None);
        }
        // Expired keys are absent, and are swept before it is said so.
        put(&other, 0, "gone", "v", Some(1));
        assert_eq!(digests(&one), digests(&other));
        put(&other, 0, "key0", "w", None);
        let (one, other) = (digests(&one), digests(&other));
        let differing: Vec<Slot> = one.iter().zip(&other).filter(|(one, other)| one != other).map(|(one, _)| one.0).collect();
        assert_eq!(differing, [crate::slot::slot_of(b"key0")]);
    }

    #[test]
    fn a_key_is_another_one_in_another_database_however_it_came_there() {
        let (one, other) = (Shard::temporary(), Shard::temporary());
        put(&one, 0, "k", "v", None);
        put(&other, 1, "k", "v", None);
        assert_ne!(digests(&one), digests(&other));
        within(&other, |txn| txn.swap(Db(0), Db(1)));
        assert_eq!(digests(&one), digests(&other));
    }

    #[test]
    fn slots_and_a_database_can_be_chosen() {
        let shard = Shard::temporary();
        put(&shard, 0, "foo", "v", None);
        put(&shard, 1, "bar", "v", None);
        let slots = |range, db| shard.slot_digests(range, db).unwrap().slots.iter().map(|(slot, _)| slot.0).collect::<Vec<_>>();
        assert_eq!(slots(0..=16383, None), [5061, 12182]);
        assert_eq!(slots(0..=16383, Some(Db(0))), [12182]);
        assert_eq!(slots(5061..=5061, None), [5061]);
        assert_eq!(slots(5062..=12181, None), []);
    }
}
