//! How many cells point into each segment: what cleaning chooses by.
//!
//! Kept in anonymous memory. After a start the cells that are there are counted in the background, in pieces; until a cell was counted,
//! its leaving counts nothing. A segment written since gets its cells in one sum when it is sealed, so that a write costs one addition.
//!
//! Invariants:
//! - Figures are hints: an error makes cleaning choose badly, never wrongly. They are exact for sealed segments once all cells have been
//!   counted, but for cells that came and went before that.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Index;
use super::stripe::{Stripe, TableSlot};
use crate::types::{KeyHash, Location, STRIPES, SegmentId};

use super::cell::order;
use super::layout::TABLE_SLOTS;

/// Cells by segment id; differences are added before what they are taken from, so a figure may be below zero for a while.
#[derive(Debug)]
pub(super) struct LiveCells {
    /// Made when first used: a shard with few segments has one.
    chunks: Box<[OnceLock<Box<[AtomicU32]>>]>,
}

/// Segments of a chunk.
const CHUNK: usize = 1 << 10;

impl LiveCells {
    pub(super) fn new() -> Self {
        Self { chunks: (0..(1 << Location::SEGMENT_BITS) / CHUNK).map(|_| OnceLock::new()).collect() }
    }

    #[inline]
    fn count(&self, segment: SegmentId) -> &AtomicU32 {
        let chunk = self.chunks[segment.0 as usize / CHUNK].get_or_init(|| (0..CHUNK).map(|_| AtomicU32::new(0)).collect());
        &chunk[segment.0 as usize % CHUNK]
    }

    #[inline]
    pub(super) fn add(&self, segment: SegmentId, cells: i32) {
        self.count(segment).fetch_add(cells as u32, Ordering::Relaxed);
    }
}

/// Up to where the cells of a stripe have been counted: all of the tables below `table`, of it those below `order`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CountedTo {
    pub(super) table: usize,
    pub(super) order: u64,
}

impl CountedTo {
    #[inline]
    pub(super) fn includes(self, table: TableSlot, hash: KeyHash) -> bool {
        table.number() < self.table || (table.number() == self.table && order(hash) < self.order)
    }
}

impl Index {
    /// Cells that point into a segment, as far as they have been counted.
    #[must_use]
    pub fn live_cells(&self, segment: SegmentId) -> u64 {
        u64::try_from(self.live.count(segment).load(Ordering::Relaxed) as i32).unwrap_or(0)
    }

    /// A segment was sealed, and `cells` cells were pointed into it since it began.
    pub(crate) fn add_live_cells(&self, segment: SegmentId, cells: u32) {
        self.live.add(segment, cells as i32);
    }

    /// A segment is gone: its id can be used again.
    pub(crate) fn forget_live_cells(&self, segment: SegmentId) {
        self.live.count(segment).store(0, Ordering::Relaxed);
    }

    /// There was no segment whose cells are to be counted: from here on each that leaves is.
    pub(crate) fn nothing_to_count(&self) {
        for number in 0..STRIPES {
            self.stripe(number).write().set_counted_to(CountedTo { table: TABLE_SLOTS, order: 0 });
        }
    }

    /// Counts about `budget` more cells that were there at the start; `counts` says of which. Returns false when all have been.
    pub(crate) fn count_live_cells(&self, budget: usize, counts: impl Fn(Location) -> bool) -> bool {
        for number in 0..STRIPES {
            let mut stripe = self.stripe(number).write();
            if stripe.counted_to().table < TABLE_SLOTS {
                stripe.count_live_cells(self, budget, &counts);
                return true;
            }
        }
        false
    }
}

impl Stripe {
    fn count_live_cells(&mut self, index: &Index, budget: usize, counts: &impl Fn(Location) -> bool) {
        let CountedTo { mut table, mut order } = self.counted_to();
        let mut cells = Vec::new();
        while table < TABLE_SLOTS && cells.len() < budget {
            let slot = TableSlot::new(table as u8).expect("below the number of tables");
            match self.cells_from(index, slot, order, budget - cells.len(), &mut cells) {
                Some(next) => order = next,
                None => (table, order) = (table + 1, 0),
            }
        }
        for location in cells.iter().map(|cell| cell.location).filter(|location| counts(*location)) {
            index.live.add(location.segment(), 1);
        }
        self.set_counted_to(CountedTo { table, order });
    }
}
