//! Opening, writing and comparing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use esker_storage::codec::content_hash::{content_hash, slot_digest_term};
use esker_storage::fs::{Directory, FaultyDirectory};
use esker_storage::options::{Options, SyncMode};
use esker_storage::shard::{LockPlan, Shard, StorageError, Transaction, ValueType};
use esker_storage::types::{Db, Lsn, Slot, UnixMillis};
use rand::Rng;
use rand::rngs::StdRng;

use super::history::{DBS, History, Op, State};

/// The smallest segments, so that tests cross many of them.
pub fn options(sync: SyncMode) -> Options {
    Options { segment_size: 1 << 20, index_reserve: 256 << 20, checkpoint_bytes: u64::MAX, sync, ..Options::default() }
}

pub fn open(files: &FaultyDirectory, sync: SyncMode) -> Shard {
    Shard::open(&files.directory(), options(sync)).unwrap()
}

pub fn try_open(directory: &Arc<dyn Directory>) -> Result<Shard, StorageError> {
    Shard::open(directory, options(SyncMode::Always))
}

/// The seed of this run: a fixed one unless ESKER_SEED gives another.
pub fn base_seed() -> u64 {
    std::env::var("ESKER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// Runs a transaction on the stripes of `keys` (none: all); cold records are fetched, as a server would.
pub fn run<T>(
    shard: &Shard,
    keys: Option<&[&str]>,
    work: impl Fn(&mut Transaction<'_>) -> Result<T, StorageError>,
) -> Result<(T, Option<Lsn>), StorageError> {
    let batch = shard.batch();
    let mut plan = LockPlan::exclusive();
    match keys {
        Some(keys) => keys.iter().for_each(|key| plan.add(&shard.key(key.as_bytes()))),
        None => plan.add_all(),
    }
    loop {
        let mut txn = shard.begin(&batch, &plan);
        match work(&mut txn) {
            Ok(value) => return Ok((value, txn.commit()?)),
            Err(StorageError::Cold(location)) => {
                drop(txn);
                batch.add_fetched(shard.fetch_now(location)?);
            }
            Err(error) => return Err(error),
        }
    }
}

pub fn set(shard: &Shard, key: &str, value: &[u8]) -> Result<Lsn, StorageError> {
    run(shard, Some(&[key]), |txn| txn.put(Db(0), &shard.key(key.as_bytes()), value, None)).map(|(_, lsn)| lsn.unwrap())
}

pub fn get(shard: &Shard, key: &str) -> Option<Vec<u8>> {
    run(shard, Some(&[key]), |txn| Ok(txn.get(Db(0), &shard.key(key.as_bytes()))?.map(|found| found.data.into_owned()))).unwrap().0
}

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// How many keys there are.
    pub keys: u32,
    /// Whether values may take a segment of their own.
    pub large: bool,
    /// How many of 200 entries flush or swap databases.
    pub whole: u32,
}

/// Mostly small values, and a bit of everything.
pub const MIX: Mix = Mix { keys: 100, large: true, whole: 2 };

/// Commits one random entry of `history`: of one op, sometimes of several, seldom of a whole database.
pub fn write_one(shard: &Shard, history: &History, rng: &mut StdRng, mix: Mix) -> Result<Option<Lsn>, StorageError> {
    let Mix { keys, large, whole } = mix;
    let ops: Vec<Op> = match rng.random_range(0..200) {
        n if n < whole / 2 => vec![Op::Flush { db: rng.random_range(0..DBS) }],
        n if n < whole => vec![Op::Swap { a: rng.random_range(0..DBS), b: rng.random_range(0..DBS) }, Op::random(rng, keys, large)],
        n if n < whole + 18 => (0..rng.random_range(2..8)).map(|_| Op::random(rng, keys, large)).collect(),
        _ => vec![Op::random(rng, keys, large)],
    };
    let locked: Option<Vec<&str>> = ops.iter().map(Op::key).collect();
    let (_, lsn) = run(shard, locked.as_deref(), |txn| ops.iter().try_for_each(|op| op.apply(txn, shard)))?;
    if let Some(lsn) = lsn {
        history.record(lsn, ops);
    }
    Ok(lsn)
}

/// Something that a thread does again and again.
pub type Step<'s> = Box<dyn FnMut() + Send + 's>;

/// Does `work` while each step is done over and over, on a thread of its own.
pub fn amid<T>(steps: Vec<Step<'_>>, work: impl FnOnce() -> T) -> T {
    /// Ends the threads however the work ends: they would be waited for.
    struct Stop<'s>(&'s AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stopped = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(stopped);
        for mut step in steps {
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    step();
                }
            });
        }
        work()
    })
}

