//! Walks in hash order, while the table grows and shrinks beneath them.

use std::collections::HashMap;

use super::*;

#[test]
fn a_walk_returns_every_key_once_in_steps_of_any_size() {
    let bench = Bench::new();
    let index = bench.index();
    for number in 0..9000 {
        insert(index, table(0), TestKey::new(number, 64), location(number + 1));
    }
    for budget in [1, 10, 100, 1000, 100_000] {
        let stripe = index.stripe(0).read();
        let (mut seen, mut cursor, mut last) = (Vec::new(), Some(0), 0);
        while let Some(from) = cursor {
            let mut step = Vec::new();
            cursor = stripe.cells_from(index, table(0), from, budget, &mut step);
            assert!(step.iter().all(|cell| (from..cursor.unwrap_or(u64::MAX)).contains(&cell.order)));
            assert!(step.len() >= budget || cursor.is_none());
            assert!(step.len() <= 2 * budget + 40);
            assert!(from >= last);
            last = from;
            seen.extend(step);
        }
        assert_eq!(seen.len(), 9000);
        seen.sort_by_key(|cell| cell.location);
        for (number, cell) in seen.iter().enumerate() {
            let key = TestKey::new(number as u64, 64);
            assert_eq!((cell.slot, cell.order), (key.slot(), order(key.hash())));
            assert_eq!(cell.location, location(number as u64 + 1));
        }
    }
}

#[test]
fn a_walk_returns_keys_present_throughout_while_the_table_grows_and_shrinks() {
    let bench = Bench::new();
    let index = bench.index();
    let stable = 2000;
    for number in 0..stable {
        insert(index, table(0), TestKey::new(number, 1), location(number + 1));
    }
    for growing in [true, false] {
        let mut seen: HashMap<Location, u32> = HashMap::new();
        let (mut cursor, mut step) = (Some(0), 0);
        while let Some(from) = cursor {
            let mut cells = Vec::new();
            cursor = index.stripe(0).read().cells_from(index, table(0), from, 10, &mut cells);
            for cell in cells {
                *seen.entry(cell.location).or_default() += 1;
            }
            // The table grows tenfold during the first walk and shrinks back during the second.
            for number in stable + step * 60..stable + (step + 1) * 60 {
                let key = TestKey::new(number, 1);
                let mut stripe = index.stripe(0).write();
                match find(&stripe, index, table(0), key, location(number + 1)) {
                    None if growing && number < 20_000 => {
                        stripe.put(index, table(0), key.hash(), Slot(0), None, location(number + 1), &added(key, 1)).unwrap();
                    }
                    Some(at) if !growing => {
                        stripe.remove(index, table(0), key.hash(), Slot(0), at, &negated(added(key, 1)));
                    }
                    _ => {}
                }
            }
            step += 1;
        }
        assert!((1..=stable).all(|number| seen.get(&location(number)) == Some(&1)));
        assert!(seen.values().all(|times| *times == 1));
        check_structure(index);
    }
}

#[test]
fn the_cells_of_a_slot_are_those_of_no_other() {
    let bench = Bench::new();
    let index = bench.index();
    for number in 0..5000 {
        insert(index, table(0), TestKey::new(number, 128), location(number + 1));
    }
    for slot in [Slot(3), Slot(63), Slot(64), Slot(127)] {
        let stripe = index.stripe(slot.stripe()).read();
        let (mut cells, mut cursor) = (Vec::new(), Some(0));
        while let Some(from) = cursor {
            cursor = stripe.cells_of_slot(index, table(0), slot, from, 100, &mut cells);
        }
        assert_eq!(cells.len() as u32, stripe.slot_counters(index, table(0), slot).keys);
        assert!(cells.iter().all(|cell| TestKey::new(cell.location.bits() - 1, 128).slot() == slot));
    }
}

#[test]
fn walks_of_an_absent_table_end_at_once() {
    let bench = Bench::new();
    let stripe = bench.index().stripe(7).read();
    assert_eq!(stripe.cells_from(bench.index(), table(0), 0, 10, &mut Vec::new()), None);
    assert_eq!(stripe.copy_piece(bench.index(), table(0), 0, 1000, &mut Vec::new()), None);
    assert_eq!(stripe.cells_from(bench.index(), table(0), 1 << ORDER_BITS, 10, &mut Vec::new()), None);
}

#[test]
fn a_slot_is_dropped_without_reading_a_record() {
    let bench = Bench::new();
    let index = bench.index();
    for number in 0..5000 {
        insert(index, table(0), TestKey::new(number, 64), location(number + 1));
    }
    let mut stripe = index.stripe(0).write();
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        let mut cells = Vec::new();
        cursor = stripe.cells_of_slot(index, table(0), Slot(9), from, 500, &mut cells);
        for cell in cells {
            let found = stripe.lookup::<Infallible>(index, table(0), cell.hash(), |at| Ok(at == cell.location)).unwrap();
            let key = TestKey::new(cell.location.bits() - 1, 64);
            stripe.remove(index, table(0), cell.hash(), cell.slot, found.unwrap(), &negated(added(key, 100)));
        }
    }
    assert_eq!(stripe.slot_counters(index, table(0), Slot(9)), SlotCounters::default());
    drop(stripe);
    check_structure(index);
}
