//! Random operations against a map.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// What the index should hold.
#[derive(Default)]
struct Model {
    keys: HashMap<(TableSlot, TestKey), (Location, i64)>,
}

impl Model {
    fn counters(&self, table: TableSlot, slot: u16) -> SlotCounters {
        let mut sum = SlotCounters::default();
        for ((_, key), (_, bytes)) in self.keys.iter().filter(|((of, key), _)| *of == table && key.slot == slot) {
            sum = sum.changed(&added(*key, *bytes));
        }
        sum
    }

    fn check(&self, index: &Index, slots: u64) {
        check_structure(index);
        for ((table, key), (location, _)) in &self.keys {
            let stripe = index.stripe(key.slot().stripe()).read();
            assert!(find(&stripe, index, *table, *key, *location).is_some(), "{key:?}");
        }
        for number in 0..2 {
            let of = self.keys.keys().filter(|(table, _)| table.number() == usize::from(number)).count();
            assert_eq!(index.table_keys(table(number)), of as u64);
        }
        for slot in 0..slots as u16 {
            let stripe = index.stripe(Slot(slot).stripe()).read();
            assert_eq!(stripe.slot_counters(index, table(0), Slot(slot)), self.counters(table(0), slot));
        }
    }

    fn step(&mut self, index: &Index, key: TestKey, table: TableSlot, to: Location, remove: bool) {
        let mut stripe = index.stripe(key.slot().stripe()).write();
        let known = self.keys.get(&(table, key)).copied();
        let at = known.and_then(|(location, _)| find(&stripe, index, table, key, location));
        assert_eq!(known.is_some(), at.is_some());
        let bytes = (to.bits() % 1000) as i64;
        match (remove, known, at) {
            (true, Some((_, bytes)), Some(at)) => {
                stripe.remove(index, table, key.hash(), key.slot(), at, &negated(added(key, bytes)));
                self.keys.remove(&(table, key));
            }
            (true, ..) => {}
            (false, Some((_, old)), at) => {
                let change = CounterChange { bytes: bytes - old, ..CounterChange::default() };
                stripe.put(index, table, key.hash(), key.slot(), at, to, &change).unwrap();
                self.keys.insert((table, key), (to, bytes));
            }
            (false, None, _) => {
                stripe.put(index, table, key.hash(), key.slot(), None, to, &added(key, bytes)).unwrap();
                self.keys.insert((table, key), (to, bytes));
            }
        }
    }
}

fn random_operations(mut bench: Bench, seed: u64, slots: u64, numbers: u64, rounds: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut model = Model::default();
    for round in 0..rounds {
        // Rounds that mostly add, then rounds that mostly remove: leaves grow, split, shrink and merge.
        let removes = [0.1, 0.5, 0.9, 0.3][round % 4];
        for _ in 0..numbers {
            let key = TestKey::new(rng.random_range(0..numbers), slots);
            let to = location(rng.random_range(1..1 << 48));
            model.step(bench.index(), key, table(rng.random_range(0..2)), to, rng.random_bool(removes));
        }
        model.check(bench.index(), slots);
        bench.reopen();
        model.check(bench.index(), slots);
    }
}

#[test]
fn random_operations_in_one_slot_agree_with_a_map() {
    random_operations(Bench::new(), 1, 1, 12_000, 8);
}

#[test]
fn random_operations_in_many_slots_agree_with_a_map() {
    random_operations(Bench::real(), 2, 300, 20_000, 8);
}

#[test]
fn an_index_emptied_key_by_key_gives_back_its_leaves() {
    let bench = Bench::new();
    let mut model = Model::default();
    let keys: Vec<TestKey> = (0..60_000).map(|number| TestKey::new(number, 1)).collect();
    for key in &keys {
        model.step(bench.index(), *key, table(0), location(9), false);
    }
    let full = bench.index().bytes_used();
    for key in &keys {
        model.step(bench.index(), *key, table(0), location(9), true);
    }
    model.check(bench.index(), 1);
    let headers = u64::from(layout::FIRST_PAGE) * PAGE as u64;
    assert!((bench.index().bytes_used() - headers) * 10 < full - headers);
}

#[test]
fn equal_hash_bits_do_not_confuse_keys() {
    let bench = Bench::new();
    let index = bench.index();
    // 40 keys of one hash fill several lines; they differ by location only.
    let keys: Vec<TestKey> = (0..40).map(|slot| TestKey { hash: 0xabcd_ef01_2345_6789, slot }).collect();
    for (number, key) in keys.iter().enumerate() {
        insert(index, table(0), *key, location(number as u64 + 1));
    }
    let mut stripe = index.stripe(0).write();
    for (number, key) in keys.iter().enumerate().step_by(2) {
        let at = find(&stripe, index, table(0), *key, location(number as u64 + 1)).unwrap();
        stripe.remove(index, table(0), key.hash(), key.slot(), at, &negated(added(*key, 100)));
    }
    for (number, key) in keys.iter().enumerate() {
        let found = find(&stripe, index, table(0), *key, location(number as u64 + 1));
        assert_eq!(found.is_some(), number % 2 == 1);
    }
    drop(stripe);
    check_structure(index);
}
