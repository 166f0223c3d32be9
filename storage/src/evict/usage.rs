//! How much data there is.

use crate::index::{Index, TableSlot};
use crate::types::{DATABASES, Db, SLOTS, STRIPES, Slot};

/// Bytes that a key counts for beside itself and its value: at most 48 of framing in the log, and its part of the index.
pub const KEY_BYTES: u64 = 64;

/// Live data: what the index points to, expired keys that are still there included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) keys: u64,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
}

impl Usage {
    /// Sums all counters: some 16,000 for each database that has keys. Takes each stripe's lock for a moment.
    pub(crate) fn measure(index: &Index) -> Self {
        let map = index.tables();
        let tables: Vec<TableSlot> = (0..DATABASES).map(|db| map.slot(Db(db))).filter(|table| index.table_keys(*table) > 0).collect();
        let mut usage = Self::default();
        for number in 0..STRIPES {
            let stripe = index.stripe(number).read();
            for slot in (0..SLOTS / STRIPES as u16).map(|n| Slot(number as u16 * (SLOTS / STRIPES as u16) + n)) {
                for table in &tables {
                    let counters = stripe.slot_counters(index, *table, slot);
                    usage.keys += u64::from(counters.keys);
                    usage.bytes += counters.bytes;
                }
            }
        }
        usage
    }

    /// What counts against the limit.
    pub(crate) fn total(&self) -> u64 {
        self.bytes + KEY_BYTES * self.keys
    }
}
