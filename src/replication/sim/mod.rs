//! Replication under faults, in virtual time: the real machines over a model log, and what each mode promises.
//!
//! The rules that the promises rest on are in [`rules`]. Seeds: `ESKER_SEED` runs one, with `ESKER_TRACE` printing what happens and
//! `ESKER_BREACH` naming a rule to break; `ESKER_LONG` runs others for so many seconds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod disk;
mod entry;
mod node;
mod operator;
mod rules;
mod scenario;
mod scripted;

use std::time::{Duration, Instant};

use rules::Rules;
use scenario::{Figures, MODES, run};

/// Seeds of the ordinary run.
const SEEDS: u64 = 400;
/// Seeds within which a broken rule has to break a promise.
const BREACH_SEEDS: u64 = 2000;

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
        let mut rules = Rules::default();
        let broken = std::env::var("ESKER_BREACH").unwrap_or_default();
        BREACHES.iter().filter(|(name, ..)| *name == broken).for_each(|(_, breach, _)| breach(&mut rules));
        sum += tried(seed, &rules).unwrap_or_else(|failure| panic!("{failure}"));
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
    let Figures { acknowledged, seen, promotions, handovers, snapshots, resumed, differences, lacking, divergent, power_losses } = sum;
    for (what, number) in [
        ("acknowledged", acknowledged),
        ("seen", seen),
        ("promotions", promotions),
        ("handovers", handovers),
        ("snapshots", snapshots),
        ("resumed", resumed),
        ("differences", differences),
        ("lacking", lacking),
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

/// A rule by name, the way to break it, and the remainder of the seeds of the mode in which it matters.
type Breach = (&'static str, fn(&mut Rules), u64);

const ASYNC: u64 = 0;
const SEMI_SYNC: u64 = 1;
const SYNC: u64 = 2;

/// Those that chance finds; the others are in [`scripted`].
const BREACHES: [Breach; 15] = [
    ("primary_waits_after_power_loss", |rules| rules.primary_waits_after_power_loss = false, SEMI_SYNC),
    ("promotions_are_numbered_apart", |rules| rules.promotions_are_numbered_apart = false, SEMI_SYNC),
    ("promotion_fences", |rules| rules.promotion_fences = false, SEMI_SYNC),
    ("who_lost_power_is_not_heard", |rules| rules.who_lost_power_is_not_heard = false, SEMI_SYNC),
    ("records_wait_for_the_promise", |rules| rules.records_wait_for_the_promise = false, SEMI_SYNC),
    ("absence_waits_for_the_promise", |rules| rules.absence_waits_for_the_promise = false, SYNC),
    ("handover_fences", |rules| rules.handover_fences = false, SEMI_SYNC),
    ("handover_survives_restarts", |rules| rules.handover_survives_restarts = false, SEMI_SYNC),
    ("members_are_remembered", |rules| rules.members_are_remembered = false, SYNC),
    ("only_members_are_promoted", |rules| rules.only_members_are_promoted = false, SYNC),
    ("divergence_is_saved", |rules| rules.divergence_is_saved = false, SYNC),
    ("what_does_not_live_goes", |rules| rules.what_does_not_live_goes = false, ASYNC),
    ("what_lives_is_asked_for", |rules| rules.what_lives_is_asked_for = false, ASYNC),
    ("promotion_hears_enough", |rules| rules.promotion_hears_enough = false, SEMI_SYNC),
    ("promotion_takes_the_highest", |rules| rules.promotion_takes_the_highest = false, SEMI_SYNC),
];

#[test]
fn a_broken_rule_breaks_a_promise() {
    for (name, breach, mode) in BREACHES {
        let mut rules = Rules::default();
        breach(&mut rules);
        let mut seeds = (0..BREACH_SEEDS).map(|seed| seed * MODES + mode);
        let found = seeds.find(|seed| run(*seed, &rules).is_err());
        println!("{name}: seed {found:?}");
        assert!(found.is_some(), "{name} can be broken for {BREACH_SEEDS} seeds");
    }
}
