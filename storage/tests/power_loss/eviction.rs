//! Keys are evicted, expire and are swept, and segments are cleaned, while others write and checkpoints are taken; the process is killed, or
//! power is lost, at random moments. What comes back is the state after the last entry: without the keys that entries up to there evicted,
//! with all others, and counted so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use esker_storage::codec::evicted::Evicted;
use esker_storage::codec::op::OpCode;
use esker_storage::evict::{EvictionOrder, EvictionPolicy};
use esker_storage::fs::FaultyDirectory;
use esker_storage::manifest::Manifest;
use esker_storage::options::{Options, SyncMode};
use esker_storage::segment::names::{FileName, INDEX};
use esker_storage::segment::{Continuity, Frame, SegmentHeader, SegmentReader};
use esker_storage::shard::Shard;
use esker_storage::types::{EpochNumber, Lsn};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::Op;
use super::support::*;
use super::world::World;

const KEYS: u32 = 300;

/// Small segments, and a limit of several of them.
fn small(eviction: Option<EvictionOrder>) -> Options {
    Options {
        segment_size: 64 << 10,
        index_reserve: 64 << 20,
        data_limit: 256 << 10,
        eviction: eviction.map(|order| EvictionPolicy { order, volatile_only: false }),
        expiry_sweep_time: Duration::ZERO,
        ..options(SyncMode::EverySec)
    }
}

impl World {
    /// Three threads write, one sweeps and has segments cleaned, the shard evicts; what power losses at random moments leave is returned.
    fn evict_and_lose(&self, shard: &Shard, rng: &mut StdRng) -> Vec<FaultyDirectory> {
        let mut steps = self.writers(shard, rng);
        steps.push(Box::new(|| {
            shard.sweep().unwrap();
            shard.request_cleaning();
            self.now.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(300));
        }));
        let lose = |_| {
            std::thread::sleep(Duration::from_millis(rng.random_range(3..12)));
            if rng.random_bool(0.5) {
                shard.checkpoint().unwrap();
            }
            let lost = self.files.power_loss(rng.random()).unwrap();
            self.note_evictions(&self.files);
            lost
        };
        amid(steps, || (0..4).map(lose).collect())
    }

    /// Adds to the history what was evicted since it was last looked at: the log tells.
    fn note_evictions(&self, files: &FaultyDirectory) {
        let directory = files.directory().subdirectory("shard-0").unwrap();
        let manifest = Manifest::load(&*directory).unwrap().unwrap();
        for entry in &manifest.segments {
            let name = FileName::Segment(entry.base, entry.generation).to_string();
            // Cleaning goes on.
            let Ok(file) = directory.open_read_only(&name) else { continue };
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_at(0, &mut bytes).unwrap();
            let Ok(header) = SegmentHeader::decode(&bytes) else { continue };
            let reader = SegmentReader::new(&bytes, header.seed(), Continuity::Rising, header.base_lsn, EpochNumber(0));
            for (_, frame) in reader.map_while(Result::ok) {
                let Frame::Entry(entry) = frame else { continue };
                for (_, op) in entry.ops().filter(|(_, op)| op.header.code == OpCode::Evict) {
                    let lsn = entry.head().lsn;
                    let entries = Evicted::decode(op.body).unwrap().ops().iter().map(|(lsn, _)| *lsn).collect();
                    if !self.history.knows(lsn) {
                        self.history.record(lsn, vec![Op::Evict { entries, keys: Vec::new() }]);
                    }
                }
            }
        }
    }

    /// Adds what entries evicted that cleaning has dropped since, before they were looked at.
    fn note_told(&self, told: &Told) {
        for (lsn, keys) in told.iter().filter(|(lsn, _)| !self.history.knows(**lsn)) {
            self.history.record(*lsn, vec![Op::Evict { entries: BTreeSet::new(), keys: keys.clone() }]);
        }
    }

    /// Demands that a shard on these files is as its last entry left it, also without the index and without a checkpoint.
    fn check_evicted(&self, files: &FaultyDirectory, what: &str) {
        // Starts write entries of their own: the first tells what is the last of the others.
        let mut last = None;
        for how in ["as it was", "without the index", "without a checkpoint"] {
            let shard = self.open(files, small(None)).unwrap_or_else(|error| panic!("{what}, {how}: {error}"));
            let last = *last.get_or_insert(shard.recovery_report().last_lsn);
            self.check(&shard, last, &format!("{what}, {how}"));
            shard.abandon();
            let directory = files.directory().subdirectory("shard-0").unwrap();
            directory.remove(INDEX).unwrap();
            if how == "without the index" {
                let checkpoints = directory.list().unwrap().into_iter().filter(|name| name.starts_with("checkpoint-"));
                checkpoints.for_each(|name| directory.remove(&name).unwrap());
            }
        }
    }
}

/// Keys that were told of when they were evicted, by the entry that named their records.
type Told = BTreeMap<Lsn, Vec<(u8, String)>>;

fn tell(shard: &Arc<Shard>, told: &Arc<Mutex<Told>>) {
    let (weak, told) = (Arc::downgrade(shard), Arc::clone(told));
    shard.on_evicted(Box::new(move |db, key| {
        let Some(shard) = weak.upgrade() else { return };
        let key = String::from_utf8(key.to_vec()).unwrap();
        told.lock().unwrap().entry(shard.index().evicted()).or_default().push((db.0, key));
    }));
}

fn run_seed(seed: u64) -> u64 {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new(KEYS, false);
    let mut evicted = 0;
    for generation in 0..3 {
        let what = |how: &str| format!("seed {seed}, generation {generation}, {how}");
        let orders = [EvictionOrder::S3Fifo, EvictionOrder::Lru, EvictionOrder::Random];
        let shard = world.open(&world.files, small(Some(orders[rng.random_range(0..orders.len())]))).unwrap();
        world.history = Arc::new(world.history.up_to(shard.recovery_report().last_lsn));
        let shard = Arc::new(shard);
        let told = Arc::new(Mutex::new(Told::new()));
        tell(&shard, &told);
        let lost = world.evict_and_lose(&shard, &mut rng);
        let last = shard.written_lsn();
        evicted += shard.eviction_figures().keys;
        // The listener may still hold it for a moment.
        while Arc::strong_count(&shard) > 1 {
            std::thread::yield_now();
        }
        Arc::into_inner(shard).unwrap().abandon();
        world.note_evictions(&world.files);
        lost.iter().for_each(|lost| world.note_evictions(lost));
        world.note_told(&std::mem::take(&mut *told.lock().unwrap()));
        for (number, after) in lost.iter().enumerate() {
            world.check_evicted(&after.kill().unwrap(), &what(&format!("power loss {number}")));
        }
        let killed = world.files.kill().unwrap();
        let shard = world.open(&killed.kill().unwrap(), small(None)).unwrap();
        assert!(shard.recovery_report().last_lsn >= last, "a kill takes nothing away");
        shard.abandon();
        world.check_evicted(&killed.kill().unwrap(), &what("killed"));
        world.files = if rng.random_bool(0.5) { killed } else { lost.into_iter().next_back().unwrap() };
    }
    evicted
}

#[test]
fn kills_and_power_losses_amid_evictions_bring_nothing_back_and_take_nothing_else() {
    let (base, seeds) = (base_seed(), if long() { 40 } else { 3 });
    let evicted: u64 = (base..base + seeds).map(run_seed).sum();
    println!("{evicted} keys evicted");
    assert!(evicted > 100, "only {evicted} keys evicted");
}
