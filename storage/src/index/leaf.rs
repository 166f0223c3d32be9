//! A leaf: 1 to 7 pages of cells, found by lines of 8.
//!
//! The 16 hash bits after the leaf's prefix choose a cell's home line, so lines stand in hash order. A cell lies in its home
//! line or in one of the next, with wrap-around; a search ends at the first line that holds an empty word.
//!
//! Invariants:
//! - A line without an empty word never gets one again before the leaf is rebuilt (a delete there leaves `DELETED`), so no
//!   search ends before a cell that had to pass that line.
//! - At least one word of a leaf is empty.
//! - Cells never move; a leaf is replaced as a whole (see `grow`).

use super::cell::{self, DELETED, EMPTY};
use super::directory::{Entry, unpack};
use super::layout::{
    COUNTS_AT, ENTRY_PAGES_AT, EXTRAS_AT, LEAF_PAGES, LINE, LINE_CELLS, ORDER_BITS, PAGE, PAGE_CELLS, PAGE_FULL, PAGE_LINES, page_at,
};
use super::pages::Pages;
use super::stripe::CellRef;
use crate::types::Location;

/// A leaf as a lookup needs it: where its directory entry is, and what its first half says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    /// Offset of the directory entry.
    pub entry: usize,
    /// Hash bits that all keys of the leaf share.
    pub depth: u32,
    /// Number of pages.
    pub pages: usize,
}

/// How full a leaf is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Cells that are not empty: live or deleted.
    pub used: u32,
    /// Cells that belong to a key.
    pub live: u32,
}

impl Counts {
    /// Decodes the counts word.
    pub fn from_word(word: u64) -> Self {
        Self { used: word as u32, live: (word >> 32) as u32 }
    }

    /// The counts word.
    pub fn to_word(self) -> u64 {
        u64::from(self.live) << 32 | u64::from(self.used)
    }
}

/// A cell that can take a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct FreeCell {
    /// Offset of its word.
    pub at: usize,
    /// `EMPTY` or `DELETED`.
    pub word: u64,
}

impl Leaf {
    /// The leaf of the directory entry at this offset.
    #[inline(always)]
    pub fn at(pages: &Pages, entry: usize) -> Self {
        let (depth, len) = unpack(pages.half(entry));
        Self { entry, depth, pages: len }
    }

    /// Number of lines.
    #[inline(always)]
    pub fn lines(&self) -> usize {
        self.pages * PAGE_LINES
    }

    /// Used cells from which on the leaf grows.
    #[inline(always)]
    pub fn full(&self) -> u32 {
        (self.pages * PAGE_FULL) as u32
    }

    /// Home line of a hash.
    #[inline(always)]
    pub fn home(&self, hash: u64) -> usize {
        home(hash, self.depth, self.lines())
    }

    /// Offset of a line.
    #[inline(always)]
    pub fn line_at(&self, pages: &Pages, line: usize) -> usize {
        let page = pages.half(self.entry + ENTRY_PAGES_AT + 4 * (line / PAGE_LINES));
        page_at(page) + LINE * (line % PAGE_LINES)
    }

    /// Offset of the leaf's counts.
    #[inline(always)]
    pub fn counts_at(&self, pages: &Pages) -> usize {
        page_at(pages.half(self.entry + ENTRY_PAGES_AT)) + COUNTS_AT
    }

    /// The order from which on cells of the leaf of `hash` have their home in `line` or later.
    pub fn order_of_line(&self, hash: u64, line: usize) -> u64 {
        let prefix = (hash >> 1) >> (63 - self.depth);
        let position = (line as u64 * (1 << 16)).div_ceil(self.lines() as u64);
        (prefix << (ORDER_BITS - self.depth)) + (position << (ORDER_BITS - 16 - self.depth))
    }

    /// Finds the cell of a key. `is_key` tells whether the op at a location is that key's; it is asked only for cells whose
    /// tag is right, which one in thousands is by chance.
    #[inline(always)]
    pub fn find<E>(&self, pages: &Pages, hash: u64, mut is_key: impl FnMut(Location) -> Result<bool, E>) -> Result<Option<CellRef>, E> {
        let tag = cell::tag_in_word(hash);
        let lines = self.lines();
        let mut line = self.home(hash);
        for _ in 0..lines {
            let at = self.line_at(pages, line);
            let (mut matching, empty) = scan(pages, at, tag);
            while matching != 0 {
                let cell = at + 8 * matching.trailing_zeros() as usize;
                let location = cell::location(pages.word(cell));
                if is_key(location)? {
                    return Ok(Some(CellRef::new(location, cell, self.counts_at(pages))));
                }
                matching &= matching - 1;
            }
            if empty {
                return Ok(None);
            }
            line = if line + 1 == lines { 0 } else { line + 1 };
        }
        Ok(None)
    }

