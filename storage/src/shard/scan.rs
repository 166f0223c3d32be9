//! Walking over a whole database: SCAN, KEYS, RANDOMKEY, counts.
//!
//! A cursor is (stripe, place in hash order) + 1, so that 0 is the start; it means the same after growth, after a restart, and on
//! every node that has the shard's hash seed.

use super::transaction::Transaction;
use super::{Metadata, chain};
use crate::codec::op::OpCode;
use crate::error::Result;
use crate::index::{Cell, ORDER_BITS};
use crate::types::{Db, STRIPES};

const ORDER_MASK: u64 = (1 << ORDER_BITS) - 1;

impl Transaction<'_> {
    /// Keys in the database (plan: all stripes), expired ones that were not yet removed included, as in Redis.
    #[must_use]
    pub fn key_count(&self, db: Db) -> u64 {
        let table = self.table(db);
        let stored = self.shard.index.table_keys(table.slot) as i64;
        let superseded = self.pending.superseded();
        let pending = self.pending.ops.iter().zip(superseded).filter(|(op, superseded)| op.table == table && !superseded);
        let change: i64 = pending.map(|(op, _)| i64::from(op.code != OpCode::Tombstone) - i64::from(op.old.is_some())).sum();
        (stored + change) as u64
    }

    /// Keys with an expiry (plan: all stripes).
    #[must_use]
    pub fn expires_count(&self, db: Db) -> u64 {
        self.shard.index.table_expires(self.table(db).slot)
    }

    /// Visits about `count` keys from `cursor` (0 = start) in hash order and returns the next cursor, 0 at the end (plan: all stripes).
    /// Keys present throughout a whole walk are visited at least once.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn scan(&self, db: Db, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], Metadata)) -> Result<u64> {
        let table = self.table(db);
        let position = cursor.saturating_sub(1);
        let (mut stripe, mut order) = ((position >> ORDER_BITS) as usize, position & ORDER_MASK);
        let count = count.max(1);
        let mut cells = Vec::new();
        let mut seen = 0;
        while stripe < STRIPES {
            cells.clear();
            let next = self.stripe(stripe).cells_from(&self.shard.index, table.slot, order, count - seen.min(count - 1), &mut cells);
            self.visit(&cells, visit)?;
            seen += cells.len();
            (stripe, order) = match next {
                Some(next) => (stripe, next),
                None => (stripe + 1, 0),
            };
            if seen >= count && stripe < STRIPES {
                return Ok(((stripe as u64) << ORDER_BITS | order) + 1);
            }
        }
        self.visit_pending(db, visit);
        Ok(0)
    }

    fn visit(&self, cells: &[Cell], visit: &mut dyn FnMut(&[u8], Metadata)) -> Result<()> {
        for cell in cells {
            let record = self.record(cell.location)?;
            if record.header.expire_at.is_some_and(|at| at <= self.now()) {
                continue;
            }
            let key = record.key();
            // What this transaction has written over is visited with the pending writes.
            let hash = self.shard.key(key);
            if !self.pending.is_empty() && self.pending.find_by_table(record.header.table, &hash).is_some() {
                continue;
            }
            let len = chain::value_len(&record)?;
            visit(key, Metadata { value_type: record.header.value_type, len, expire_at: record.header.expire_at, lsn: record.lsn() });
        }
        Ok(())
    }

    fn visit_pending(&self, db: Db, visit: &mut dyn FnMut(&[u8], Metadata)) {
        if self.pending.is_empty() {
            return;
        }
        let table = self.table(db);
        for (op, superseded) in self.pending.ops.iter().zip(self.pending.superseded()) {
            let live = op.code != OpCode::Tombstone && op.expire_at.is_none_or(|at| at > self.now());
            if !superseded && live && op.table == table {
                let lsn = crate::types::Lsn(u64::MAX);
                visit(self.pending.key(op), Metadata { value_type: op.value_type, len: op.value_len, expire_at: op.expire_at, lsn });
            }
        }
    }

    /// A random key (plan: all stripes).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn random_key(&self, db: Db) -> Result<Option<Vec<u8>>> {
        let table = self.table(db);
        if self.shard.index.table_keys(table.slot) > 0 {
            for _ in 0..ATTEMPTS {
                if let Some(key) = self.key_near(table.slot, rand::random())? {
                    return Ok(Some(key));
                }
            }
        }
        // Nearly everything has expired, or is not yet committed: take the first that is there.
        let (mut first, mut cursor) = (None, 0);
        loop {
            cursor = self.scan(db, cursor, 100, &mut |key, _| first = first.take().or_else(|| Some(key.to_vec())))?;
            if first.is_some() || cursor == 0 {
                return Ok(first);
            }
        }
    }

    /// The key whose place follows a random one: within a stripe every key is about as likely as any other.
    fn key_near(&self, table: crate::index::TableSlot, random: u64) -> Result<Option<Vec<u8>>> {
        let stripe = self.stripe((random >> 56) as usize);
        let mut cells = Vec::new();
        for start in [random & ORDER_MASK, 0] {
            if stripe.table_keys(&self.shard.index, table) == 0 {
                return Ok(None);
            }
            stripe.cells_from(&self.shard.index, table, start, 1, &mut cells);
            let pick = (random >> 42) as usize % 64;
            let count = cells.len().max(1);
            if let Some(cell) = cells.get(pick % count) {
                let record = self.record(cell.location)?;
                let live = record.header.expire_at.is_none_or(|at| at > self.now());
                return Ok(live.then(|| record.key().to_vec()));
            }
        }
        Ok(None)
    }
}

/// Draws before RANDOMKEY stops looking for a key that has not expired at random places.
const ATTEMPTS: usize = 1000;
