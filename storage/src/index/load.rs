//! Filling an index from a checkpoint or from hints, when nothing depends on it yet.
//!
//! Invariants:
//! - No intents are written: the index is marked incomplete until [`Index::trust`] says otherwise, so a kill discards it.
//! - Cells are taken as they are; the caller makes sure that a key comes once.

use super::cell::{self, EMPTY, StoredCell};
use super::directory::Directory;
use super::grow;
use super::layout::{LEAF_PAGES, PAGE_FULL, PREFIX_BITS};
use super::leaf::{Counts, extra_at};
use super::stripe::{Stripe, TableSlot};
use super::{Index, IndexError};

/// Keys that a leaf made ahead is meant for, at most: a full leaf less the spread of even hashes.
const AHEAD: u64 = (LEAF_PAGES * PAGE_FULL) as u64 * 9 / 10;

impl Stripe {
    /// Makes an absent table with leaves for `keys` keys, so that loading that many moves none. In hash order, as a checkpoint
    /// has them, keys would otherwise crowd into the first lines of a few leaves.
    pub fn prepare(&mut self, index: &Index, table: TableSlot, keys: u64) -> Result<(), IndexError> {
        let pages = &index.pages;
        if Directory::open(pages, self.root(table)).is_some() {
            return Ok(());
        }
        self.make_table(pages, table)?;
        let mut depth = 0;
        while keys >> depth > AHEAD && depth < PREFIX_BITS {
            depth += 1;
        }
        let share = u32::try_from(keys >> depth).unwrap_or(u32::MAX);
        grow::spread(self.place(pages, table), depth, share)
    }

    /// Adds cells as [`Stripe::copy_piece`] gave them, in any order. Counters are set apart, by
    /// [`Stripe::set_slot_counters`].
    pub fn load_cells(&mut self, index: &Index, table: TableSlot, cells: &[StoredCell]) -> Result<(), IndexError> {
        let pages = &index.pages;
        for stored in cells {
            let StoredCell { word, extra } = *stored;
            if !cell::is_live(word) {
                return Err(IndexError::BadCell { word });
            }
            let hash = cell::hash(word, extra);
            let leaf = self.leaf_with_room(pages, table, hash)?;
            let counts_at = leaf.counts_at(pages);
            let old = Counts::from_word(pages.word(counts_at));
            let free = leaf.free_cell(pages, hash).expect("a leaf always has an empty cell");
            let counts = Counts { used: old.used + u32::from(free.word == EMPTY), live: old.live + 1 };
            pages.set_half(extra_at(free.at), extra);
            pages.set_word(free.at, word);
            pages.set_word(counts_at, counts.to_word());
        }
        Ok(())
    }
}
