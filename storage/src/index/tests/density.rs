//! Bytes a key, at counts from small to large.

use super::*;

/// Most bytes a key over counts of a given ratio, the fixed parts (headers, counters, smallest directories) left out.
fn worst(slots: u64, from: u64, to: u64) -> f64 {
    let bench = Bench::new();
    let index = bench.index();
    let fixed = index.bytes_used() + (slots.div_ceil(64) * 2 * PAGE as u64);
    let mut worst = 0.0_f64;
    for number in 0..to {
        insert(index, table(0), TestKey::new(number, slots), location(1));
        if number >= from && number % (from / 10) == 0 {
            worst = worst.max((index.bytes_used() - fixed) as f64 / (number + 1) as f64);
        }
    }
    worst
}

#[test]
fn bytes_a_key_stay_below_the_bound_at_every_count_in_one_slot() {
    let worst = worst(1, 20_000, 200_000);
    assert!(worst < 20.0, "{worst} bytes a key");
}

#[test]
fn bytes_a_key_stay_below_the_bound_at_every_count_over_many_slots() {
    let worst = worst(640, 40_000, 400_000);
    assert!(worst < 20.0, "{worst} bytes a key");
}
