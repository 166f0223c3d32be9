//! Tests of the index as a whole.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod density;
mod guess;
mod kill;
mod model;
mod tables;
mod trust;
mod walk;

use std::convert::Infallible;
use std::sync::Arc;

use super::layout::{ROOT, ROOTS_AT, TABLE_SLOTS};
use super::*;
use crate::fs::{Directory as _, FileIdentity, MemoryDirectory, RealDirectory};
use crate::types::{Location, Lsn};

const GIB: usize = 1 << 30;

/// An index in a directory of its own, which can be killed and opened again.
struct Bench {
    directory: Arc<dyn crate::fs::Directory>,
    index: Option<Index>,
    path: Option<tempfile::TempDir>,
}

fn surroundings() -> Surroundings {
    let manifest = FileIdentity { device: 1, inode: 2, birth_ns: 3 };
    Surroundings { boot_id: [7; 16], manifest, key_hash_seed: 99 }
}

impl Bench {
    fn new() -> Self {
        Self::within(Arc::new(MemoryDirectory::new()), None)
    }

    /// The same on the filesystem.
    fn real() -> Self {
        let path = tempfile::tempdir().unwrap();
        let directory = RealDirectory::open(path.path()).unwrap().subdirectory("index").unwrap();
        Self::within(directory, Some(path))
    }

    fn within(directory: Arc<dyn crate::fs::Directory>, path: Option<tempfile::TempDir>) -> Self {
        let index = Index::create(directory.as_ref(), "index", 2 * GIB).unwrap();
        index.trust(&surroundings());
        Self { directory, index: Some(index), path }
    }

    fn index(&self) -> &Index {
        self.index.as_ref().unwrap()
    }

    /// Leaves the index without a word and opens it again, as after kill -9.
    fn reopen(&mut self) {
        self.index = None;
        match Index::open(self.directory.as_ref(), "index", 2 * GIB, &surroundings()).unwrap() {
            Opened::Trusted(index) => self.index = Some(*index),
            Opened::Untrusted(why) => panic!("{why}"),
        }
    }
}

/// A key of the tests: its hash and slot follow from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct TestKey {
    hash: u64,
    slot: u16,
}

/// splitmix64: a good hash of a number.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl TestKey {
    /// A key in one of `slots` slots from slot 0 on.
    fn new(number: u64, slots: u64) -> Self {
        Self { hash: mix(number), slot: (mix(number ^ 0x5555) % slots) as u16 }
    }

    fn hash(self) -> KeyHash {
        KeyHash(self.hash)
    }

    fn slot(self) -> Slot {
        Slot(self.slot)
    }
}

fn table(number: u8) -> TableSlot {
    TableSlot::new(number).unwrap()
}

fn location(bits: u64) -> Location {
    assert!(bits > 0);
    Location::from_bits(bits)
}

/// Finds the cell that has one of the locations that `is` accepts.
fn find(stripe: &Stripe, index: &Index, table: TableSlot, key: TestKey, is: Location) -> Option<CellRef> {
    stripe.lookup::<Infallible>(index, table, key.hash(), |found| Ok(found == is)).unwrap()
}

/// The change that a new key of `bytes` bytes makes.
fn added(key: TestKey, bytes: i64) -> CounterChange {
    CounterChange { keys: 1, expires: (key.hash & 1) as i32, bytes, digest: u128::from(key.hash) << 60 }
}

fn negated(change: CounterChange) -> CounterChange {
    CounterChange { keys: -change.keys, expires: -change.expires, bytes: -change.bytes, digest: change.digest.wrapping_neg() }
}

fn insert(index: &Index, table: TableSlot, key: TestKey, to: Location) {
    let mut stripe = index.stripe(key.slot().stripe()).write();
    stripe.put(index, table, key.hash(), key.slot(), None, to, &added(key, 100)).unwrap();
}

