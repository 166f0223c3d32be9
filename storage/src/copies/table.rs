//! From the hash of a key to the place of its copy: open addressing, with the part of the hash that tells where an entry belongs kept in
//! the entry, so that the copies themselves are not looked at to move one.
//!
//! Invariants: an entry lies at its home or behind it, without an empty slot between; at least an eighth of the slots is empty.

/// No entry.
const EMPTY: u64 = 0;

/// Entries of (tag, place).
pub(super) struct Table {
    slots: Box<[u64]>,
    len: usize,
}

impl Table {
    /// Room for `entries`; a power of two of slots.
    pub(super) fn new(entries: usize) -> Self {
        let slots = if entries == 0 { 0 } else { (entries + entries / 4).next_power_of_two().max(16) };
        Self { slots: vec![EMPTY; slots].into(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that a table for so many entries takes.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }

    /// Whether another entry has to wait until one has gone.
    pub(super) fn is_full(&self) -> bool {
        self.len >= self.slots.len() / 8 * 7
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// Places of this tag, the one that `wanted` accepts.
    #[inline]
    pub(super) fn find(&self, tag: u32, mut wanted: impl FnMut(u32) -> bool) -> Option<u32> {
        self.slot_of(tag, &mut wanted).map(|slot| place_of(self.slots[slot]))
    }

    fn slot_of(&self, tag: u32, wanted: &mut impl FnMut(u32) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut slot = tag as usize & self.mask();
        while self.slots[slot] != EMPTY {
            if (self.slots[slot] >> 32) as u32 == tag && wanted(place_of(self.slots[slot])) {
                return Some(slot);
            }
            slot = (slot + 1) & self.mask();
        }
        None
    }

    /// Adds an entry; the table is not full.
    pub(super) fn insert(&mut self, tag: u32, place: u32) {
        assert!(!self.is_full(), "an entry too many");
        let mut slot = tag as usize & self.mask();
        while self.slots[slot] != EMPTY {
            slot = (slot + 1) & self.mask();
        }
        self.slots[slot] = u64::from(tag) << 32 | (u64::from(place) + 1);
        self.len += 1;
    }

    /// Takes an entry out; whether it was there.
    pub(super) fn remove(&mut self, tag: u32, place: u32) -> bool {
        let Some(mut hole) = self.slot_of(tag, &mut |found| found == place) else { return false };
        self.len -= 1;
        let mask = self.mask();
        let mut slot = (hole + 1) & mask;
        while self.slots[slot] != EMPTY {
            let home = (self.slots[slot] >> 32) as usize & mask;
            // It may move back as far as its home.
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                self.slots[hole] = self.slots[slot];
                hole = slot;
            }
            slot = (slot + 1) & mask;
        }
        self.slots[hole] = EMPTY;
        true
    }

    /// All entries, as (tag, place).
    pub(super) fn entries(&self) -> impl Iterator<Item = (u32, u32)> {
        self.slots.iter().filter(|slot| **slot != EMPTY).map(|slot| ((slot >> 32) as u32, place_of(*slot)))
    }
}

/// Places take all 32 bits but one: there is none that is 0 less 1.
fn place_of(slot: u64) -> u32 {
    (slot as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn it_holds_what_a_set_holds() {
        let mut random = rand::rngs::StdRng::seed_from_u64(5);
        let mut table = Table::new(1000);
        let mut set = BTreeSet::new();
        for _ in 0..200_000 {
            // Few tags, of which many share a home.
            let (tag, place) = (random.random_range(0..40) * 512 + random.random_range(0..8), random.random_range(0..50));
            if set.contains(&(tag, place)) {
                assert!(table.remove(tag, place));
                set.remove(&(tag, place));
            } else if !table.is_full() {
                assert!(!table.remove(tag, place));
                table.insert(tag, place);
                set.insert((tag, place));
            }
            assert_eq!(table.find(tag, |found| found == place).is_some(), set.contains(&(tag, place)));
        }
        assert_eq!(table.entries().collect::<BTreeSet<_>>(), set);
        assert_eq!(table.len(), set.len());
    }
}
