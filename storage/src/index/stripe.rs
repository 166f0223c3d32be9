//! A stripe: 64 neighbouring slots under one lock, with their part of every table.
//!
//! Invariants:
//! - `applied` is the LSN of the last entry whose ops on this stripe's keys are all in it; the caller sets it after them, so it
//!   never exceeds what the log holds.
//! - Slot counters and totals equal what the cells' records add up to, at every instant at which the process can be killed
//!   (an open intent counts as undone).
//! - Reading never stores: a lookup dirties no page.

use super::cell::{self, EMPTY};
use super::counters::{CounterChange, SlotCounters};
use super::directory::{Directory, Entry};
use super::grow::{self, Place};
use super::intent::Intent;
use super::layout::{
    APPLIED_AT, COUNTERS, LAST_DELETE_AT, PAGE_CELLS, ROOT, ROOT_COUNTERS_AT, ROOT_EXPIRES_AT, ROOT_KEYS_AT, ROOTS_AT, STRIPE_SLOTS,
    TABLE_SLOTS, page_at, stripe_at,
};
use super::leaf::{Builder, Counts, Leaf, extra_at, word_after_delete};
use super::live::CountedTo;
use super::pages::Pages;
use super::reclaim::Dropped;
use super::{Index, IndexError};
use crate::types::{KeyHash, Location, Lsn, Slot};

/// One of the tables that can exist at once. Which database it serves is the header's [`TableMap`](super::TableMap).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableSlot(u8);

impl TableSlot {
    /// The slot with this number, which must be below [`TABLE_SLOTS`].
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (usize::from(number) < TABLE_SLOTS).then_some(Self(number))
    }

    /// All slots.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE_SLOTS as u8).map(Self)
    }

    /// The number.
    #[inline]
    #[must_use]
    pub fn number(self) -> usize {
        usize::from(self.0)
    }
}

/// A key's cell, as found by [`Stripe::lookup`]. Good until the stripe's lock is released or the stripe is next changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellRef {
    location: Location,
    at: usize,
    counts: usize,
}

impl CellRef {
    #[inline(always)]
    pub(super) fn new(location: Location, at: usize, counts: usize) -> Self {
        Self { location, at, counts }
    }

    /// Offset of its word.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Where the key's newest op lies.
    #[inline]
    #[must_use]
    pub fn location(&self) -> Location {
        self.location
    }
}

/// One of the 256 stripes. Reached through [`Index::stripe`]: a read guard finds, a write guard changes.
#[derive(Debug)]
pub struct Stripe {
    number: usize,
    /// Whose cells count in the figures of live cells a segment.
    counted: CountedTo,
    /// The last entry that the absence of keys tells of that were removed as expired. Not kept across a restart.
    expired: Lsn,
}

/// A change of one cell with all that goes with it.
struct Change {
    cell: usize,
    old: u64,
    new: u64,
    /// Offset of the leaf's counts, and the counts before and after.
    counts: Option<(usize, Counts, Counts)>,
}

impl Stripe {
    pub(super) fn new(number: usize) -> Self {
        Self { number, counted: CountedTo::default(), expired: Lsn(0) }
    }