/// Checks that counts in leaves agree with their cells, and that every page in use is reachable.
fn check_structure(index: &Index) {
    let mut used = u64::from(layout::FIRST_PAGE);
    for stripe in 0..STRIPES {
        for table in 0..TABLE_SLOTS {
            let root = stripe_at(stripe) + ROOTS_AT + ROOT * table;
            let Some(directory) = Directory::open(&index.pages, root) else { continue };
            used += 1 + u64::from(directory.run());
            let mut live = 0;
            let mut number = 0;
            while number < directory.len() {
                let at = directory.entry_at(number);
                let entry = directory::Entry::load(&index.pages, at).unwrap();
                used += entry.pages().len() as u64;
                live += check_leaf(&index.pages, at, number, directory.depth);
                number += 1 << (directory.depth - entry.depth);
            }
            assert_eq!(live, index.total(stripe, table_at(table), ROOT_KEYS_AT), "stripe {stripe}, table {table}");
        }
    }
    assert_eq!(used * PAGE as u64, index.bytes_used());
}

fn table_at(number: usize) -> TableSlot {
    table(number as u8)
}

fn check_leaf(pages: &Pages, entry_at: usize, number: usize, depth: u32) -> u64 {
    let entry = directory::Entry::load(pages, entry_at).unwrap();
    let leaf = leaf::Leaf::at(pages, entry_at);
    let counts = leaf::Counts::from_word(pages.word(leaf.counts_at(pages)));
    let mut live = 0;
    leaf::each_cell(pages, &entry, |word, extra, _| {
        live += 1;
        let prefix = (cell::hash(word, extra) >> 1) >> (63 - entry.depth);
        assert_eq!(prefix as usize, number >> (depth - entry.depth));
    });
    let words = (0..leaf.lines()).flat_map(|line| pages.line(leaf.line_at(pages, line)));
    let used = words.filter(|word| *word != cell::EMPTY).count();
    assert_eq!(counts, leaf::Counts { used: used as u32, live }, "{entry:?}");
    u64::from(live)
}

#[test]
fn a_key_is_found_changed_and_removed() {
    let bench = Bench::new();
    let index = bench.index();
    let key = TestKey::new(1, 16384);
    let mut stripe = index.stripe(key.slot().stripe()).write();
    assert_eq!(find(&stripe, index, table(0), key, location(5)), None);
    stripe.put(index, table(0), key.hash(), key.slot(), None, location(5), &added(key, 7)).unwrap();
    stripe.set_applied(index, Lsn(1));
    let at = find(&stripe, index, table(0), key, location(5)).unwrap();
    assert_eq!(at.location(), location(5));
    assert_eq!(find(&stripe, index, table(1), key, location(5)), None);
    let change = CounterChange { bytes: 3, ..CounterChange::default() };
    stripe.put(index, table(0), key.hash(), key.slot(), Some(at), location(6), &change).unwrap();
    assert_eq!(find(&stripe, index, table(0), key, location(5)), None);
    let at = find(&stripe, index, table(0), key, location(6)).unwrap();
    let counters = stripe.slot_counters(index, table(0), key.slot());
    assert_eq!((counters.keys, counters.bytes), (1, 10));
    assert_eq!((stripe.table_keys(index, table(0)), index.table_keys(table(0))), (1, 1));
    stripe.remove(index, table(0), key.hash(), key.slot(), at, &negated(added(key, 10)));
    stripe.set_last_delete(index, Lsn(2));
    assert_eq!(find(&stripe, index, table(0), key, location(6)), None);
    assert_eq!(stripe.slot_counters(index, table(0), key.slot()), SlotCounters::default());
    assert_eq!((stripe.applied(index), stripe.last_delete(index)), (Lsn(1), Lsn(2)));
}

#[test]
fn an_error_of_the_comparison_ends_the_lookup() {
    let bench = Bench::new();
    let key = TestKey::new(1, 1);
    insert(bench.index(), table(0), key, location(5));
    let stripe = bench.index().stripe(0).read();
    assert_eq!(stripe.lookup(bench.index(), table(0), key.hash(), |_| Err("unreadable")), Err("unreadable"));
}

#[test]
#[should_panic(expected = "outlived its lock")]
fn a_stale_cell_reference_is_caught() {
    let bench = Bench::new();
    let key = TestKey::new(1, 1);
    insert(bench.index(), table(0), key, location(5));
    let mut stripe = bench.index().stripe(0).write();
    let at = find(&stripe, bench.index(), table(0), key, location(5)).unwrap();
    stripe.remove(bench.index(), table(0), key.hash(), key.slot(), at, &negated(added(key, 100)));
    let _ = stripe.put(bench.index(), table(0), key.hash(), key.slot(), Some(at), location(6), &CounterChange::default());
}
