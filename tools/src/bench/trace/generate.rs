//! Traces that are drawn: without end, and the same for the same seed.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// Requests of a scan.
const SCAN: u64 = 5_000;

/// Keys below `keys`, each request drawn by itself.
pub(super) fn zipf(keys: u32, theta: f64, seed: u64) -> impl Iterator<Item = u64> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let zipf = Zipf::new(f64::from(keys), theta).expect("keys and theta were checked where they were read");
    std::iter::repeat_with(move || (zipf.sample(&mut rng) as u64).clamp(1, u64::from(keys)) - 1)
}

/// Zipf 1.0, interrupted at random by scans of keys from `keys` on, which come once each; `share` of all requests are theirs.
pub(super) fn scan(keys: u32, share: f64, seed: u64) -> impl Iterator<Item = u64> {
    let mut often = zipf(keys, 1.0, seed);
    let mut rng = SmallRng::seed_from_u64(!seed);
    // One scan a so many other requests on average.
    let begins = (share / (1.0 - share) / SCAN as f64).min(1.0);
    let mut once = u64::from(keys)..;
    let mut left = 0;
    std::iter::from_fn(move || {
        if left > 0 {
            left -= 1;
            return once.next();
        }
        left = if rng.random_bool(begins) { SCAN } else { 0 };
        often.next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_trace() {
        for theta in [0.8, 1.0, 1.2] {
            let draw = |seed| zipf(1000, theta, seed).take(100).collect::<Vec<_>>();
            assert!(draw(1) == draw(1) && draw(1) != draw(2));
            assert!(draw(1).iter().all(|key| *key < 1000));
        }
        assert!(scan(1000, 0.3, 1).take(50_000).eq(scan(1000, 0.3, 1).take(50_000)));
    }

    #[test]
    fn keys_are_as_skewed_as_theta_says() {
        for theta in [0.8, 1.0, 1.2] {
            let draws = 1_000_000;
            let first = zipf(1000, theta, 1).take(draws).filter(|key| *key == 0).count() as f64 / draws as f64;
            let sum: f64 = (1..=1000).map(|k| f64::from(k).powf(-theta)).sum();
            assert!((first * sum - 1.0).abs() < 0.02, "theta {theta}: {first} and not {}", 1.0 / sum);
        }
    }

    #[test]
    fn scans_have_their_share_and_their_keys_come_once() {
        let mut scanned: Vec<u64> = scan(1000, 0.2, 1).take(2_000_000).filter(|key| *key >= 1000).collect();
        let share = scanned.len() as f64 / 2e6;
        assert!((0.15..0.25).contains(&share), "{share}");
        scanned.dedup();
        assert!(scanned.len() as f64 / 2e6 == share && scanned.is_sorted());
    }
}
