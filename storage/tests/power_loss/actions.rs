//! Writes, time, sweeps, cleaning, checkpoints and every kind of end in random order, against the model.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_storage::options::{Options, SyncMode};
use esker_storage::shard::Shard;
use esker_storage::types::Lsn;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::support::*;
use super::world::World;

/// What can be done. Whatever else changes what the log or the index holds belongs here.
#[derive(Debug, Clone, Copy)]
enum Action {
    /// So many entries, a millisecond after every tenth.
    Write(usize),
    /// So many milliseconds pass.
    Wait(i64),
    Sweep,
    /// A pass over everything, waited for.
    Clean,
    /// A pass that goes on while other things happen.
    StartCleaning,
    Checkpoint,
    Flush,
    /// A clean stop and a start.
    Restart,
    Kill,
    LosePower,
}

impl Action {
    fn random(rng: &mut StdRng) -> Self {
        match rng.random_range(0..100) {
            0..55 => Self::Write(rng.random_range(1..200)),
            55..65 => Self::Wait(rng.random_range(1..60)),
            65..72 => Self::Sweep,
            72..75 => Self::Clean,
            75..83 => Self::StartCleaning,
            83..87 => Self::Checkpoint,
            87..90 => Self::Flush,
            90..93 => Self::Restart,
            93..97 => Self::Kill,
            _ => Self::LosePower,
        }
    }
}

fn small() -> Options {
    Options { segment_size: 64 << 10, index_reserve: 64 << 20, expiry_sweep_time: Duration::ZERO, ..options(SyncMode::EverySec) }
}

struct Life {
    world: World,
    shard: Option<Shard>,
    rng: StdRng,
    /// The last entry that the present process found or wrote, and that power loss must leave.
    flushed: Lsn,
}

impl Life {
    fn shard(&self) -> &Shard {
        self.shard.as_ref().unwrap()
    }

    fn act(&mut self, action: Action, what: &str) {
        match action {
            Action::Write(entries) => self.write(entries),
            Action::Wait(millis) => drop(self.world.now.fetch_add(millis, Ordering::Relaxed)),
            Action::Sweep => drop(self.shard().sweep().unwrap()),
            Action::Clean => self.shard().clean(Duration::from_secs(60)).unwrap_or_else(|error| panic!("{what}: {error}")),
            Action::StartCleaning => self.shard().request_cleaning(),
            Action::Checkpoint => drop(self.shard().checkpoint().unwrap()),
            Action::Flush => self.flushed = self.shard().flush_log().unwrap(),
            Action::Restart => {
                self.shard().close().unwrap();
                self.shard = None;
                self.start(what);
            }
            Action::Kill => {
                let written = self.shard().written_lsn();
                self.shard.take().unwrap().abandon();
                self.world.files = self.world.files.kill().unwrap();
                self.flushed = self.flushed.max(written);
                let found = self.start(what);
                assert!(found >= written, "{what}: a kill took entries away");
            }
            Action::LosePower => {
                // While its threads are still at work.
                let lost = self.world.files.power_loss(self.rng.random()).unwrap();
                self.shard.take().unwrap().abandon();
                self.world.files = lost;
                let found = self.start(what);
                assert!(found >= self.flushed, "{what}: LSN {} was flushed, {found} is the last", self.flushed);
            }
        }
    }

    fn write(&mut self, entries: usize) {
        let mut rng = StdRng::seed_from_u64(self.rng.random());
        for n in 0..entries {
            self.world.write(self.shard(), &mut rng);
            if n % 10 == 0 {
                self.world.now.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Opens what is there, and compares it with the model.
    fn start(&mut self, what: &str) -> Lsn {
        let shard = self.world.open(&self.world.files, small()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let last = shard.recovery_report().last_lsn;
        self.world.history = Arc::new(self.world.history.up_to(last));
        self.world.check(&shard, last, what);
        self.flushed = shard.flushed_lsn();
        self.shard = Some(shard);
        last
    }
}

fn run_seed(seed: u64, actions: usize) {
    println!("seed {seed}");
    let mut life = Life { world: World::new(120, true), shard: None, rng: StdRng::seed_from_u64(seed), flushed: Lsn(0) };
    life.start("at first");
    for number in 0..actions {
        let action = Action::random(&mut life.rng);
        life.act(action, &format!("seed {seed}, action {number}, {action:?}"));
    }
    let last = life.shard().written_lsn();
    life.world.check(life.shard(), last, &format!("seed {seed}, at the end"));
}

#[test]
fn any_order_of_writes_expiry_cleaning_and_ends_agrees_with_the_model() {
    let (seeds, actions) = if long() { (60, 400) } else { (3, 120) };
    for seed in base_seed()..base_seed() + seeds {
        run_seed(seed, actions);
    }
}
