//! The intent cells of a stripe: what makes a change of several words survive kill -9.
//!
//! ```text
//! undo    0 state: 0 closed, or OPEN and what is saved, table slot << 8 | 8 cell, 16 its word | 24 leaf counts, 32 their word
//!         40 counters, 64 their 4 words | 96 the root's keys and expires
//! growth  0 state: 0 closed, 1 open | 8 first entry, 16 entries of the first leaf, of the second << 32 | 64, 96 the entries
//! ```
//!
//! Invariants:
//! - Everything that an open undo intent names has the saved value or that of the interrupted change; [`undo`] restores all of
//!   it, so cell, leaf counts, slot counters and root counts never disagree.
//! - An open growth intent is carried out again: the pages that it names are complete, and pages it replaces are released only
//!   after it is closed.

use super::counters::SlotCounters;
use super::directory::Entry;
use super::layout::{ENTRY, ENTRY_WORDS, GROWTH_AT, INTENT_AT, ROOT, ROOT_EXPIRES_AT, ROOT_KEYS_AT, ROOTS_AT, TABLE_SLOTS};
use super::pages::{Pages, order_point};

const OPEN: u64 = 1;
const LEAF: u64 = 2;
const COUNTED: u64 = 4;
const TOTALS: u64 = 8;
const TABLE_SHIFT: u32 = 8;

/// An undo intent being written, then open.
pub(super) struct Intent<'a> {
    pages: &'a Pages,
    at: usize,
    state: u64,
}

impl<'a> Intent<'a> {
    /// Starts an intent in the stripe header at `stripe`, saving the word of a cell.
    #[inline(always)]
    pub fn new(pages: &'a Pages, stripe: usize, cell: usize, word: u64) -> Self {
        let at = stripe + INTENT_AT;
        pages.set_word(at + 8, cell as u64);
        pages.set_word(at + 16, word);
        Self { pages, at, state: OPEN }
    }

    /// Saves the counts word of a leaf.
    #[inline(always)]
    pub fn save_leaf(&mut self, counts: usize, word: u64) {
        self.pages.set_word(self.at + 24, counts as u64);
        self.pages.set_word(self.at + 32, word);
        self.state |= LEAF;
    }

    /// Saves the counters of a slot.
    #[inline(always)]
    pub fn save_counters(&mut self, counters: usize, old: SlotCounters) {
        self.pages.set_word(self.at + 40, counters as u64);
        old.store(self.pages, self.at + 64);
        self.state |= COUNTED;
    }

    /// Saves the totals of a table's root.
    #[inline(always)]
    pub fn save_totals(&mut self, table: usize, keys: u64, expires: u64) {
        self.pages.set_word(self.at + 96, keys);
        self.pages.set_word(self.at + 104, expires);
        self.state |= TOTALS | (table as u64) << TABLE_SHIFT;
    }

    /// From here on a kill undoes the change.
    #[inline(always)]
    pub fn open(&self) {
        order_point();
        self.pages.set_word(self.at, self.state);
        order_point();
    }

    /// From here on the change stands.
    #[inline(always)]
    pub fn close(self) {
        order_point();
        self.pages.set_word(self.at, 0);
        order_point();
    }
}

/// What an open found in the intent cells of a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Repairs {
    /// Changes undone.
    pub undone: u32,
    /// Growth steps finished.
    pub redone: u32,
}

/// Settles the open intents of a stripe. `in_file` says whether a range of bytes may be written. `Err` if they make no sense.
pub(super) fn settle(pages: &Pages, stripe: usize, in_file: impl Fn(usize, usize) -> bool) -> Result<Repairs, &'static str> {
    let undone = undo(pages, stripe, &in_file)?;
    let redone = redo(pages, stripe, &in_file)?;
    Ok(Repairs { undone, redone })
}

fn undo(pages: &Pages, stripe: usize, in_file: impl Fn(usize, usize) -> bool) -> Result<u32, &'static str> {
    let at = stripe + INTENT_AT;
    let state = pages.word(at);
    if state & OPEN == 0 {
        return Ok(0);
    }
    let target = |field: usize, len: usize| {
        let to = pages.word(at + field) as usize;
        if to.is_multiple_of(8) && in_file(to, len) { Ok(to) } else { Err("an intent points outside of the file") }
    };
    pages.set_word(target(8, 8)?, pages.word(at + 16));
    if state & LEAF != 0 {
        pages.set_word(target(24, 8)?, pages.word(at + 32));
    }
    if state & COUNTED != 0 {
        SlotCounters::load(pages, at + 64).store(pages, target(40, 32)?);
    }
    if state & TOTALS != 0 {
        let table = (state >> TABLE_SHIFT) as usize;
        if table >= TABLE_SLOTS {
            return Err("an intent names no table");
        }
        let root = stripe + ROOTS_AT + ROOT * table;
        pages.set_word(root + ROOT_KEYS_AT, pages.word(at + 96));
        pages.set_word(root + ROOT_EXPIRES_AT, pages.word(at + 104));
    }
    order_point();
    pages.set_word(at, 0);
    Ok(1)
}

/// Leaves that take the place of others: neighbouring directory entries from `first` on, `counts.0` times the first leaf, then
/// `counts.1` times the second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Switch {
    /// Offset of the first directory entry.
    pub first: usize,
    /// How many entries each leaf fills.
    pub counts: (usize, usize),
    /// The leaves; the second counts only if it fills an entry.
    pub leaves: (Entry, Entry),
}

impl Switch {
    /// Writes the directory entries so that a kill leaves all or none of them.
    pub fn carry_out(self, pages: &Pages, stripe: usize) {
        let at = stripe + GROWTH_AT;
        pages.set_word(at + 8, self.first as u64);
        pages.set_word(at + 16, (self.counts.1 as u64) << 32 | self.counts.0 as u64);
        let words = (self.leaves.0.to_words(), self.leaves.1.to_words());
        Entry::store_words(pages, at + 64, words.0);
        Entry::store_words(pages, at + 96, words.1);
        order_point();
        pages.set_word(at, OPEN);
        order_point();
        write_entries(pages, self.first, self.counts, words);
        order_point();
        pages.set_word(at, 0);
        order_point();
    }
}

fn redo(pages: &Pages, stripe: usize, in_file: impl Fn(usize, usize) -> bool) -> Result<u32, &'static str> {
    let at = stripe + GROWTH_AT;
    if pages.word(at) & OPEN == 0 {
        return Ok(0);
    }
    let first = pages.word(at + 8) as usize;
    let counts = (pages.word(at + 16) as u32 as usize, (pages.word(at + 16) >> 32) as usize);
    if !first.is_multiple_of(8) || !in_file(first, (counts.0 + counts.1) * ENTRY) {
        return Err("a growth intent points outside of the file");
    }
    write_entries(pages, first, counts, (Entry::words(pages, at + 64), Entry::words(pages, at + 96)));
    order_point();
    pages.set_word(at, 0);
    Ok(1)
}

fn write_entries(pages: &Pages, first: usize, counts: (usize, usize), words: ([u64; ENTRY_WORDS], [u64; ENTRY_WORDS])) {
    for number in 0..counts.0 + counts.1 {
        let words = if number < counts.0 { words.0 } else { words.1 };
        Entry::store_words(pages, first + ENTRY * number, words);
    }
}
