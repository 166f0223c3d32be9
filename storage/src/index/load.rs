//! Filling an index from a checkpoint or from hints, when nothing depends on it yet.
//!
//! Invariants:
//! - No intents are written: the index is marked incomplete until [`Index::trust`] says otherwise, so a kill discards it.
//! - Cells are taken as they are; the caller makes sure that a key comes once.

use super::cell::{self, EMPTY, StoredCell};
use super::leaf::{Counts, extra_at};
use super::stripe::{Stripe, TableSlot};
use super::{Index, IndexError};

impl Stripe {
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
