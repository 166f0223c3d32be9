//! Esker and a real redis-server get the same random requests and must answer the same bytes. Where redis-server is not installed nothing
//! is compared, and the test says so.
//!
//! `DIFFERENTIAL_SEED` repeats a run, `DIFFERENTIAL_SEQUENCES` sets how many sequences there are.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod generate;
mod server;
mod wire;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use compare::{CLIENTS, Pair, Step};
use generate::{BITMAPS, KEYS, LARGE, STRINGS, TRANSACTIONS};
use server::Server;
use wire::Connection;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn first_seed() -> u64 {
    let seed = setting("DIFFERENTIAL_SEED").unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    println!("DIFFERENTIAL_SEED={seed}");
    seed
}

/// Compares on sequences made of these families, half of them in each protocol.
fn compare(families: &[&[&str]], clients: usize) {
    compare_some(families, clients, 150, 40);
}

/// The same with this many sequences, unless the setting says otherwise, of so many steps.
fn compare_some(families: &[&[&str]], clients: usize, sequences: u64, steps: usize) {
    let Some(redis) = Server::redis() else { return };
    let esker = Server::esker();
    let seed = first_seed();
    for seed in seed..seed + setting("DIFFERENTIAL_SEQUENCES").unwrap_or(sequences) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut steps: Vec<Step> =
            (0..steps).map(|_| Step { client: rng.random_range(0..clients), request: generate::request(&mut rng, families) }).collect();
        // No transaction is left open, so that what the sequence did is visible at its end.
        steps.extend((0..clients).map(|client| Step { client, request: vec![b"EXEC".to_vec()] }));
        let pair = Pair { esker: esker.port, redis: redis.port, protocol: 2 + (seed % 2) as u8 };
        if let Some(difference) = pair.run(&steps) {
            pair.fail(seed, steps, difference);
        }
    }
}

#[test]
fn strings_answer_as_redis_does() {
    compare(&[STRINGS], 1);
}

#[test]
fn bitmaps_answer_as_redis_does() {
    compare(&[BITMAPS, BITMAPS, STRINGS], 1);
}

#[test]
fn keys_and_expiry_answer_as_redis_does() {
    compare(&[KEYS, STRINGS], 1);
}

#[test]
fn transactions_answer_as_redis_does() {
    compare(&[TRANSACTIONS, KEYS, STRINGS, STRINGS, BITMAPS], CLIENTS);
}

#[test]
fn large_strings_answer_as_redis_does() {
    // Long enough for chains of changes that are folded into one image.
    compare_some(&[LARGE], 1, 4, 300);
}

#[test]
fn sums_of_floats_are_those_of_redis() {
    let Some(redis) = Server::redis() else { return };
    let esker = Server::esker();
    let (mut esker, mut redis) = (Connection::open(esker.port), Connection::open(redis.port));
    let seed = first_seed();
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..setting("DIFFERENTIAL_SEQUENCES").unwrap_or(150) * 40 {
        let set = vec![b"SET".to_vec(), b"f".to_vec(), generate::float(&mut rng)];
        let add = vec![b"INCRBYFLOAT".to_vec(), b"f".to_vec(), generate::float(&mut rng)];
        esker.call(&set);
        redis.call(&set);
        let (ours, theirs) = (esker.call(&add), redis.call(&add));
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(text(&ours), text(&theirs), "seed {seed}, round {round}: {} + {}", text(&set[2]), text(&add[2]));
    }
}
