//! How often keys were asked for: two bits for each cell, beside the pages and not in them, so that a read dirties no page of the file.
//!
//! A counter belongs to the place of a cell, so no two keys share one: with counters found by a hash, keys that nobody asks for borrow the
//! heat of others, which costs 4 to 40 % more misses at the same memory. A leaf that is rebuilt takes its counters along; a cell that is
//! filled anew starts with 0; a restart forgets all of them.
//!
//! Invariants:
//! - Nothing is counted, and no memory taken, until it is switched on.
//! - Counters are hints: those who change neighbours at once may undo each other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};

use super::layout::{LINE, LINE_CELLS, PAGE, PAGE_LINES};

/// Counters count to this.
const MOST: u8 = 3;
/// Pages whose counters are allocated together: some 84 KiB of them.
const CHUNK: usize = 1 << 11;

/// The counters of a line of cells.
type Lines = Box<[AtomicU16]>;

/// The counters of all pages.
#[derive(Debug)]
pub(super) struct Uses {
    on: AtomicBool,
    pages: usize,
    chunks: OnceLock<Box<[OnceLock<Lines>]>>,
}

const _: () = assert!(2 * LINE_CELLS == u16::BITS as usize);

impl Uses {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { on: AtomicBool::new(false), pages: max_bytes.div_ceil(PAGE), chunks: OnceLock::new() }
    }

    pub(super) fn switch(&self, on: bool) {
        self.on.store(on, Relaxed);
    }

    #[inline(always)]
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// The counters of the line of a cell's word, and by how much the cell's is shifted.
    #[inline]
    fn place(&self, at: usize) -> (&AtomicU16, u32) {
        let chunks = self.chunks.get_or_init(|| (0..self.pages.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect());
        let page = at / PAGE;
        let lines = chunks[page / CHUNK].get_or_init(|| (0..CHUNK * PAGE_LINES).map(|_| AtomicU16::new(0)).collect());
        let line = at % PAGE / LINE;
        (&lines[page % CHUNK * PAGE_LINES + line], 2 * (at % LINE / 8) as u32)
    }

    /// The count of the cell whose word is at this offset.
    #[inline]
    pub(super) fn get(&self, at: usize) -> u8 {
        if !self.is_on() {
            return 0;
        }
        let (line, shift) = self.place(at);
        (line.load(Relaxed) >> shift) as u8 & MOST
    }

    /// Sets it, to 3 at most.
    #[inline]
    pub(super) fn set(&self, at: usize, count: u8) {
        if !self.is_on() {
            return;
        }
        let (line, shift) = self.place(at);
        let counters = line.load(Relaxed);
        let changed = counters & !(u16::from(MOST) << shift) | u16::from(count.min(MOST)) << shift;
        // A key that is asked for all the time costs no store.
        if changed != counters {
            line.store(changed, Relaxed);
        }
    }

    /// Adds to it.
    #[inline]
    pub(super) fn add(&self, at: usize, times: u8) {
        self.set(at, self.get(at).saturating_add(times));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_count_to_three_and_apart() {
        let uses = Uses::new(1 << 30);
        let cell = |page: usize, number: usize| page * PAGE + 8 * number;
        uses.add(cell(7, 0), 1);
        assert_eq!(uses.get(cell(7, 0)), 0, "switched off");
        uses.switch(true);
        for (page, number, times) in [(700, 0, 5), (700, 1, 1), (700, 7, 2), (700, 8, 3), (700, 167, 1), (701, 0, 2), (9000, 0, 1)] {
            (0..times).for_each(|_| uses.add(cell(page, number), 1));
        }
        let counts = [(700, 0), (700, 1), (700, 2), (700, 7), (700, 8), (700, 167), (701, 0), (9000, 0)];
        assert_eq!(counts.map(|(page, number)| uses.get(cell(page, number))), [3, 1, 0, 2, 3, 1, 2, 1]);
        uses.set(cell(700, 0), 0);
        uses.set(cell(700, 1), 9);
        assert_eq!(counts.map(|(page, number)| uses.get(cell(page, number))), [0, 3, 0, 2, 3, 1, 2, 1]);
    }
}
