//! Walking a stripe's cells in hash order.
//!
//! A cursor is a boundary in the 42 hash bits that cells keep, so it means the same after growth, after a restart and on any
//! node. Lines stand in hash order; the cells of a hash range are those whose home is in the range's lines, and lie there or
//! in the lines after, up to the first with an empty word.
//!
//! Invariants:
//! - A walk returns every cell that is there throughout once, whatever grows or shrinks between two calls.
//! - Cells with equal order are returned together.

use super::Index;
use super::cell::{self, EMPTY, StoredCell};
use super::directory::Directory;
use super::layout::{LINE_CELLS, ORDER_BITS, TAG_BITS};
use super::leaf::extra_at;
use super::pages::Pages;
use super::stripe::{Stripe, TableSlot};
use crate::types::{KeyHash, Location, Slot};

/// A cell as a walk shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Place in hash order: the top 42 bits of the key's hash.
    pub order: u64,
    /// Where the key's newest op lies.
    pub location: Location,
    /// The key's slot.
    pub slot: Slot,
}

impl Cell {
    /// The kept bits of the key's hash. Enough to find, change or remove the cell: a lookup whose comparison is with
    /// [`Cell::location`] needs no record.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(self.order << (64 - ORDER_BITS))
    }
}

/// Bytes of a cell in a checkpoint.
pub const STORED_CELL_BYTES: usize = 12;

const END: u64 = 1 << ORDER_BITS;

impl Stripe {
    /// Appends to `out` the cells of a table from `cursor` on, about `budget` of them, and returns the cursor to go on from;
    /// `None` at the end of the stripe. Start with 0.
    pub fn cells_from(&self, index: &Index, table: TableSlot, cursor: u64, budget: usize, out: &mut Vec<Cell>) -> Option<u64> {
        self.walk(index, table, cursor, budget, |cell| out.push(self.cell(cell)))
    }

    /// The same for the cells of one slot. `budget` is the number of cells of the stripe to look at; no record is read.
    pub fn cells_of_slot(
        &self,
        index: &Index,
        table: TableSlot,
        slot: Slot,
        cursor: u64,
        budget: usize,
        out: &mut Vec<Cell>,
    ) -> Option<u64> {
        self.walk(index, table, cursor, budget, |cell| {
            if cell.slot(self.number()) == slot {
                out.push(self.cell(cell));
            }
        })
    }

    /// Appends to `out` cells for a checkpoint, at most `max_bytes` of them as 12 bytes each (but at least one group of cells
    /// that cannot be parted), and returns the cursor to go on from.
    pub fn copy_piece(&self, index: &Index, table: TableSlot, cursor: u64, max_bytes: usize, out: &mut Vec<StoredCell>) -> Option<u64> {
        let limit = out.len() + max_bytes / STORED_CELL_BYTES;
        let first = out.len();
        let mut cursor = cursor;
        while out.len() < limit {
            let before = out.len();
            // Three quarters of what is left: hash ranges are even, so this seldom has to be taken back.
            let budget = (limit - before) * 3 / 4;
            let next = self.walk_window(&index.pages, table, cursor, budget, |cell| out.push(cell));
            if out.len() > limit && before > first {
                out.truncate(before);
                return Some(cursor);
            }
            cursor = next?;
        }
        Some(cursor)
    }

    fn cell(&self, cell: StoredCell) -> Cell {
        Cell { order: cell.order(), location: cell.location(), slot: cell.slot(self.number()) }
    }

    fn walk(&self, index: &Index, table: TableSlot, cursor: u64, budget: usize, mut visit: impl FnMut(StoredCell)) -> Option<u64> {
        let mut cursor = cursor;
        let mut seen = 0;
        loop {
            cursor = self.walk_window(&index.pages, table, cursor, budget - seen, |cell| {
                seen += 1;
                visit(cell);
            })?;
            if seen >= budget {
                return Some(cursor);
            }
        }
    }

    /// Visits the cells of some lines of one leaf, those whose home lines hold about `budget` cells.
    fn walk_window(&self, pages: &Pages, table: TableSlot, cursor: u64, budget: usize, mut visit: impl FnMut(StoredCell)) -> Option<u64> {
        if cursor >= END {
            return None;
        }
        let directory = Directory::open(pages, self.root(table))?;
        let hash = cursor << (64 - ORDER_BITS);
        let leaf = directory.leaf(pages, hash);
        let lines = leaf.lines();
        let first = leaf.home(hash);
        let end = lines.min(first + (budget / LINE_CELLS).max(1));
        let next = leaf.order_of_line(hash, end);
        for step in 0..lines {
            let line = (first + step) % lines;
            let at = leaf.line_at(pages, line);
            let words = pages.line(at);
            for (number, word) in words.into_iter().enumerate() {
                let cell = StoredCell { word, extra: pages.half(extra_at(at + 8 * number)) };
                if cell::is_live(word) && (cursor..next).contains(&cell.order()) {
                    visit(cell);
                }
            }
            if first + step + 1 >= end && words.contains(&EMPTY) {
                break;
            }
        }
        (next < END).then_some(next)
    }
}

const _: () = assert!(ORDER_BITS < 64 && TAG_BITS == 16);
