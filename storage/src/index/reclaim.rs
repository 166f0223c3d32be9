//! Dropped tables, whose pages return to the allocator in bounded steps.
//!
//! Invariants:
//! - A dropped table is no longer named by any root, so a restart finds its pages free: nothing of this list is on disk.
//! - Its directory stays allocated until all its leaves are released, so it can be walked.

use super::cell;
use super::directory::{Directory, Entry};
use super::layout::{ROOT_COUNTERS_AT, ROOT_INLINE_AT};
use super::leaf::each_cell;
use super::live::{CountedTo, LiveCells};
use super::pages::Pages;
use super::stripe::TableSlot;
use crate::types::{KeyHash, Location};

/// A table of a stripe that was dropped.
#[derive(Debug)]
pub(super) struct Dropped {
    directory: Directory,
    /// The inline entry, copied because a new table may use the root.
    inline: Option<Entry>,
    counters: u32,
    next: usize,
    table: Option<TableSlot>,
    counted: CountedTo,
}

impl Dropped {
    /// Takes a table out of its root; `None` if there is none.
    pub fn take(pages: &Pages, root: usize) -> Option<Self> {
        let directory = Directory::open(pages, root)?;
        let inline = if directory.page == 0 { Entry::load(pages, root + ROOT_INLINE_AT) } else { None };
        let counters = pages.half(root + ROOT_COUNTERS_AT);
        Directory::withdraw(pages, root);
        Some(Self { directory, inline, counters, next: 0, table: None, counted: CountedTo::default() })
    }

    /// Notes which of its cells count as live ones, until they are released.
    pub fn counted_to(self, table: TableSlot, counted: CountedTo) -> Self {
        Self { table: Some(table), counted, ..self }
    }

    fn leave(&self, pages: &Pages, entry: &Entry, live: &LiveCells, visit: &mut dyn FnMut(Location)) {
        let Some(table) = self.table else { return };
        each_cell(pages, entry, |word, extra, _| {
            visit(cell::location(word));
            if self.counted.includes(table, KeyHash(cell::hash(word, extra))) {
                live.add(cell::location(word).segment(), -1);
            }
        });
    }

    /// Releases pages of about `budget` leaves. Returns the number of leaves seen, and whether nothing is left.
    pub fn release(&mut self, pages: &Pages, live: &LiveCells, budget: usize, visit: &mut dyn FnMut(Location)) -> (usize, bool) {
        let mut seen = 0;
        while self.next < self.directory.len() {
            if seen == budget {
                return (seen, false);
            }
            let number = self.next;
            let entry = match self.inline {
                Some(entry) => Some(entry),
                None => Entry::load(pages, self.directory.entry_at(number)),
            };
            let entry = entry.expect("entries were checked at open, and are only replaced");
            self.leave(pages, &entry, live, visit);
            pages.release(entry.pages().iter().copied());
            self.next += 1 << (self.directory.depth - entry.depth);
            seen += 1;
        }
        let run = self.directory.page..self.directory.page + self.directory.run();
        pages.release(run.chain([self.counters]));
        (seen + 1, true)
    }
}
