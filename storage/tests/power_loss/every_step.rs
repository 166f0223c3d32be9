//! Power is lost before each single sync, rename, removal and truncation of a life with rolls, seals, checkpoints and stops, and again
//! before each such step of the starts that follow.

use std::sync::Arc;

use esker_storage::fs::FaultyDirectory;
use esker_storage::options::SyncMode;
use esker_storage::types::Lsn;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::History;
use super::support::*;

/// A filesystem as power left it, and what had been acknowledged by then.
struct Wreck {
    files: FaultyDirectory,
    acknowledged: Lsn,
    step: usize,
}

/// Collects wrecks while something runs on a filesystem.
struct Collector {
    files: FaultyDirectory,
    wrecks: Arc<Mutex<Vec<Wreck>>>,
}

impl Collector {
    /// At each step with probability `chance`; with `kills`, sometimes as a kill -9 leaves it: only where no other thread writes.
    fn start(files: &FaultyDirectory, acknowledged: &Arc<Acknowledged>, seed: u64, chance: f64, kills: bool) -> Self {
        let wrecks = Arc::new(Mutex::new(Vec::new()));
        let state = Mutex::new((StdRng::seed_from_u64(seed), 0));
        let (hooked, collected, acknowledged) = (files.clone(), Arc::clone(&wrecks), Arc::clone(acknowledged));
        files.before_each_step(Some(Arc::new(move || {
            let mut state = state.lock();
            state.1 += 1;
            if state.0.random_bool(chance) {
                let acknowledged = acknowledged.lsn();
                let killed = kills && state.0.random_bool(0.3);
                let files = if killed { hooked.kill() } else { hooked.power_loss(state.0.random()) }.unwrap();
                collected.lock().push(Wreck { files, acknowledged, step: state.1 });
            }
        })));
        Self { files: files.clone(), wrecks }
    }

    fn stop(self) -> Vec<Wreck> {
        self.files.before_each_step(None);
        std::mem::take(&mut self.wrecks.lock())
    }
}

/// One life: writes over several segments, with checkpoints, ended by a clean stop or by none.
fn live(files: &FaultyDirectory, history: &History, acknowledged: &Acknowledged, rng: &mut StdRng, entries: usize, what: &str) {
    let shard = open(files, SyncMode::Always);
    check(&shard, history, acknowledged.lsn(), what);
    for n in 0..entries {
        let lsn = write_one(&shard, history, rng, MIX).unwrap();
        if let Some(lsn) = lsn.filter(|_| rng.random_bool(0.05)) {
            assert!(acknowledged.wait(&shard, lsn));
        }
        if n % 700 == 699 {
            shard.checkpoint().unwrap();
        }
        if n % 400 == 399 {
            // Every step of it is one at which power may be lost.
            shard.request_cleaning();
        }
    }
    if rng.random_bool(0.5) {
        shard.close().unwrap();
        acknowledged.wait(&shard, shard.written_lsn());
    } else {
        shard.abandon();
    }
}

/// Opens a wreck, collecting the wrecks of that start, and opens those too.
fn open_again(wreck: &Wreck, history: &History, seed: u64) {
    let what = format!("seed {seed}, step {}", wreck.step);
    let found = Arc::new(Acknowledged::default());
    let collector = Collector::start(&wreck.files, &found, seed, 0.2, true);
    let shard = try_open(&wreck.files.directory()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let second = collector.stop();
    let last = check(&shard, history, wreck.acknowledged, &what);
    shard.abandon();
    for again in second {
        let what = format!("{what}, then step {} of that start", again.step);
        let shard = try_open(&again.files.directory()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let survived = check(&shard, &history.up_to(last), wreck.acknowledged, &what);
        assert!(survived <= last.next(), "{what}: more than the entry that begins the epoch came back");
        shard.abandon();
    }
}

fn run_seed(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let history = History::default();
    let acknowledged = Arc::new(Acknowledged::default());
    let files = FaultyDirectory::new();
    let collector = Collector::start(&files, &acknowledged, seed, 0.12, false);
    let mut killed = files.clone();
    live(&killed, &history, &acknowledged, &mut rng, 1_500, &format!("seed {seed}, first life"));
    let mut wrecks = collector.stop();
    killed = killed.kill().unwrap();
    let collector = Collector::start(&killed, &acknowledged, seed + 1, 0.12, false);
    live(&killed, &history, &acknowledged, &mut rng, 1_500, &format!("seed {seed}, second life"));
    wrecks.extend(collector.stop());
    println!("seed {seed}: {} wrecks", wrecks.len());
    for wreck in &wrecks {
        open_again(wreck, &history, seed);
    }
}

#[test]
fn power_loss_before_any_step_leaves_a_prefix_with_all_that_was_acknowledged() {
    let base = base_seed();
    for seed in base..base + 4 {
        run_seed(seed * 1000);
    }
}
