//! The index: where the newest record of each key lies. A file mapped into memory, derived from the log.
//!
//! 256 stripes by slot group, each under its own lock; in each stripe up to 32 tables; a table is an extendible-hashing
//! directory over leaves of 1 to 7 pages of 2 KiB; a leaf holds cells of 12 bytes. A lookup reads the table's root, a directory
//! entry, and one cache line of eight cell words. See `layout.rs` for the bytes.
//!
//! # The life of a key
//!
//! [`Stripe::lookup`] finds the cell, [`Stripe::put`] points it at a new location or fills a new one, [`Stripe::remove`]
//! takes it out. The caller compares keys, knows what a change does to the counters, and sets [`Stripe::set_applied`] when all
//! ops of an entry are in. A kill between any two stores leaves what was before the op, or what is after it.
//!
//! # Restart
//!
//! [`Index::open`] trusts the file only in the surroundings it was written in, undoes what a kill interrupted, and walks the
//! directories (not the cells) to see which pages are in use. Otherwise [`Index::create`] makes a new one, filled by
//! [`Stripe::load_cells`] from a checkpoint, and trusted from [`Index::trust`] on.
//!
//! Invariants:
//! - Pages are reachable from exactly one root entry, or free, or on the list of dropped tables.
//! - Cells never move in place: growth builds fresh leaves and then switches directory entries.
//! - Lock order: unlogged changes, stripes in ascending order, then the dropped list, then who grows the file, then the allocator.

mod bitmap;
mod cell;
mod counters;
#[cfg(test)]
mod crash;
mod directory;
mod error;
mod grow;
mod header;
mod intent;
mod iterate;
mod layout;
mod leaf;
mod live;
mod load;
mod open;
mod pages;
mod reclaim;
mod stripe;
mod tables;
#[cfg(test)]
mod tests;
mod uses;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock};

pub use cell::{StoredCell, order};
pub use counters::{CounterChange, SlotCounters};
pub use error::{Distrust, IndexError};
pub use header::{ExpiredMark, ReplayPosition, Trust};
pub use iterate::{Cell, STORED_CELL_BYTES};
pub use layout::{ORDER_BITS, TABLE_SLOTS};
pub use open::{Opened, Surroundings};
pub use stripe::{CellRef, Stripe, TableSlot};
pub use tables::TableMap;

use crate::fs::FileIdentity;
use crate::types::{DATABASES, Db, KeyHash, Location, Lsn, STRIPES, Slot};
use directory::Directory;
use header::Header;
use intent::Repairs;
use layout::{FILE_STEP, INTENT_AT, LEAF_PAGES, LINE, PAGE, PAGE_FULL, ROOT, ROOT_EXPIRES_AT, ROOT_KEYS_AT, ROOTS_AT, stripe_at};
use pages::Pages;
use reclaim::Dropped;

/// A lock of its own cache line, so that workers in neighbouring stripes do not slow each other down.
#[derive(Debug)]
#[repr(align(64))]
struct PaddedStripe(RwLock<Stripe>);

/// What a table with keys that expire has in a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolatilePart {
    /// All its keys there.
    pub keys: u64,
    /// Those that expire.
    pub expires: u64,
}

/// The memory-mapped index of a shard.
#[derive(Debug)]
pub struct Index {
    pages: Pages,
    stripes: Box<[PaddedStripe]>,
    dropped: Mutex<Vec<Dropped>>,
    /// Held while a record of the header is replaced.
    header: Mutex<()>,
    /// See [`Index::unlogged`].
    unlogged: Mutex<()>,
    /// LSN of the last eviction; a copy of what the header says.
    evicted: AtomicU64,
    identity: Option<FileIdentity>,
    repairs: Repairs,
    live: live::LiveCells,
}

impl Index {
    /// The lock of a stripe: `slot.stripe()`.
    #[inline]
    #[must_use]
    pub fn stripe(&self, number: usize) -> &RwLock<Stripe> {
        &self.stripes[number].0
    }

    /// Makes sure, before they are written to the log, that `puts` new keys find room. Without a lock as long as there is some.
    /// Growing the file ahead of need, with a larger number, keeps the allocation out of the writers' way.
    #[inline]
    pub fn reserve(&self, puts: usize) -> Result<(), IndexError> {
        self.pages.reserve(u32::try_from(Self::pages_for(puts)).unwrap_or(u32::MAX))
    }

