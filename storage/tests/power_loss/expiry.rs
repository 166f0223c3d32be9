//! Keys expire and are swept while others write and checkpoints are taken; the process is killed, or power is lost, at random moments.
//! Whatever the index had lost by then, counters and digests must be those of the keys that are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use esker_storage::clock::Clock;
use esker_storage::fs::FaultyDirectory;
use esker_storage::options::{Options, SyncMode};
use esker_storage::shard::{LockPlan, Shard, StorageError};
use esker_storage::types::{Db, Lsn};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::{DBS, History, Op, State};
use super::support::*;

/// Milliseconds that a key with an expiry lives, at most, and by which time goes on at a time.
const LIFE: i64 = 40;
const KEYS: u32 = 60;

struct World {
    files: FaultyDirectory,
    now: Arc<AtomicI64>,
    history: History,
}

impl World {
    fn open(&self, files: &FaultyDirectory, sweep_time: Duration) -> Shard {
        let clock = Clock::Manual(Arc::clone(&self.now));
        Shard::open(&files.directory(), Options { clock, expiry_sweep_time: sweep_time, ..options(SyncMode::EverySec) }).unwrap()
    }

    /// Commits one random entry.
    fn write(&self, shard: &Shard, rng: &mut StdRng) {
        let (mut op, db) = (Op::random(rng, KEYS, false), rng.random_range(0..DBS));
        let soon = self.now.load(Ordering::Relaxed) + rng.random_range(1..LIFE);
        match &mut op {
            Op::Put { expire, .. } if rng.random_bool(0.7) => *expire = Some(soon),
            Op::Expire { expire: Some(at), .. } => *at = soon,
            Op::Delete { .. } if rng.random_bool(0.02) => op = Op::Flush { db },
            Op::Delete { .. } if rng.random_bool(0.02) => op = Op::Swap { a: 0, b: db },
            _ => {}
        }
        let mut plan = LockPlan::exclusive();
        match op.key() {
            Some(key) => plan.add(&shard.key(key.as_bytes())),
            None => plan.add_all(),
        }
        let batch = shard.batch();
        loop {
            let mut txn = shard.begin(&batch, &plan);
            let now = txn.now().0;
            match op.apply(&mut txn, shard) {
                Ok(()) => {
                    if let Some(lsn) = txn.commit().unwrap() {
                        self.history.record_at(lsn, now, vec![op]);
                    }
                    return;
                }
                Err(StorageError::Cold(location)) => {
                    drop(txn);
                    batch.add_fetched(shard.fetch_now(location).unwrap());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// What is there after all entries up to `last`, by now.
    fn live(&self, last: Lsn) -> State {
        let now = self.now.load(Ordering::Relaxed);
        let mut state = self.history.state_at(last);
        state.retain(|_, (_, expire)| expire.is_none_or(|at| at > now));
        state
    }

    /// Demands that the shard holds what it held after its last entry, but for what has expired, and counts just that once it is swept.
    fn check(&self, shard: &Shard, last: Lsn, what: &str) {
        let expected = self.live(last);
        let compare = |when: &str| {
            for ((db, key), (value, expire)) in &expected {
                let get = |txn: &mut esker_storage::shard::Transaction<'_>| {
                    let found = txn.get(Db(*db), &shard.key(key.as_bytes()))?;
                    Ok(found.map(|found| (found.data.into_owned(), found.expire_at.map(|at| at.0))))
                };
                let (found, _) = run(shard, Some(&[key]), get).unwrap();
                assert!(found.as_ref() == Some(&(value.clone(), *expire)), "{what}, {when}: db {db} {key} is not as it was at LSN {last}");
            }
        };
        compare("before a sweep");
        shard.sweep().unwrap();
        check_counters(shard, &expected, what);
        compare("after a sweep");
        assert_eq!(shard.sweep().unwrap().removed, 0, "{what}: a second sweep finds nothing");
    }

    /// Three threads write, one sweeps, one lets time go on; what power losses at random moments leave is returned.
    fn live_and_lose(&self, shard: &Shard, rng: &mut StdRng) -> Vec<FaultyDirectory> {
        let stop = AtomicBool::new(false);
        let go_on = || !stop.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let mut rng = StdRng::seed_from_u64(rng.random());
                scope.spawn(move || {
                    while go_on() {
                        self.write(shard, &mut rng);
                    }
                });
            }
            scope.spawn(move || {
                while go_on() {
                    shard.sweep().unwrap();
                }
            });
            scope.spawn(move || {
                while go_on() {
                    self.now.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_micros(100));
                }
            });
            let mut lost = Vec::new();
            for _ in 0..4 {
                std::thread::sleep(Duration::from_micros(rng.random_range(200..8_000)));
                if rng.random_bool(0.6) {
                    shard.checkpoint().unwrap();
                }
                lost.push(self.files.power_loss(rng.random()).unwrap());
            }
            stop.store(true, Ordering::Relaxed);
            lost
        })
    }
}

fn run_seed(seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World { files: FaultyDirectory::new(), now: Arc::new(AtomicI64::new(1000)), history: History::default() };
    for generation in 0..3 {
        let what = |how: &str| format!("seed {seed}, generation {generation}, {how}");
        // The thread sweeps, too, in half of the lives.
        let shard = world.open(&world.files, if rng.random_bool(0.5) { Duration::from_millis(5) } else { Duration::ZERO });
        let found = shard.recovery_report().last_lsn;
        world.history = world.history.up_to(found);
        let lost = world.live_and_lose(&shard, &mut rng);
        let last = shard.written_lsn();
        shard.abandon();
        for (number, after) in lost.iter().enumerate() {
            let shard = world.open(&after.kill().unwrap(), Duration::ZERO);
            world.check(&shard, shard.recovery_report().last_lsn, &what(&format!("power loss {number}")));
            shard.abandon();
        }
        let killed = world.files.kill().unwrap();
        let shard = world.open(&killed, Duration::ZERO);
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
