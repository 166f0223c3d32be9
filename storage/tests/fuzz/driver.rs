//! A bounded time of rounds, each from a seed of its own.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Runs `round` with one generator after another until the time is over. The seed of the round that fails is printed.
pub fn fuzz(target: &str, mut round: impl FnMut(&mut StdRng)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let limit = Duration::from_secs(number("ESKER_FUZZ_SECONDS").unwrap_or(2));
    let first = number("ESKER_SEED").unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64);
    let start = Instant::now();
    let mut seed = first;
    while start.elapsed() < limit {
        let failing = Seed(target, seed);
        round(&mut StdRng::seed_from_u64(seed));
        std::mem::forget(failing);
        seed += 1;
    }
    println!("{target}: {} rounds from ESKER_SEED={first}", seed - first);
}

/// Tells the seed when a round panics past it.
struct Seed<'a>(&'a str, u64);

impl Drop for Seed<'_> {
    fn drop(&mut self) {
        println!("{}: fails with ESKER_SEED={}", self.0, self.1);
    }
}
