//! Keys expire and are swept while others write and checkpoints are taken; the process is killed, or power is lost, at random moments.
//! Whatever the index had lost by then, counters and digests must be those of the keys that are there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_storage::fs::FaultyDirectory;
use esker_storage::options::{Options, SyncMode};
use esker_storage::shard::Shard;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::support::*;
use super::world::World;

const KEYS: u32 = 60;

/// Segments of the usual size, and a sweep that takes so long (zero: none).
fn sweeping(sweep_time: Duration) -> Options {
    Options { expiry_sweep_time: sweep_time, ..options(SyncMode::EverySec) }
}

impl World {
    /// Three threads write, one sweeps, one lets time go on; what power losses at random moments leave is returned.
    fn live_and_lose(&self, shard: &Shard, rng: &mut StdRng) -> Vec<FaultyDirectory> {
        let mut steps = self.writers(shard, rng);
        steps.push(Box::new(|| {
            shard.sweep().unwrap();
        }));
        steps.push(Box::new(|| {
            self.now.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(100));
        }));
        let lose = |_| {
            std::thread::sleep(Duration::from_micros(rng.random_range(200..8_000)));
            if rng.random_bool(0.6) {
                shard.checkpoint().unwrap();
            }
            self.files.power_loss(rng.random()).unwrap()
        };
        amid(steps, || (0..4).map(lose).collect())
    }
}

fn run_seed(seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new(KEYS, false);
    for generation in 0..3 {
        let what = |how: &str| format!("seed {seed}, generation {generation}, {how}");
        // The thread sweeps, too, in half of the lives.
        let sweep_time = if rng.random_bool(0.5) { Duration::from_millis(5) } else { Duration::ZERO };
        let shard = world.open(&world.files, sweeping(sweep_time)).unwrap();
        let found = shard.recovery_report().last_lsn;
        world.history = Arc::new(world.history.up_to(found));
        let lost = world.live_and_lose(&shard, &mut rng);
        let last = shard.written_lsn();
        shard.abandon();
        for (number, after) in lost.iter().enumerate() {
            let shard = world.open(&after.kill().unwrap(), sweeping(Duration::ZERO)).unwrap();
            world.check(&shard, shard.recovery_report().last_lsn, &what(&format!("power loss {number}")));
            shard.abandon();
        }
        let killed = world.files.kill().unwrap();
        let shard = world.open(&killed, sweeping(Duration::ZERO)).unwrap();
        let found = shard.recovery_report().last_lsn;
        assert!(found >= last, "a kill takes nothing away");
        world.check(&shard, found, &what("killed"));
        shard.abandon();
        world.files = if rng.random_bool(0.5) { killed } else { lost.into_iter().next_back().unwrap() };
    }
}

#[test]
fn counters_are_those_of_the_live_keys_after_kills_and_power_losses_amid_sweeps() {
    let base = base_seed();
    for seed in base..base + 4 {
        run_seed(seed);
    }
}
