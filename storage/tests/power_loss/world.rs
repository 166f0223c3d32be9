//! A shard under a clock that tests set, whose keys expire, and a model of what has to be in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use esker_storage::clock::Clock;
use esker_storage::fs::FaultyDirectory;
use esker_storage::options::Options;
use esker_storage::shard::{LockPlan, Shard, StorageError};
use esker_storage::types::{Db, Lsn};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::{DBS, History, Op, State};
use super::support::*;

/// Milliseconds that a key with an expiry lives, at most.
const LIFE: i64 = 40;

/// What is on disk, what time it is, and what was written.
pub struct World {
    pub files: FaultyDirectory,
    pub now: Arc<AtomicI64>,
    pub history: Arc<History>,
    /// How many keys there are.
    pub keys: u32,
    /// Whether values may take a segment of their own.
    pub large: bool,
}

impl World {
    pub fn new(keys: u32, large: bool) -> Self {
        Self { files: FaultyDirectory::new(), now: Arc::new(AtomicI64::new(1000)), history: Arc::default(), keys, large }
    }

    /// Another disk at this moment, with the same past.
    pub fn on(&self, files: FaultyDirectory) -> Self {
        let now = Arc::new(AtomicI64::new(self.now.load(Ordering::Relaxed)));
        Self { files, now, history: Arc::clone(&self.history), ..*self }
    }

    /// Opens the shard on these files, by this world's clock.
    pub fn open(&self, files: &FaultyDirectory, options: Options) -> Result<Shard, StorageError> {
        let clock = Clock::Manual(Arc::clone(&self.now));
        Shard::open(&files.directory(), Options { clock, ..options })
    }

    /// Commits one random entry.
    pub fn write(&self, shard: &Shard, rng: &mut StdRng) {
        let (mut op, db) = (Op::random(rng, self.keys, self.large), rng.random_range(0..DBS));
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

    /// Three that write.
    pub fn writers<'s>(&'s self, shard: &'s Shard, rng: &mut StdRng) -> Vec<Step<'s>> {
        let writer = |_| {
            let mut rng = StdRng::seed_from_u64(rng.random());
            Box::new(move || self.write(shard, &mut rng)) as Step<'s>
        };
        (0..3).map(writer).collect()
    }

    /// What is there after all entries up to `last`, by now.
    fn live(&self, last: Lsn) -> State {
        let now = self.now.load(Ordering::Relaxed);
        let mut state = self.history.state_at(last);
        state.retain(|_, (_, expire)| expire.is_none_or(|at| at > now));
        state
    }

    /// Demands that the shard holds what it held after its last entry, but for what has expired, and counts just that once it is swept.
    pub fn check(&self, shard: &Shard, last: Lsn, what: &str) {
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
}
