//! Which table slot serves which database, and which table id each slot holds.
//!
//! Invariants:
//! - No two databases share a slot, and no two slots in use a table id. Ids are never used again: `next` only grows.
//! - A slot that no database uses is empty, or is emptied before it is used again.

use super::stripe::TableSlot;
use crate::types::{DATABASES, Db, Lsn, TableId};

/// The table map of a shard, as of an LSN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMap {
    slots: [TableSlot; DATABASES as usize],
    ids: [TableId; DATABASES as usize],
    next: TableId,
    /// LSN of the entry that made it so.
    pub lsn: Lsn,
}

impl Default for TableMap {
    fn default() -> Self {
        Self::with_ids(std::array::from_fn(|db| TableId(db as u32)), TableId(DATABASES.into()), Lsn(0))
    }
}

impl TableMap {
    pub(super) const WORDS: usize = 2 + DATABASES as usize / 2 + 2;

    /// A map with these ids, as the manifest keeps them; database n is in slot n.
    #[must_use]
    pub fn with_ids(ids: [TableId; DATABASES as usize], next: TableId, lsn: Lsn) -> Self {
        let slots = std::array::from_fn(|db| TableSlot::new(db as u8).expect("there are more slots than databases"));
        Self { slots, ids, next, lsn }
    }

    /// A map with these ids and slots, database by database; `None` if that cannot be a map.
    #[must_use]
    pub fn from_parts(databases: &[(u32, u8)], next: u32, lsn: Lsn) -> Option<Self> {
        let mut map = Self::with_ids([TableId(0); DATABASES as usize], TableId(next), lsn);
        if databases.len() != map.slots.len() {
            return None;
        }
        for (db, (id, slot)) in databases.iter().enumerate() {
            map.ids[db] = TableId(*id);
            map.slots[db] = TableSlot::new(*slot)?;
        }
        Some(map)
    }

    /// The slot of a database. `db` must be below [`DATABASES`].
    #[inline]
    #[must_use]
    pub fn slot(&self, db: Db) -> TableSlot {
        self.slots[usize::from(db.0)]
    }

    /// The table id of a database, which its records carry.
    #[inline]
    #[must_use]
    pub fn id(&self, db: Db) -> TableId {
        self.ids[usize::from(db.0)]
    }

    /// The id that the next flush gives out.
    #[must_use]
    pub fn next_id(&self) -> TableId {
        self.next
    }

    /// The database that a record's table id belongs to; `None` if that table was flushed.
    #[inline]
    #[must_use]
    pub fn db_of(&self, id: TableId) -> Option<Db> {
        self.ids.iter().position(|known| *known == id).map(|db| Db(db as u8))
    }

    /// Slots that serve no database.
    pub fn unused(&self) -> impl Iterator<Item = TableSlot> + '_ {
        TableSlot::all().filter(|slot| !self.slots.contains(slot))
    }

    /// Gives databases new, empty tables. Returns the slots of the old ones, to be cleared in every stripe after the map is
    /// stored and before the next flush. All databases of one entry belong in one call: a slot that it frees still holds keys.
    pub fn flush(&mut self, flushed: &[(Db, TableId)]) -> Vec<TableSlot> {
        let unused: Vec<TableSlot> = self.unused().collect();
        let mut fresh = unused.into_iter();
        let mut old = Vec::with_capacity(flushed.len());
        for (db, id) in flushed {
            let db = usize::from(db.0);
            if self.ids[db] == *id {
                continue;
            }
            self.ids[db] = *id;
            self.next = self.next.max(TableId(id.0 + 1));
            let fresh = fresh.next().expect("there are twice as many slots as databases");
            old.push(std::mem::replace(&mut self.slots[db], fresh));
        }
        old
    }

    /// Gives a database the table `id` in the slot `fresh`, which must be empty in every stripe.
    pub fn replace(&mut self, db: Db, id: TableId, fresh: TableSlot) {
        debug_assert!(!self.slots.contains(&fresh));
        self.ids[usize::from(db.0)] = id;
        self.next = self.next.max(TableId(id.0 + 1));
        self.slots[usize::from(db.0)] = fresh;
    }

    /// Exchanges the tables of two databases.
    pub fn swap(&mut self, a: Db, b: Db) {
        self.slots.swap(a.0.into(), b.0.into());
        self.ids.swap(a.0.into(), b.0.into());
    }

    pub(super) fn to_words(&self) -> [u64; Self::WORDS] {
        let slots: [u8; 16] = self.slots.map(|slot| slot.number() as u8);
        let slots = u128::from_le_bytes(slots);
        let mut words = [0; Self::WORDS];
        (words[0], words[1]) = (slots as u64, (slots >> 64) as u64);
        for (word, ids) in words[2..].iter_mut().zip(self.ids.chunks_exact(2)) {
            *word = u64::from(ids[1].0) << 32 | u64::from(ids[0].0);
        }
        (words[Self::WORDS - 2], words[Self::WORDS - 1]) = (self.next.0.into(), self.lsn.0);
        words
    }

    pub(super) fn from_words(words: [u64; Self::WORDS]) -> Option<Self> {
        let numbers = (u128::from(words[1]) << 64 | u128::from(words[0])).to_le_bytes();
        let mut map = Self::default();
        for (db, number) in numbers.into_iter().enumerate() {
            map.slots[db] = TableSlot::new(number)?;
            map.ids[db] = TableId((words[2 + db / 2] >> (32 * (db % 2))) as u32);
        }
        map.next = TableId(words[Self::WORDS - 2] as u32);
        map.lsn = Lsn(words[Self::WORDS - 1]);
        Some(map)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn flush_of_every_database_leaves_the_old_slots_to_clear() {
        let mut map = TableMap::default();
        let old: Vec<TableSlot> = {
            let flushed: Vec<_> = (0..16).map(|db| (Db(db), TableId(16 + u32::from(db)))).collect();
            map.flush(&flushed)
        };
        assert_eq!(old, (0..16).map(|slot| TableSlot::new(slot).unwrap()).collect::<Vec<_>>());
        assert_eq!(map.next_id(), TableId(32));
        assert_eq!((map.db_of(TableId(3)), map.db_of(TableId(19))), (None, Some(Db(3))));
        assert_eq!(map.unused().collect::<Vec<_>>(), old);
    }

    #[test]
    fn map_survives_its_encoding() {
        let mut map = TableMap::default();
        map.flush(&[(Db(5), TableId(16))]);
        map.swap(Db(5), Db(0));
        map.lsn = Lsn(77);
        assert_eq!(map.id(Db(0)), TableId(16));
        assert_eq!(TableMap::from_words(map.to_words()), Some(map.clone()));
        let mut words = map.to_words();
        words[0] = u64::MAX;
        assert_eq!(TableMap::from_words(words), None);
    }
}