    #[inline]
    fn pages_for(puts: usize) -> usize {
        // A put may make a table and replace a leaf; new leaves are no emptier than half. The margin covers what other writers
        // take between their reservation and their puts, and a directory that doubles.
        RESERVE_MARGIN + puts.div_ceil(PAGE_FULL / 2) + if puts == 0 { 0 } else { 2 * LEAF_PAGES + 2 }
    }

    /// Bytes by which the file is to grow soon; 0 while it has pages for a good many keys.
    pub(crate) fn next_growth(&self) -> u64 {
        if self.pages.free_bytes() < FILE_STEP / 2 { FILE_STEP as u64 } else { 0 }
    }

    /// Bytes by which [`reserve`](Self::reserve) would grow the file.
    pub(crate) fn growth_for(&self, puts: usize) -> u64 {
        (Self::pages_for(puts) * PAGE).saturating_sub(self.pages.free_bytes()).next_multiple_of(FILE_STEP) as u64
    }

    /// Releases pages of dropped tables, about `leaves` leaves of them. Returns whether more is left.
    pub fn reclaim(&self, leaves: usize) -> bool {
        self.reclaim_seeing(leaves, &mut |_| ())
    }

    /// The same; `visit` is given where each of their cells points.
    pub(crate) fn reclaim_seeing(&self, leaves: usize, visit: &mut dyn FnMut(Location)) -> bool {
        let mut dropped = self.dropped.lock();
        let mut budget = leaves;
        while let Some(table) = dropped.last_mut() {
            let (seen, done) = table.release(&self.pages, &self.live, budget, visit);
            if !done {
                return true;
            }
            dropped.pop();
            budget = budget.saturating_sub(seen);
            if budget == 0 {
                break;
            }
        }
        !dropped.is_empty()
    }

    /// Keys of a table. Takes no lock: a sum over stripes that may be changing.
    #[must_use]
    pub fn table_keys(&self, table: TableSlot) -> u64 {
        (0..STRIPES).map(|stripe| self.total(stripe, table, ROOT_KEYS_AT)).sum()
    }

    /// Keys of all databases, like [`Index::table_keys`].
    #[must_use]
    pub fn keys(&self) -> u64 {
        let tables = self.tables();
        (0..DATABASES).map(|db| self.table_keys(tables.slot(Db(db)))).sum()
    }

    /// Keys with an expiry of a table, like [`Index::table_keys`].
    #[must_use]
    pub fn table_expires(&self, table: TableSlot) -> u64 {
        (0..STRIPES).map(|stripe| self.total(stripe, table, ROOT_EXPIRES_AT)).sum()
    }

    /// What a table has in a stripe, if a key with an expiry is there. Takes no lock.
    #[must_use]
    pub fn volatile_part(&self, stripe: usize, table: TableSlot) -> Option<VolatilePart> {
        let expires = self.total(stripe, table, ROOT_EXPIRES_AT);
        (expires > 0).then(|| VolatilePart { keys: self.total(stripe, table, ROOT_KEYS_AT), expires })
    }

    #[inline]
    fn total(&self, stripe: usize, table: TableSlot, field: usize) -> u64 {
        let root = stripe_at(stripe) + ROOTS_AT + ROOT * table.number();
        if Directory::open(&self.pages, root).is_some() { self.pages.word(root + field) } else { 0 }
    }

    /// Hints that a key will be hinted at with [`Index::prefetch`], which reads the directory entry that this asks for.
    #[inline]
    pub fn prefetch_entry(&self, table: TableSlot, hash: KeyHash, slot: Slot) {
        let root = stripe_at(slot.stripe()) + ROOTS_AT + ROOT * table.number();
        if let Some(directory) = Directory::open(&self.pages, root) {
            self.pages.prefetch(directory.entry_at(directory.number(hash.0)));
        }
    }

    /// Hints that a key will be looked up. Needs no lock: a hint at a wrong place does no harm. A batch of lookups waits for
    /// memory once when all its keys are hinted at first.
    #[inline]
    pub fn prefetch(&self, table: TableSlot, hash: KeyHash, slot: Slot) {
        let root = stripe_at(slot.stripe()) + ROOTS_AT + ROOT * table.number();
        if let Some(directory) = Directory::open(&self.pages, root) {
            self.prefetch_line(directory, hash);
        }
    }