/// What was acknowledged: the highest LSN that somebody was told is on the medium.
#[derive(Default)]
pub struct Acknowledged(AtomicU64);

impl Acknowledged {
    /// Waits until `lsn` is flushed, as a reply under `always` does; false when the log is poisoned.
    pub fn wait(&self, shard: &Shard, lsn: Lsn) -> bool {
        shard.request_flush(lsn);
        while shard.flushed_lsn() < lsn {
            if shard.log().durability().is_poisoned() {
                return false;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        self.0.fetch_max(lsn.0, Ordering::SeqCst);
        true
    }

    pub fn lsn(&self) -> Lsn {
        Lsn(self.0.load(Ordering::SeqCst))
    }
}

/// Demands that the shard holds exactly the state after its last LSN, counters and digests included, and returns that LSN.
pub fn check(shard: &Shard, history: &History, acknowledged: Lsn, what: &str) -> Lsn {
    let report = shard.recovery_report();
    let last = report.last_lsn;
    assert!(last >= acknowledged, "{what}: acknowledged up to LSN {acknowledged}, there is only {report:?}");
    let expected = history.state_at(last);
    assert_eq!(report.keys, expected.len() as u64, "{what}: keys, {report:?}");
    for ((db, key), (value, expire)) in &expected {
        let found = run(shard, Some(&[key]), |txn| {
            let found = txn.get(Db(*db), &shard.key(key.as_bytes()))?;
            Ok(found.map(|found| (found.data.into_owned(), found.expire_at.map(|at| at.0))))
        });
        let (found, _) = found.unwrap_or_else(|error| panic!("{what}: db {db} {key}: {error}, {report:?}"));
        assert!(found.as_ref() == Some(&(value.clone(), *expire)), "{what}: db {db} {key} is not as it was at LSN {last}");
    }
    check_counters(shard, &expected, what);
    last
}

/// Demands that counters and digests are those of exactly these keys.
pub fn check_counters(shard: &Shard, expected: &State, what: &str) {
    let tables = shard.index().tables();
    for db in 0..DBS {
        let of_db = || expected.iter().filter(|((of, _), _)| *of == db);
        let digest = of_db().fold(0_u128, |sum, ((_, key), (value, expire))| {
            sum.wrapping_add(slot_digest_term(content_hash(value), expire.map(UnixMillis), ValueType::String, key.as_bytes()))
        });
        let bytes: u64 = of_db().map(|((_, key), (value, _))| (key.len() + value.len()) as u64).sum();
        let mut found = (0_u64, 0_u64, 0_u64, 0_u128);
        for slot in (0..16384).map(Slot) {
            let counters = shard.index().stripe(slot.stripe()).read().slot_counters(shard.index(), tables.slot(Db(db)), slot);
            found.0 += u64::from(counters.keys);
            found.1 += u64::from(counters.expires);
            found.2 += counters.bytes;
            found.3 = found.3.wrapping_add(counters.digest);
        }
        let expires = of_db().filter(|(_, (_, expire))| expire.is_some()).count() as u64;
        assert_eq!(found, (of_db().count() as u64, expires, bytes, digest), "{what}: keys, expires, bytes and digest of db {db}");
    }
}

/// Whether there is time for the long form of the tests.
pub fn long() -> bool {
    std::env::var_os("ESKER_LONG").is_some()
}
