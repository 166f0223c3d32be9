//! Flush, swap, reclaim and space.

use super::*;
use crate::types::{Db, TableId};

#[test]
fn a_cleared_table_is_empty_at_once_and_its_pages_come_back_in_steps() {
    let bench = Bench::new();
    let index = bench.index();
    let empty = index.bytes_used();
    for number in 0..30_000 {
        insert(index, table(0), TestKey::new(number, 128), location(1));
    }
    let full = index.bytes_used();
    for stripe in 0..2 {
        index.stripe(stripe).write().clear_table(index, table(0));
    }
    assert_eq!((index.table_keys(table(0)), index.bytes_used()), (0, full));
    insert(index, table(0), TestKey::new(1, 1), location(8));
    let mut steps = 0;
    while index.reclaim(5) {
        steps += 1;
    }
    assert!(steps > 5);
    assert_eq!(index.table_keys(table(0)), 1);
    check_structure(index);
    index.stripe(0).write().clear_table(index, table(0));
    assert!(!index.reclaim(100));
    assert_eq!(index.bytes_used(), empty);
}

#[test]
fn filling_and_flushing_again_and_again_does_not_grow_the_file() {
    let bench = Bench::new();
    let index = bench.index();
    let mut sizes = Vec::new();
    for round in 0..6 {
        for number in 0..40_000 {
            insert(index, table(0), TestKey::new(number + 1_000_000 * round, 1), location(1));
        }
        index.stripe(0).write().clear_table(index, table(0));
        while index.reclaim(1000) {}
        sizes.push(index.file_bytes());
    }
    assert!(sizes[5] <= sizes[0] + (1 << 20), "{sizes:?}");
}

#[test]
fn a_kill_between_flush_and_clearing_is_made_good_at_open() {
    let mut bench = Bench::new();
    let index = bench.index();
    let empty = index.bytes_used();
    insert(index, table(0), TestKey::new(1, 1), location(8));
    let mut tables = index.tables();
    let old = tables.flush(&[(Db(0), TableId(16))])[0];
    assert_eq!(old, table(0));
    index.set_tables(&tables);
    bench.reopen();
    let index = bench.index();
    assert_eq!(index.tables().id(Db(0)), TableId(16));
    assert_eq!((index.table_keys(old), index.bytes_used()), (0, empty));
}

#[test]
fn a_full_device_is_reported_before_the_put_and_reads_go_on() {
    // The limit stands for the end of the device.
    let index = Index::create(&MemoryDirectory::new(), "index", 2 << 20).unwrap();
    let mut number = 0;
    while index.reserve(1).is_ok() {
        insert(&index, table(0), TestKey::new(number, 1), location(number + 1));
        number += 1;
    }
    assert!(matches!(index.reserve(1), Err(IndexError::Full { bytes, .. }) if bytes == 2 << 20));
    assert!(number > 30_000);
    // What was in the log already still finds room.
    let last = number + 5000;
    for number in number..last {
        insert(&index, table(0), TestKey::new(number, 1), location(number + 1));
    }
    let stripe = index.stripe(0).read();
    for number in 0..last {
        assert!(find(&stripe, &index, table(0), TestKey::new(number, 1), location(number + 1)).is_some());
    }
    drop(stripe);
    check_structure(&index);
}

#[test]
fn loaded_cells_and_counters_equal_those_copied() {
    let bench = Bench::new();
    for number in 0..20_000 {
        insert(bench.index(), table(0), TestKey::new(number, 64), location(number + 1));
    }
    let copy = Bench::new();
    let (from, to) = (bench.index().stripe(0).read(), &mut copy.index().stripe(0).write());
    to.prepare(copy.index(), table(3), 20_000).unwrap();
    let prepared = copy.index().bytes_used();
    let mut cursor = Some(0);
    let mut pieces = 0;
    while let Some(at) = cursor {
        let mut piece = Vec::new();
        cursor = from.copy_piece(bench.index(), table(0), at, 64 << 10, &mut piece);
        assert!(piece.len() * STORED_CELL_BYTES <= 64 << 10);
        to.load_cells(copy.index(), table(3), &piece).unwrap();
        pieces += 1;
    }
    assert!((4..12).contains(&pieces), "{pieces}");
    assert!(copy.index().bytes_used() <= prepared + 2 * PAGE as u64, "loading moves next to nothing");
    for slot in 0..64 {
        let counters = from.slot_counters(bench.index(), table(0), Slot(slot));
        to.set_slot_counters(copy.index(), table(3), Slot(slot), counters).unwrap();
        assert_eq!(to.slot_counters(copy.index(), table(3), Slot(slot)), counters);
    }
    assert_eq!(to.table_keys(copy.index(), table(3)), 20_000);
    assert_eq!(to.table_expires(copy.index(), table(3)), from.table_expires(bench.index(), table(0)));
    for number in 0..20_000 {
        assert!(find(to, copy.index(), table(3), TestKey::new(number, 64), location(number + 1)).is_some());
    }
    let bad = StoredCell { word: 0, extra: 1 };
    assert!(matches!(to.load_cells(copy.index(), table(3), &[bad]), Err(IndexError::BadCell { word: 0 })));
}

#[test]
fn a_table_prepared_for_any_number_of_keys_takes_them() {
    for keys in [0, 1, 146, 147, 926, 927, 5000, 70_000] {
        let bench = Bench::new();
        bench.index().stripe(0).write().prepare(bench.index(), table(0), keys).unwrap();
        check_structure(bench.index());
        for number in 0..keys {
            insert(bench.index(), table(0), TestKey::new(number, 1), location(number + 1));
        }
        check_structure(bench.index());
        let stripe = bench.index().stripe(0).read();
        for number in 0..keys {
            assert!(find(&stripe, bench.index(), table(0), TestKey::new(number, 1), location(number + 1)).is_some());
        }
    }
}
