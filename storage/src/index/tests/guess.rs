//! Guesses: places of records, read without a lock.

use super::*;

#[test]
fn a_guess_is_right_for_nearly_every_key_and_none_for_an_empty_table() {
    let bench = Bench::new();
    let index = bench.index();
    let keys: Vec<TestKey> = (0..20_000).map(|number| TestKey::new(number, 16_384)).collect();
    let guess = |key: &TestKey| index.guess(table(0), key.hash(), key.slot());
    assert!(keys.iter().all(|key| guess(key).is_none()));
    for (key, number) in keys.iter().zip(1..) {
        insert(index, table(0), *key, location(number));
    }
    let right = keys.iter().zip(1..).filter(|(key, number)| guess(key) == Some(location(*number))).count();
    assert!(right > keys.len() * 9 / 10, "{right}");
}

#[test]
fn guesses_while_the_table_grows_and_goes_read_nothing_outside_of_the_file() {
    let bench = Bench::new();
    let index = bench.index();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..3 {
                for number in 0..30_000 {
                    insert(index, table(0), TestKey::new(number, 64), location(number + 1));
                }
                index.stripe(0).write().clear_table(index, table(0));
                // What is released is used again at once, for leaves as for directories.
                while index.reclaim(8) {}
            }
        });
        let mut number = 0;
        while !writer.is_finished() {
            let key = TestKey::new(number % 30_000, 64);
            let _ = index.guess(table(0), key.hash(), key.slot());
            number += 1;
        }
    });
}