    /// Its number: the slots it holds, divided by 64.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    pub(super) fn counted_to(&self) -> CountedTo {
        self.counted
    }

    pub(super) fn set_counted_to(&mut self, counted: CountedTo) {
        self.counted = counted;
    }

    /// A cell ceases to point to a location.
    #[inline(always)]
    fn leave(&self, index: &Index, table: TableSlot, hash: KeyHash, location: Location) {
        if self.counted.includes(table, hash) {
            index.live.add(location.segment(), -1);
        }
    }

    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        stripe_at(self.number)
    }

    #[inline(always)]
    pub(super) fn root(&self, table: TableSlot) -> usize {
        self.at() + ROOTS_AT + ROOT * table.number()
    }

    #[inline]
    pub(super) fn place<'a>(&self, pages: &'a Pages, table: TableSlot) -> Place<'a> {
        Place { pages, stripe: self.at(), root: self.root(table) }
    }

    /// Finds a key. `is_key` says whether the op at a location is of that key; its errors end the search.
    #[inline]
    pub fn lookup<E>(
        &self,
        index: &Index,
        table: TableSlot,
        hash: KeyHash,
        is_key: impl FnMut(Location) -> Result<bool, E>,
    ) -> Result<Option<CellRef>, E> {
        match Directory::open(&index.pages, self.root(table)) {
            Some(directory) => directory.leaf(&index.pages, hash.0).find(&index.pages, hash.0, is_key),
            None => Ok(None),
        }
    }

    /// Points a key at a new location. `at` is what a lookup under the same lock gave: the cell to change, or `None` for a key
    /// that is not there. Only a new key can fail, and only for want of space (see [`Index::reserve`]).
    #[inline]
    #[allow(clippy::too_many_arguments, reason = "a struct for one call would only rename them")]
    pub fn put(
        &mut self,
        index: &Index,
        table: TableSlot,
        hash: KeyHash,
        slot: Slot,
        at: Option<CellRef>,
        location: Location,
        change: &CounterChange,
    ) -> Result<(), IndexError> {
        debug_assert_eq!(slot.stripe(), self.number);
        match at {
            Some(at) => {
                self.leave(index, table, hash, at.location);
                self.replace(&index.pages, table, slot, at, location, change);
                Ok(())
            }
            None => self.insert(&index.pages, table, hash, slot, location, change),
        }
    }

    #[inline]
    fn replace(&mut self, pages: &Pages, table: TableSlot, slot: Slot, at: CellRef, location: Location, change: &CounterChange) {
        let old = pages.word(at.at);
        assert!(cell::location(old) == at.location, "a cell reference outlived its lock");
        let new = cell::with_location(old, location);
        self.apply(pages, table, slot, Change { cell: at.at, old, new, counts: None }, change);
    }

    fn insert(
        &mut self,
        pages: &Pages,
        table: TableSlot,
        hash: KeyHash,
        slot: Slot,
        location: Location,
        change: &CounterChange,
    ) -> Result<(), IndexError> {
        let leaf = self.leaf_with_room(pages, table, hash.0)?;
        let counts_at = leaf.counts_at(pages);
        let old = Counts::from_word(pages.word(counts_at));
        let free = leaf.free_cell(pages, hash.0).expect("a leaf always has an empty cell");
        let new = Counts { used: old.used + u32::from(free.word == EMPTY), live: old.live + 1 };
        // The extra of a free cell means nothing, so it needs no intent.
        pages.set_half(extra_at(free.at), cell::extra(hash.0, slot));
        let word = cell::tag_in_word(hash.0) | location.bits();
        let cell = Change { cell: free.at, old: free.word, new: word, counts: Some((counts_at, old, new)) };
        pages.uses.set(free.at, 0);
        self.apply(pages, table, slot, cell, change);
        Ok(())
    }

    /// Takes a key out. `hash` is the key's, `at` what a lookup under the same lock gave.
    pub fn remove(&mut self, index: &Index, table: TableSlot, hash: KeyHash, slot: Slot, at: CellRef, change: &CounterChange) {
        debug_assert_eq!(slot.stripe(), self.number);
        let pages = &index.pages;
        let old = pages.word(at.at);
        assert!(cell::location(old) == at.location, "a cell reference outlived its lock");
        let new = word_after_delete(pages, at.at);
        let before = Counts::from_word(pages.word(at.counts));
        let after = Counts { used: before.used - u32::from(new == EMPTY), live: before.live - 1 };
        let cell = Change { cell: at.at, old, new, counts: Some((at.counts, before, after)) };
        self.leave(index, table, hash, at.location);
        self.apply(pages, table, slot, cell, change);
        self.shrink_if_sparse(pages, table, hash.0, after.live);
    }

    /// Carries out a change under an intent.
    #[inline(always)]
    fn apply(&mut self, pages: &Pages, table: TableSlot, slot: Slot, cell: Change, change: &CounterChange) {
        if cell.counts.is_none() && change.is_zero() {
            pages.set_word(cell.cell, cell.new);
            return;
        }
        let root = self.root(table);
        let mut intent = Intent::new(pages, self.at(), cell.cell, cell.old);
        if let Some((at, old, _)) = cell.counts {
            intent.save_leaf(at, old.to_word());
        }
        let counters_at = Self::counters_at(pages, root, slot);
        let counters = SlotCounters::load(pages, counters_at);
        intent.save_counters(counters_at, counters);
        let totals =
            (change.keys != 0 || change.expires != 0).then(|| (pages.word(root + ROOT_KEYS_AT), pages.word(root + ROOT_EXPIRES_AT)));
        if let Some((keys, expires)) = totals {
            intent.save_totals(table.number(), keys, expires);
        }
        intent.open();
        pages.set_word(cell.cell, cell.new);
        if let Some((at, _, new)) = cell.counts {
            pages.set_word(at, new.to_word());
        }
        counters.changed(change).store(pages, counters_at);
        if let Some((keys, expires)) = totals {
            pages.set_word(root + ROOT_KEYS_AT, keys.wrapping_add_signed(change.keys.into()));
            pages.set_word(root + ROOT_EXPIRES_AT, expires.wrapping_add_signed(change.expires.into()));
        }
        intent.close();
    }

    #[inline(always)]
    pub(super) fn counters_at(pages: &Pages, root: usize, slot: Slot) -> usize {
        page_at(pages.half(root + ROOT_COUNTERS_AT)) + COUNTERS * (usize::from(slot.0) % STRIPE_SLOTS)
    }

    /// The leaf of a hash, with at least one cell to spare; makes the table if it is absent.
    #[inline]
    pub(super) fn leaf_with_room(&mut self, pages: &Pages, table: TableSlot, hash: u64) -> Result<Leaf, IndexError> {
        if let Some(directory) = Directory::open(pages, self.root(table)) {
            let leaf = directory.leaf(pages, hash);
            if Self::used(pages, &leaf) < leaf.full() {
                return Ok(leaf);
            }
        }
        self.make_room(pages, table, hash)
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, pages: &Pages, table: TableSlot, hash: u64) -> Result<Leaf, IndexError> {
        loop {
            let Some(directory) = Directory::open(pages, self.root(table)) else {
                self.make_table(pages, table)?;
                continue;
            };
            let leaf = directory.leaf(pages, hash);
            let used = Self::used(pages, &leaf);
            if used < leaf.full() {
                return Ok(leaf);
            }
            match grow::make_room(self.place(pages, table), directory, hash) {
                Ok(()) => {}
                // A leaf is full at 7/8 only for speed: an op that is in the log already goes into the rest.
                Err(_) if (used as usize) + 1 < leaf.pages * PAGE_CELLS => {
                    return Ok(Directory::open(pages, self.root(table)).unwrap_or(directory).leaf(pages, hash));
                }
                Err(error) => return Err(error),
            }
        }
    }

    #[inline(always)]
    fn used(pages: &Pages, leaf: &Leaf) -> u32 {
        Counts::from_word(pages.word(leaf.counts_at(pages))).used
    }

    /// Makes an empty table: a leaf of one page, and the slots' counters.
    pub(super) fn make_table(&mut self, pages: &Pages, table: TableSlot) -> Result<(), IndexError> {
        let root = self.root(table);
        let mut fresh = [0; 2];
        pages.allocate(&mut fresh)?;
        let leaf = Builder::new(pages, Entry::new(0, &fresh[..1])).finish();
        for slot in 0..STRIPE_SLOTS {
            SlotCounters::default().store(pages, page_at(fresh[1]) + COUNTERS * slot);
        }
        pages.set_half(root + ROOT_COUNTERS_AT, fresh[1]);
        pages.set_word(root + ROOT_KEYS_AT, 0);
        pages.set_word(root + ROOT_EXPIRES_AT, 0);
        let directory = Directory::from_word(0, root);
        Entry::store_words(pages, directory.at, leaf.to_words());
        directory.publish(pages, root);
        Ok(())
    }

    fn shrink_if_sparse(&mut self, pages: &Pages, table: TableSlot, hash: u64, live: u32) {
        let Some(directory) = Directory::open(pages, self.root(table)) else { return };
        let leaf = directory.leaf(pages, hash);
        // Once in 8 deletes is enough, and keeps a leaf that cannot shrink from trying every time.
        if live.is_multiple_of(8) && grow::is_sparse(live, leaf.pages) {
            // Without room for the smaller leaf the larger one stays.
            let _ = grow::shrink(self.place(pages, table), directory, hash);
        }
    }

    /// Drops this stripe's part of a table, in one store. Its pages come back through [`Index::reclaim`].
    pub fn clear_table(&mut self, index: &Index, table: TableSlot) {
        let root = self.root(table);
        if let Some(dropped) = Dropped::take(&index.pages, root) {
            index.dropped.lock().push(dropped.counted_to(table, self.counted));
        }
    }

    /// LSN of the last entry that is wholly in this stripe.
    #[inline]
    #[must_use]
    pub fn applied(&self, index: &Index) -> Lsn {
        Lsn(index.pages.word(self.at() + APPLIED_AT))
    }

    /// Sets the applied LSN, after all ops of that entry on this stripe.
    #[inline]
    pub fn set_applied(&mut self, index: &Index, lsn: Lsn) {
        super::pages::order_point();
        index.pages.set_word(self.at() + APPLIED_AT, lsn.0);
    }

    /// LSN of the entry that last deleted a key of this stripe.
    #[inline]
    #[must_use]
    pub fn last_delete(&self, index: &Index) -> Lsn {
        Lsn(index.pages.word(self.at() + LAST_DELETE_AT))
    }

    /// Sets the LSN of the last delete; before [`Stripe::set_applied`], so that replay repeats it.
    #[inline]
    pub fn set_last_delete(&mut self, index: &Index, lsn: Lsn) {
        index.pages.set_word(self.at() + LAST_DELETE_AT, lsn.0);
    }

    /// The last entry that the absence of keys tells of that were removed as expired since the index was opened.
    #[inline]
    #[must_use]
    pub fn last_expired(&self) -> Lsn {
        self.expired
    }

    /// Keys were removed as expired, which these entries, up to `lsn`, say.
    pub fn note_expired(&mut self, lsn: Lsn) {
        self.expired = self.expired.max(lsn);
    }

    /// Counters of one slot of a table.
    #[inline]
    #[must_use]
    pub fn slot_counters(&self, index: &Index, table: TableSlot, slot: Slot) -> SlotCounters {
        let root = self.root(table);
        match Directory::open(&index.pages, root) {
            Some(_) => SlotCounters::load(&index.pages, Self::counters_at(&index.pages, root, slot)),
            None => SlotCounters::default(),
        }
    }

    /// Sets the counters of a slot while an index is built; totals follow. Not safe against kill -9.
    pub fn set_slot_counters(&mut self, index: &Index, table: TableSlot, slot: Slot, counters: SlotCounters) -> Result<(), IndexError> {
        let (pages, root) = (&index.pages, self.root(table));
        if Directory::open(pages, root).is_none() {
            self.make_table(pages, table)?;
        }
        let at = Self::counters_at(pages, root, slot);
        let old = SlotCounters::load(pages, at);
        counters.store(pages, at);
        for (total, old, new) in [(ROOT_KEYS_AT, old.keys, counters.keys), (ROOT_EXPIRES_AT, old.expires, counters.expires)] {
            let value = pages.word(root + total).wrapping_sub(old.into()).wrapping_add(new.into());
            pages.set_word(root + total, value);
        }
        Ok(())
    }

    /// Keys of a table in this stripe.
    #[inline]
    #[must_use]
    pub fn table_keys(&self, index: &Index, table: TableSlot) -> u64 {
        index.total(self.number, table, ROOT_KEYS_AT)
    }

    /// Keys with an expiry of a table in this stripe.
    #[inline]
    #[must_use]
    pub fn table_expires(&self, index: &Index, table: TableSlot) -> u64 {
        index.total(self.number, table, ROOT_EXPIRES_AT)
    }
}
