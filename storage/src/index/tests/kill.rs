//! Kills at every store of every kind of operation: what is opened afterwards is what was before, or what is after.

use super::*;

/// All that can be seen of a stripe's table.
fn observe(index: &Index, table: TableSlot) -> (Vec<StoredCell>, SlotCounters, u64, u64) {
    let stripe = index.stripe(0).read();
    let mut cells = Vec::new();
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        cursor = stripe.copy_piece(index, table, from, 1 << 20, &mut cells);
    }
    cells.sort_by_key(|cell| (cell.extra, cell.word));
    let counters = stripe.slot_counters(index, table, Slot(0));
    (cells, counters, stripe.table_keys(index, table), stripe.table_expires(index, table))
}

/// Kills `work` in front of each of its stores, every time in a freshly prepared index. Of the thousands alike in the middle,
/// which fill fresh pages, one in 41 is taken.
fn kill_at_every_store(prepare: impl Fn(&Index), work: impl Fn(&Index)) {
    let prepared = || {
        let bench = Bench::new();
        prepare(bench.index());
        bench
    };
    let mut bench = prepared();
    let before = observe(bench.index(), table(0));
    let total = crash::stores(|| work(bench.index()));
    bench.reopen();
    let after = observe(bench.index(), table(0));
    assert_ne!(before, after, "the work does something");
    let points = (0..total).filter(|store| *store < 300 || *store + 350 > total || store % 41 == 0);
    let mut stood = 0;
    for stores in points {
        let mut bench = prepared();
        assert!(crash::run(stores, || work(bench.index())).is_none());
        bench.reopen();
        check_structure(bench.index());
        let now = observe(bench.index(), table(0));
        assert!(now == before || now == after, "killed after {stores} stores");
        stood += u64::from(now == after);
        assert!(now == after || stood == 0, "what stood once stands after any later store");
    }
    assert_eq!(stood, 0, "only the last store makes the change stand");
}

fn fill(index: &Index, keys: u64) {
    for number in 0..keys {
        insert(index, table(0), TestKey::new(number, 1), location(number + 1));
    }
}

fn put_next(index: &Index, number: u64) {
    insert(index, table(0), TestKey::new(number, 1), location(number + 1));
}

#[test]
fn kill_while_a_table_is_made() {
    kill_at_every_store(|_| (), |index| put_next(index, 0));
}

#[test]
fn kill_while_a_key_is_added() {
    kill_at_every_store(|index| fill(index, 10), |index| put_next(index, 10));
}

#[test]
fn kill_while_a_key_is_changed() {
    let change = CounterChange { keys: 0, expires: 1, bytes: -7, digest: u128::MAX / 3 };
    let work = |index: &Index| {
        let key = TestKey::new(4, 1);
        let mut stripe = index.stripe(0).write();
        let at = find(&stripe, index, table(0), key, location(5)).unwrap();
        stripe.put(index, table(0), key.hash(), key.slot(), Some(at), location(77), &change).unwrap();
    };
    kill_at_every_store(|index| fill(index, 10), work);
}

#[test]
fn kill_while_a_key_is_removed() {
    let work = |index: &Index| remove(index, 4);
    kill_at_every_store(|index| fill(index, 10), work);
    kill_at_every_store(|index| fill(index, 140), work);
}

fn remove(index: &Index, number: u64) {
    let key = TestKey::new(number, 1);
    let mut stripe = index.stripe(0).write();
    let at = find(&stripe, index, table(0), key, location(number + 1)).unwrap();
    stripe.remove(index, table(0), key.hash(), key.slot(), at, &negated(added(key, 100)));
}

#[test]
fn kill_while_a_leaf_grows() {
    kill_at_every_store(|index| fill(index, 147), |index| put_next(index, 147));
}

#[test]
fn kill_while_a_leaf_splits_and_the_directory_is_made() {
    kill_at_every_store(|index| fill(index, 1029), |index| put_next(index, 1029));
}

#[test]
fn kill_while_a_table_is_dropped() {
    kill_at_every_store(|index| fill(index, 1100), |index| index.stripe(0).write().clear_table(index, table(0)));
}

#[test]
fn kill_while_leaves_shrink_and_merge() {
    let mut bench = Bench::new();
    fill(bench.index(), 1100);
    let mut kept = 1100;
    // Removing key by key, killed at a different store each time; what was undone is repeated.
    let mut stores = 0;
    while kept > 20 {
        let done = crash::run(stores % 2500, || remove(bench.index(), kept - 1)).is_some();
        bench.reopen();
        check_structure(bench.index());
        let keys = observe(bench.index(), table(0)).2;
        assert!(keys == kept - 1 || (keys == kept && !done), "{keys} of {kept}");
        kept = keys;
        stores += if done { 1 } else { 37 };
    }
}

#[test]
fn kill_while_header_records_are_replaced() {
    let mut bench = Bench::new();
    let position = |lsn: u64| ReplayPosition { lsn: Lsn(lsn), segment: crate::types::SegmentId(3), offset: lsn as u32 };
    bench.index().set_replay_position(position(1));
    for stores in 0..40 {
        let before = bench.index().replay_position().lsn.0;
        let tables = bench.index().tables();
        let mut new = tables.clone();
        new.lsn = Lsn(tables.lsn.0 + 1);
        let work = || {
            bench.index().set_replay_position(position(before + 1));
            bench.index().set_tables(&new);
        };
        let done = crash::run(stores, work).is_some();
        bench.reopen();
        let after = bench.index().replay_position();
        assert_eq!(after, position(after.lsn.0));
        assert!(after.lsn.0 == before || after.lsn.0 == before + 1);
        assert!(!done || bench.index().tables() == new);
        assert!([&tables, &new].contains(&&bench.index().tables()));
    }
}
