//! Several threads write; power is lost at random moments, several times in a row.

use std::sync::Arc;
use std::time::Duration;

use esker_storage::fs::FaultyDirectory;
use esker_storage::options::SyncMode;
use esker_storage::shard::Shard;
use esker_storage::types::Lsn;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::History;
use super::support::*;

/// Writes from three threads, and takes what power losses at random moments would leave, each with what had been acknowledged before.
fn write_and_lose(shard: &Shard, files: &FaultyDirectory, history: &History, rng: &mut StdRng) -> Vec<(FaultyDirectory, Lsn)> {
    let acknowledged = Acknowledged::default();
    let always = shard.sync_mode() == SyncMode::Always;
    let writer = |_| {
        let (mut rng, acknowledged) = (StdRng::seed_from_u64(rng.random()), &acknowledged);
        Box::new(move || {
            let lsn = write_one(shard, history, &mut rng, MIX).unwrap();
            if let Some(lsn) = lsn.filter(|_| always && rng.random_bool(0.3)) {
                assert!(acknowledged.wait(shard, lsn));
            }
        }) as Step<'_>
    };
    let writers = (0..3).map(writer).collect();
    let lose = |_| {
        std::thread::sleep(Duration::from_micros(rng.random_range(200..15_000)));
        if rng.random_bool(0.3) {
            shard.request_checkpoint();
        }
        // Read first: what is acknowledged later may be lost.
        let before = acknowledged.lsn();
        (files.power_loss(rng.random()).unwrap(), before)
    };
    amid(writers, || (0..3).map(lose).collect())
}

fn run_seed(seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut files = FaultyDirectory::new();
    let mut history = Arc::new(History::default());
    let mut promised = Lsn(0);
    for generation in 0..4 {
        let what = format!("seed {seed}, after {generation} power losses");
        let shard = open(&files, if rng.random_bool(0.7) { SyncMode::Always } else { SyncMode::EverySec });
        let last = check(&shard, &history, promised, &what);
        history = Arc::new(history.up_to(last));
        let lost = write_and_lose(&shard, &files, &history, &mut rng);
        shard.abandon();
        for (number, (after, acknowledged)) in lost.iter().enumerate() {
            let copy = after.kill().unwrap();
            let shard = try_open(&copy.directory()).unwrap_or_else(|error| panic!("{what}, then loss {number}: {error}"));
            check(&shard, &history, *acknowledged, &format!("{what}, then loss {number}"));
            shard.abandon();
        }
        (files, promised) = lost.into_iter().next_back().unwrap();
    }
}

#[test]
fn power_losses_in_a_row_leave_a_prefix_with_all_that_was_acknowledged() {
    let base = base_seed();
    for seed in base..base + 15 {
        run_seed(seed);
    }
}

/// Was: counters of a table that was flushed and whose slot was taken again while the checkpoint was written, counters of tables that were
/// empty by then, and a flush that was appended and not yet applied when the checkpoint began.
#[test]
fn checkpoints_under_flushes_and_swaps_count_right() {
    let mix = Mix { keys: 30, large: false, whole: 40 };
    for seed in base_seed()..base_seed() + 3 {
        let mut rng = StdRng::seed_from_u64(seed);
        let files = FaultyDirectory::new();
        let history = History::default();
        let shard = open(&files, SyncMode::No);
        let writer = |_| {
            let (mut rng, shard, history) = (StdRng::seed_from_u64(rng.random()), &shard, &history);
            Box::new(move || {
                write_one(shard, history, &mut rng, mix).unwrap();
            }) as Step<'_>
        };
        let writers = (0..2).map(writer).collect();
        let lose = |_| {
            shard.checkpoint().unwrap();
            files.power_loss(rng.random()).unwrap()
        };
        let lost: Vec<FaultyDirectory> = amid(writers, || (0..15).map(lose).collect());
        shard.abandon();
        for (number, after) in lost.iter().enumerate() {
            let shard = open(after, SyncMode::No);
            check(&shard, &history, Lsn(0), &format!("seed {seed}, checkpoint {number}"));
            shard.abandon();
        }
    }
}