    /// The location in the first cell of the home line that has the tag of a hash. The leaf may be out of date: nothing is taken for granted.
    #[inline(always)]
    pub fn guess(&self, pages: &Pages, hash: u64) -> Option<Location> {
        let line = self.home(hash);
        let page = pages.half(self.entry + ENTRY_PAGES_AT + 4 * (line / PAGE_LINES));
        if !pages.contains(page) {
            return None;
        }
        let at = page_at(page) + LINE * (line % PAGE_LINES);
        let (matching, _) = scan(pages, at, cell::tag_in_word(hash));
        (matching != 0).then(|| cell::location(pages.word(at + 8 * matching.trailing_zeros() as usize)))
    }

    /// The first free cell for a hash; `None` only when no cell is free.
    #[inline]
    pub fn free_cell(&self, pages: &Pages, hash: u64) -> Option<FreeCell> {
        let lines = self.lines();
        let mut line = self.home(hash);
        for _ in 0..lines {
            let at = self.line_at(pages, line);
            // As in `scan`: which cell is free is anyone's guess, so there is one branch a line and not eight.
            let free = (0..LINE_CELLS).fold(0, |free, number| {
                let word = pages.word(at + 8 * number);
                free | u32::from(!cell::is_live(word)) << number
            });
            if free != 0 {
                let at = at + 8 * free.trailing_zeros() as usize;
                return Some(FreeCell { at, word: pages.word(at) });
            }
            line = if line + 1 == lines { 0 } else { line + 1 };
        }
        None
    }
}

/// Home line of a hash in a leaf of this depth and size.
#[inline(always)]
pub(super) fn home(hash: u64, depth: u32, lines: usize) -> usize {
    let position = ((hash << depth) >> 48) as usize;
    (position * lines) >> 16
}

/// Which words of a line are live and have the tag, as bits, and whether one is empty. Without branches: they would be guesses.
#[inline(always)]
fn scan(pages: &Pages, at: usize, tag: u64) -> (u32, bool) {
    let mut matching = 0;
    let mut empty = false;
    for number in 0..LINE_CELLS {
        let word = pages.word(at + 8 * number);
        // Right tag and a location other than 0: the difference to the bare tag is a location.
        let live = (word ^ tag).wrapping_sub(1) < DELETED - 1;
        matching |= u32::from(live) << number;
        empty |= word == EMPTY;
    }
    (matching, empty)
}

/// The word that a deleted cell gets, given the offset of its word.
pub(super) fn word_after_delete(pages: &Pages, at: usize) -> u64 {
    let line = at - at % LINE;
    if pages.line(line).contains(&EMPTY) { EMPTY } else { DELETED }
}

/// Offset of the extra of the cell whose word is at `at`.
#[inline(always)]
pub(super) fn extra_at(at: usize) -> usize {
    let page = at - at % PAGE;
    page + EXTRAS_AT + (at % PAGE) / 2
}

/// Calls `visit` with word, extra and uses of every live cell of a leaf, line by line.
#[inline]
pub(super) fn each_cell(pages: &Pages, entry: &Entry, mut visit: impl FnMut(u64, u32, u8)) {
    for page in entry.pages() {
        let base = page_at(*page);
        for number in 0..PAGE_CELLS {
            let at = base + 8 * number;
            let word = pages.word(at);
            if cell::is_live(word) {
                visit(word, pages.half(extra_at(at)), pages.uses.get(at));
            }
        }
    }
}

/// Builds a leaf in fresh pages, which nobody sees before the directory names them.
pub(super) struct Builder<'a> {
    pages: &'a Pages,
    entry: Entry,
    filled: [u8; LEAF_PAGES * PAGE_LINES],
    live: u32,
}

impl<'a> Builder<'a> {
    /// Starts a leaf.
    pub fn new(pages: &'a Pages, entry: Entry) -> Self {
        Self { pages, entry, filled: [0; LEAF_PAGES * PAGE_LINES], live: 0 }
    }

    /// Adds a cell whose key was asked for so often.
    #[inline]
    pub fn push(&mut self, word: u64, extra: u32, uses: u8) {
        let lines = self.entry.pages().len() * PAGE_LINES;
        let mut line = home(cell::hash(word, extra), self.entry.depth, lines);
        while usize::from(self.filled[line]) == LINE_CELLS {
            line = if line + 1 == lines { 0 } else { line + 1 };
        }
        let at = self.cell_at(line, usize::from(self.filled[line]));
        self.filled[line] += 1;
        self.live += 1;
        self.pages.set_half(extra_at(at), extra);
        self.pages.set_word(at, word);
        self.pages.uses.set(at, uses);
    }

    /// Empties the cells that were not filled, writes the counts, and returns the directory entry.
    pub fn finish(self) -> Entry {
        for line in 0..self.entry.pages().len() * PAGE_LINES {
            for number in usize::from(self.filled[line])..LINE_CELLS {
                self.pages.set_word(self.cell_at(line, number), EMPTY);
            }
        }
        let counts = Counts { used: self.live, live: self.live };
        self.pages.set_word(page_at(self.entry.pages()[0]) + COUNTS_AT, counts.to_word());
        self.entry
    }

    #[inline]
    fn cell_at(&self, line: usize, number: usize) -> usize {
        page_at(self.entry.pages()[line / PAGE_LINES]) + LINE * (line % PAGE_LINES) + 8 * number
    }
}
