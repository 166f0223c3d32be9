//! Replication under faults, in virtual time: the real machines over a model log, and what each mode promises.
//!
//! The rules that the promises rest on are in [`rules`]. Seeds: `ESKER_SEED` runs one, with `ESKER_TRACE` printing what happens; `ESKER_LONG`
//! runs new ones for so many seconds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod disk;
mod entry;
mod node;
mod operator;
mod rules;
mod scenario;

use std::time::{Duration, Instant};

use rules::Rules;
use scenario::{Figures, run};

/// Seeds of the ordinary run.
const SEEDS: u64 = 600;

fn tried(seed: u64, rules: &Rules) -> Result<Figures, String> {
    run(seed, rules).map_err(|failure| format!("{failure}\nrun it again with ESKER_SEED={seed}, and ESKER_TRACE=1 to see what happens"))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn every_mode_keeps_its_promise_under_faults() {
    let mut sum = Figures::default();
    if let Some(seed) = number("ESKER_SEED") {
        sum += tried(seed, &Rules::default()).unwrap_or_else(|failure| panic!("{failure}"));
        return println!("{sum:?}");
    }
    let long =
        std::env::var_os("ESKER_LONG").map(|_| Duration::from_secs(number("ESKER_LONG").filter(|seconds| *seconds > 1).unwrap_or(600)));
    let (start, mut seed) = (Instant::now(), 0);
    while long.map_or(seed < SEEDS, |long| start.elapsed() < long) {
        sum += tried(seed, &Rules::default()).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        seed += 1;
    }
    println!("{seed} seeds in {:?}: {sum:?}", start.elapsed());
    // What is never met is not tested.
    let Figures { acknowledged, seen, promotions, snapshots, resumed, divergent, power_losses } = sum;
    for (what, number) in [
        ("acknowledged", acknowledged),
        ("seen", seen),
        ("promotions", promotions),
        ("snapshots", snapshots),
        ("resumed", resumed),
        ("divergent", divergent),
        ("power losses", power_losses),
    ] {
        assert!(number > 0, "no {what} in {seed} seeds");
    }
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 0..9 {
        assert_eq!(scenario::trace(seed), scenario::trace(seed), "seed {seed}");
    }
    assert_ne!(scenario::trace(0), scenario::trace(3));
}

/// Rules, by name, and each with the way to break it.
type Breach = (&'static str, fn(&mut Rules));

const BREACHES: [Breach; 5] = [
    ("primary_waits_after_power_loss", |rules| rules.primary_waits_after_power_loss = false),
    ("promotions_are_numbered_apart", |rules| rules.promotions_are_numbered_apart = false),
    ("divergence_is_saved", |rules| rules.divergence_is_saved = false),
    ("promotion_hears_enough", |rules| rules.promotion_hears_enough = false),
    ("promotion_takes_the_highest", |rules| rules.promotion_takes_the_highest = false),
];

#[test]
fn a_broken_rule_breaks_a_promise() {
    for (name, breach) in BREACHES {
        let mut rules = Rules::default();
        breach(&mut rules);
        let found = (0..SEEDS).find(|seed| run(*seed, &rules).is_err());
        assert!(found.is_some(), "{name} can be broken for {SEEDS} seeds");
    }
}
