//! Copies of records that are used again and again and lie in segments that are not in memory: hot keys strewn over cold segments cost
//! their own bytes, not a page each.
//!
//! A new copy goes into a short queue. What is used there before its end, or comes while the long queue has room, moves on to the long one;
//! there, what was used since it came round last goes to the back. So records that are read once pass through without pushing out others.
//!
//! Invariants:
//! - A copy passed its record's checks when it was made, and is found only by the location, and the generation of the segment, that it was
//!   made of: records never change in place, so it needs no invalidation.
//! - The bytes in use, tables included, stay within the budget.
//! - A lock is held for a copy of one record, or for passing on the records of one block.

mod part;
mod ring;
mod table;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use self::part::Part;
use crate::types::{Generation, KeyHash, Location, Lsn};

/// Parts with a lock each.
const PARTS: usize = 32;
/// Which record a copy is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyOf {
    pub(crate) hash: KeyHash,
    pub(crate) location: Location,
    pub(crate) generation: Generation,
}

/// A lock of its own cache line.
#[repr(align(64))]
struct Padded(Mutex<Part>);

/// The copies of a shard.
pub(crate) struct Copies {
    parts: Box<[Padded]>,
    budget: AtomicU64,
}

/// What copies there are, and what for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CopyFigures {
    pub(crate) records: u64,
    /// Bytes of memory taken.
    pub(crate) bytes: u64,
    /// Reads answered, since the start.
    pub(crate) hits: u64,
    /// Records that made room for others, since the start.
    pub(crate) dropped: u64,
}

impl Default for Copies {
    /// None, and no budget.
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Padded(Mutex::default())).collect(), budget: AtomicU64::new(0) }
    }
}

impl Copies {
    /// Bytes that they may take.
    pub(crate) fn budget(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    /// Changes the budget; what does not fit any more is dropped.
    pub(crate) fn set_budget(&self, bytes: u64) {
        if self.budget.swap(bytes, Ordering::Relaxed) != bytes {
            let each = (bytes / self.parts.len() as u64) as usize;
            self.parts.iter().for_each(|part| part.0.lock().set_budget(each));
        }
    }

    fn part(&self, hash: KeyHash) -> &Mutex<Part> {
        &self.parts[hash.0 as usize & (self.parts.len() - 1)].0
    }

    /// Shows the LSN of the record's entry and its op to `show`, if there is a copy.
    #[inline]
    pub(crate) fn show<R>(&self, of: CopyOf, show: impl FnOnce(Lsn, &[u8]) -> R) -> Option<R> {
        if self.budget() == 0 {
            return None;
        }
        self.part(of.hash).lock().show(of, show)
    }

    /// Makes a copy of a record that was read and checked.
    pub(crate) fn insert(&self, of: CopyOf, lsn: Lsn, op: &[u8]) {
        if self.budget() > 0 {
            self.part(of.hash).lock().insert(of, lsn, op);
        }
    }

    /// The record lies elsewhere now.
    pub(crate) fn moved(&self, of: CopyOf, to: (Location, Generation)) {
        if self.budget() > 0 {
            self.part(of.hash).lock().moved(of, to);
        }
    }

    pub(crate) fn figures(&self) -> CopyFigures {
        let mut sum = CopyFigures::default();
        for part in &self.parts {
            let one = part.0.lock().figures();
            sum.records += one.records;
            sum.bytes += one.bytes;
            sum.hits += one.hits;
            sum.dropped += one.dropped;
        }
        sum
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::types::SegmentId;

    fn of(n: u64) -> CopyOf {
        let hash = KeyHash(xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()));
        CopyOf { hash, location: Location::new(SegmentId((n >> 16) as u32), n as u32 & 0xffff | 1), generation: Generation(7) }
    }

    fn op(n: u64) -> Vec<u8> {
        let mut bytes = n.to_le_bytes().to_vec();
        bytes.resize(60 + (n % 90) as usize, n as u8);
        bytes
    }

    fn has(copies: &Copies, n: u64) -> bool {
        let right = copies.show(of(n), |lsn, bytes| assert_eq!((lsn, bytes), (Lsn(n), &op(n)[..])));
        right.is_some()
    }

    #[test]
    fn a_copy_is_found_by_location_and_generation_and_nothing_else() {
        let copies = Copies::default();
        copies.insert(of(1), Lsn(1), &op(1));
        assert!(!has(&copies, 1), "there is no budget yet");
        copies.set_budget(4 << 20);
        copies.insert(of(1), Lsn(1), &op(1));
        assert!(has(&copies, 1));
        let elsewhere = Location::new(SegmentId(9), 99);
        assert!(copies.show(CopyOf { location: elsewhere, ..of(1) }, |_, _| ()).is_none());
        assert!(copies.show(CopyOf { generation: Generation(8), ..of(1) }, |_, _| ()).is_none());
        copies.moved(of(1), (elsewhere, Generation(8)));
        assert!(!has(&copies, 1));
        assert!(copies.show(CopyOf { location: elsewhere, generation: Generation(8), ..of(1) }, |_, _| ()).is_some());
    }

    #[test]
    fn a_newer_record_of_a_key_takes_the_place_of_the_older() {
        let copies = Copies::default();
        copies.set_budget(4 << 20);
        for n in 0..50_000 {
            copies.insert(CopyOf { hash: of(1).hash, ..of(n) }, Lsn(n), &op(n));
        }
        assert_eq!(copies.figures().records, 1);
    }

    #[test]
    fn memory_stays_within_the_budget_and_follows_it() {
        let copies = Copies::default();
        for budget in [16 << 20, 4 << 20, 32 << 20, 2 << 20, 0] {
            copies.set_budget(budget);
            assert!(copies.figures().bytes <= budget, "{budget}");
            for n in 0..400_000 {
                copies.insert(of(n), Lsn(n), &op(n));
            }
            let figures = copies.figures();
            assert!(figures.bytes <= budget, "{figures:?} of {budget}");
            assert!(figures.bytes >= budget / 2, "{figures:?} of {budget}");
        }
        assert_eq!(copies.figures().records, 0);
    }

    #[test]
    fn what_is_used_stays_while_others_pass_through() {
        let copies = Copies::default();
        copies.set_budget(8 << 20);
        let used = 0..10_000;
        let mut lost = 0;
        for n in 0..500_000_u64 {
            let hot = n % used.end;
            if !has(&copies, hot) {
                lost += u64::from(n > 100_000);
                copies.insert(of(hot), Lsn(hot), &op(hot));
            }
            // Never asked for again.
            copies.insert(of(1_000_000 + n), Lsn(1_000_000 + n), &op(1_000_000 + n));
        }
        assert!(lost < 4000, "{lost} of 400,000 reads missed");
        assert!(copies.figures().dropped > 300_000);
    }
}
