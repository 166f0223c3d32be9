//! A cell: what the index keeps of a key. One decisive 8-byte word, and an extra of 4 bytes that never changes while the
//! cell is live.
//!
//! ```text
//! word   tag 16 (hash bits 22..38) | location 48     0: empty     tag 1, location 0: deleted
//! extra  low 6 bits of the slot | top 26 bits of the hash
//! ```
//!
//! Invariants:
//! - A live word has a location other than 0 (segment headers keep offsets from being 0).
//! - The *order* of a cell, the top 42 bits of its key's hash, follows from word and extra: growth reads no records.

use super::layout::{ORDER_BITS, PREFIX_BITS, TAG_BITS};
use crate::types::{KeyHash, Location, Slot};

/// The word of a cell that was never used since its leaf was built.
pub(super) const EMPTY: u64 = 0;
/// The word of a cell whose key is gone, in a line that must look full.
pub(super) const DELETED: u64 = 1 << Location::BITS;

const LOCATION_MASK: u64 = (1 << Location::BITS) - 1;

/// The two parts of a cell, as checkpoints carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoredCell {
    /// Tag and location.
    pub word: u64,
    /// Slot bits and hash prefix.
    pub extra: u32,
}

/// Tag bits of a hash, in the place they have in a word.
#[inline]
pub(super) fn tag_in_word(hash: u64) -> u64 {
    (hash << PREFIX_BITS) & !LOCATION_MASK
}

/// Whether a word belongs to a key.
#[inline]
pub(super) fn is_live(word: u64) -> bool {
    word & LOCATION_MASK != 0
}

/// The location in a word.
#[inline]
pub(super) fn location(word: u64) -> Location {
    Location::from_bits(word)
}

/// The word with the same tag and another location.
#[inline]
pub(super) fn with_location(word: u64, location: Location) -> u64 {
    word & !LOCATION_MASK | location.bits()
}

/// The extra of a key.
#[inline]
pub(super) fn extra(hash: u64, slot: Slot) -> u32 {
    u32::from(slot.0 & 63) << PREFIX_BITS | (hash >> (64 - PREFIX_BITS)) as u32
}

/// The kept bits of a cell's hash in their places at the top of the hash; the others are 0.
#[inline]
pub(super) fn hash(word: u64, extra: u32) -> u64 {
    u64::from(extra) << (64 - PREFIX_BITS) | (word & !LOCATION_MASK) >> PREFIX_BITS
}

/// The slot bits of an extra.
#[inline]
pub(super) fn slot_bits(extra: u32) -> u16 {
    (extra >> PREFIX_BITS) as u16
}

/// The order of a hash: its kept bits as a number.
#[inline]
#[must_use]
pub fn order(hash: KeyHash) -> u64 {
    hash.0 >> (64 - ORDER_BITS)
}

impl StoredCell {
    /// The cell of a key.
    #[must_use]
    pub fn new(hash: KeyHash, slot: Slot, location: Location) -> Self {
        Self { word: tag_in_word(hash.0) | location.bits(), extra: extra(hash.0, slot) }
    }

    /// Where the key's newest op lies.
    #[must_use]
    pub fn location(self) -> Location {
        location(self.word)
    }

    /// Place in hash order.
    #[must_use]
    pub fn order(self) -> u64 {
        hash(self.word, self.extra) >> (64 - ORDER_BITS)
    }

    /// The slot, given the stripe that the cell was in.
    #[must_use]
    pub fn slot(self, stripe: usize) -> Slot {
        Slot((stripe as u16) << 6 | slot_bits(self.extra))
    }
}

const _: () = assert!(TAG_BITS + Location::BITS == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_gives_back_what_it_was_made_of() {
        for hash in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210] {
            let location = Location::from_bits(0xabcd_ef01_2345);
            let cell = StoredCell::new(KeyHash(hash), Slot(0x1fe9), location);
            assert_eq!(cell.location(), location);
            assert_eq!(cell.order(), order(KeyHash(hash)));
            assert_eq!(cell.order(), hash >> 22);
            assert_eq!(cell.slot(Slot(0x1fe9).stripe()), Slot(0x1fe9));
            assert!(is_live(cell.word));
            assert_eq!(with_location(cell.word, Location::from_bits(7)), cell.word & !LOCATION_MASK | 7);
        }
    }

    #[test]
    fn empty_and_deleted_are_not_live() {
        assert!(!is_live(EMPTY) && !is_live(DELETED));
        assert_ne!(EMPTY, DELETED);
    }
}