    /// The same for a key that will be put: also what a put writes.
    #[inline]
    pub fn prefetch_put(&self, table: TableSlot, hash: KeyHash, slot: Slot) {
        let stripe = stripe_at(slot.stripe());
        let root = stripe + ROOTS_AT + ROOT * table.number();
        if let Some(directory) = Directory::open(&self.pages, root) {
            self.prefetch_line(directory, hash);
            self.pages.prefetch(Stripe::counters_at(&self.pages, root, slot));
        }
        self.pages.prefetch(stripe + INTENT_AT);
        self.pages.prefetch(stripe + INTENT_AT + LINE);
    }

    /// The same for a key that is probably new: also what a leaf says of itself.
    #[inline]
    pub fn prefetch_insert(&self, table: TableSlot, hash: KeyHash, slot: Slot) {
        self.prefetch_put(table, hash, slot);
        let root = stripe_at(slot.stripe()) + ROOTS_AT + ROOT * table.number();
        self.pages.prefetch(root);
        if let Some(leaf) = Directory::open(&self.pages, root).map(|directory| directory.leaf(&self.pages, hash.0))
            && (1..=LEAF_PAGES).contains(&leaf.pages)
            && leaf.depth < 64
        {
            self.pages.prefetch(leaf.counts_at(&self.pages));
            self.pages.prefetch(leaf::extra_at(leaf.line_at(&self.pages, leaf.home(hash.0))));
        }
    }

    /// Where the op of a key probably lies: what the first cell with its tag in its home line says. Takes no lock, so it is no more than
    /// a guess: of another key, of a leaf that has just been replaced, or none although there is one.
    #[inline]
    #[must_use]
    pub fn guess(&self, table: TableSlot, hash: KeyHash, slot: Slot) -> Option<Location> {
        let root = stripe_at(slot.stripe()) + ROOTS_AT + ROOT * table.number();
        let leaf = Directory::open(&self.pages, root)?.leaf(&self.pages, hash.0);
        // Read without the lock, an entry may be half old, half new.
        if (1..=LEAF_PAGES).contains(&leaf.pages) && leaf.depth < 64 { leaf.guess(&self.pages, hash.0) } else { None }
    }

    #[inline]
    fn prefetch_line(&self, directory: Directory, hash: KeyHash) {
        let leaf = directory.leaf(&self.pages, hash.0);
        // Read without the lock, an entry may be half old, half new.
        if (1..=LEAF_PAGES).contains(&leaf.pages) && leaf.depth < 64 {
            let line = leaf.home(hash.0);
            self.pages.prefetch(leaf.line_at(&self.pages, line));
        }
    }

    /// Bytes in use by headers, directories, leaves and counters, those of dropped tables not yet reclaimed included.
    #[must_use]
    pub fn bytes_used(&self) -> u64 {
        self.pages.used_bytes()
    }

    /// Bytes that a checkpoint takes, roughly.
    pub(crate) fn checkpoint_estimate(&self) -> u64 {
        // A cell of the index takes some 16 bytes with the use counts, the extras and the gaps beside it.
        self.bytes_used() * STORED_CELL_BYTES as u64 / 16
    }

    /// Bytes of the file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.pages.file_bytes()
    }

    /// Bytes that the file can grow to.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.pages.limit()
    }

    /// Changes undone and growth steps finished when the index was opened.
    #[must_use]
    pub fn repairs(&self) -> (u32, u32) {
        (self.repairs.undone, self.repairs.redone)
    }

    /// The table map.
    #[must_use]
    pub fn tables(&self) -> TableMap {
        let _guard = self.header.lock();
        Header(&self.pages).tables().unwrap_or_default()
    }

    /// Stores the table map; a kill leaves the old one or the new. Slots that fall out of use are to be cleared in every stripe
    /// afterwards ([`Stripe::clear_table`]); a kill before that is made good at open.
    pub fn set_tables(&self, tables: &TableMap) {
        let _guard = self.header.lock();
        Header(&self.pages).set_tables(tables);
    }

    /// From where the log is to be replayed.
    #[must_use]
    pub fn replay_position(&self) -> ReplayPosition {
        let _guard = self.header.lock();
        Header(&self.pages).replay().unwrap_or_default()
    }

    /// Moves the replay position; a kill leaves the old one or the new.
    pub fn set_replay_position(&self, position: ReplayPosition) {
        let _guard = self.header.lock();
        Header(&self.pages).set_replay(position);
    }

    /// What the last `expired up to` entry says.
    #[must_use]
    pub fn expired(&self) -> ExpiredMark {
        let _guard = self.header.lock();
        Header(&self.pages).expired().unwrap_or_default()
    }

    /// Notes what an `expired up to` entry says, before a replay position beyond it is noted; a kill leaves the old mark or the new.
    pub fn set_expired(&self, mark: ExpiredMark) {
        let _guard = self.header.lock();
        Header(&self.pages).set_expired(mark);
    }

    /// The right to take keys out although no entry of the log names them: expired ones. Whoever takes an image holds it from before the
    /// image's LSN to its end, as replay could not bring the cells of an image in line with counters that know of such a removal and they
    /// do not.
    pub fn unlogged(&self) -> MutexGuard<'_, ()> {
        self.unlogged.lock()
    }

    /// The same, unless an image is being taken.
    #[must_use]
    pub fn try_unlogged(&self) -> Option<MutexGuard<'_, ()>> {
        self.unlogged.try_lock()
    }

    /// The LSN of the last `evict` entry; 0: there was none. A record of before may have lost its key to it.
    #[inline]
    #[must_use]
    pub fn evicted(&self) -> Lsn {
        Lsn(self.evicted.load(Ordering::Acquire))
    }

    /// Notes an `evict` entry, before the first key that it names leaves the index; a kill leaves the old mark or the new.
    pub fn set_evicted(&self, lsn: Lsn) {
        let _guard = self.header.lock();
        Header(&self.pages).set_evicted(lsn);
        self.evicted.store(lsn.0, Ordering::Release);
    }

    /// Whether it is counted from now on how often keys are asked for.
    pub fn count_uses(&self, on: bool) {
        self.pages.uses.switch(on);
    }

    /// Whether it is counted how often keys are asked for.
    #[inline]
    #[must_use]
    pub fn counts_uses(&self) -> bool {
        self.pages.uses.is_on()
    }

    /// A key was asked for, so many times.
    #[inline]
    pub fn used(&self, cell: &CellRef, times: u8) {
        self.pages.uses.add(cell.at(), times);
    }

    /// How often a key was asked for, 0 to 3.
    #[inline]
    #[must_use]
    pub fn uses(&self, cell: &CellRef) -> u8 {
        self.pages.uses.get(cell.at())
    }

    /// Sets how often a key was asked for.
    pub fn set_uses(&self, cell: &CellRef, count: u8) {
        self.pages.uses.set(cell.at(), count);
    }

    /// What the index is bound to, once it is trusted.
    #[must_use]
    pub fn trusted(&self) -> Option<Trust> {
        let _guard = self.header.lock();
        let header = Header(&self.pages);
        header.is_complete().then(|| header.trust()).flatten()
    }

    /// Declares the index complete, in these surroundings. Without an identity of its file it stays untrusted.
    pub fn trust(&self, surroundings: &Surroundings) {
        let _guard = self.header.lock();
        let Some(index) = self.identity else { return };
        let header = Header(&self.pages);
        header.set_trust(&Trust {
            boot_id: surroundings.boot_id,
            index,
            manifests: [surroundings.manifest; 2],
            key_hash_seed: surroundings.key_hash_seed,
        });
        header.set_complete(true);
    }

    /// Declares the index unusable, until it is trusted again.
    pub fn distrust(&self) {
        Header(&self.pages).set_complete(false);
    }

    /// Tells which file is about to become the manifest, before the rename: from here on the index is trusted beside it, and
    /// still beside `current`.
    pub fn expect_manifest(&self, current: FileIdentity, next: FileIdentity) {
        let _guard = self.header.lock();
        let header = Header(&self.pages);
        if let Some(trust) = header.trust() {
            header.set_trust(&Trust { manifests: [current, next], ..trust });
        }
    }

    /// Whether the shard was stopped cleanly.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        Header(&self.pages).is_clean()
    }

    /// Sets the mark of a clean stop; cleared before the first write after a start.
    pub fn set_clean(&self, clean: bool) {
        Header(&self.pages).set_clean(clean);
    }
}

/// Free pages kept beyond what a reservation asks for: half a mebibyte.
const RESERVE_MARGIN: usize = (1 << 19) / PAGE;
