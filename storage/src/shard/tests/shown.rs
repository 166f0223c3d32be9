//! What a batch notes of what it shows is enough: a log that ends there, or anywhere between there and where it ended, shows the same.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::clock::Clock;
use crate::evict::EvictionPolicy;
use crate::fs::FaultyDirectory;
use crate::log::{LogReader, NextInLog};
use crate::options::Role;
use crate::snapshot::testing::receive;
use crate::snapshot::{Aside, exchange};
use crate::types::{Lsn, NodeId};

const DATABASES: u8 = 2;
const KEYS: u32 = 24;

/// Something that a reader was shown.
#[derive(Debug)]
struct Seen {
    db: Db,
    key: String,
    time: UnixMillis,
    /// Its length and its last byte.
    value: Option<(usize, u8)>,
    /// What was noted, and the end of the log.
    shown: Lsn,
    written: Lsn,
    plain: bool,
}

struct Fixture {
    now: Arc<AtomicI64>,
    files: FaultyDirectory,
}

impl Fixture {
    fn options(&self, role: Role) -> Options {
        let clock = Clock::Manual(Arc::clone(&self.now));
        Options { clock, expiry_sweep_time: Duration::ZERO, role, ..options(SyncMode::No) }
    }

    fn open(&self) -> Shard {
        let directory: Arc<dyn Directory> = self.files.directory();
        let shard = Shard::open(&directory, self.options(Role::Primary)).unwrap();
        // What was not in memory is read from copies then.
        shard.log.copies.set_budget(4 << 20);
        shard
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(Relaxed))
    }

    /// A replica with what the primary has now.
    fn replica(&self, primary: &Shard) -> Shard {
        let root: Arc<dyn Directory> = Arc::new(crate::fs::MemoryDirectory::new());
        let empty = Shard::open(&root, self.options(Role::Replica)).unwrap();
        let snapshot = primary.snapshot().unwrap();
        let staging = receive(&snapshot, Lsn(0), primary, &root, usize::MAX);
        staging.finish(&snapshot.manifest, NodeId(77)).unwrap();
        exchange(&root, &empty, Aside::Remove, self.options(Role::Replica), &|| true).unwrap().shard
    }
}

/// The value of a key at a time, by the short way if it goes, and what was noted.
fn read(shard: &Shard, db: Db, name: &str, time: UnixMillis) -> (Option<(usize, u8)>, Lsn, bool) {
    let brief = |value: &[u8]| (value.len(), value[value.len() - 1]);
    let batch = Batch::at(time).noting(true);
    let key = shard.key(name.as_bytes());
    if let Some(value) = shard.read_plain(&batch, db, &key, |value| value.map(brief)) {
        return (value, batch.shown(), true);
    }
    let mut plan = LockPlan::shared();
    plan.add(&key);
    loop {
        match shard.begin(&batch, &plan).get(db, &key) {
            Ok(object) => return (object.map(|object| brief(&object.data)), batch.shown(), false),
            Err(StorageError::Cold(location)) => batch.add_fetched(shard.fetch_now(location).unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
}

fn change(fixture: &Fixture, shard: &Shard, rng: &mut StdRng) {
    let (db, other) = (Db(rng.random_range(0..DATABASES)), Db(rng.random_range(0..DATABASES)));
    let name = format!("k{}", rng.random_range(0..KEYS));
    let key = shard.key(name.as_bytes());
    let value = vec![rng.random(); rng.random_range(1..3_000)];
    let expire_at = UnixMillis(fixture.now().0 + rng.random_range(-20..200));
    match rng.random_range(0..100) {
        0..25 => run(shard, |txn| txn.put(db, &key, &value, None)).unwrap(),
        25..50 => run(shard, |txn| txn.put(db, &key, &value, Some(expire_at))).unwrap(),
        50..65 => drop(run(shard, |txn| txn.delete(db, &key)).unwrap()),
        65..75 => drop(run(shard, |txn| txn.write_range(db, &key, 2000, &value[..value.len().min(50)])).unwrap()),
        75..82 => drop(run(shard, |txn| txn.set_expire(db, &key, Some(expire_at))).unwrap()),
        82..92 => drop(shard.sweep().unwrap()),
        92..94 => run(shard, |txn| txn.flush(db)).unwrap(),
        94..97 => run(shard, |txn| txn.swap(db, other)).unwrap(),
        _ => {
            shard.set_data_limit(1);
            shard.set_eviction(Some(EvictionPolicy::S3_FIFO));
            shard.evict().unwrap();
            shard.set_eviction(None);
            shard.set_data_limit(0);
        }
    }
    // The clock is set back now and then.
    fixture.now.fetch_add(if rng.random_bool(0.05) { -60 } else { rng.random_range(0..20) }, Relaxed);
}

fn look(fixture: &Fixture, shard: &Shard, rng: &mut StdRng) -> Seen {
    let (db, key, time) = (Db(rng.random_range(0..DATABASES)), format!("k{}", rng.random_range(0..KEYS)), fixture.now());
    let (value, shown, plain) = read(shard, db, &key, time);
    Seen { db, key, time, value, shown, written: shard.written_lsn(), plain }
}

/// Has the replica go through the log entry by entry, and read again what was read.
fn compare(primary: &Shard, replica: &Shard, seen: &[Seen], rng: &mut StdRng) {
    let mut reader = LogReader::new(replica.written_lsn().next());
    while let Some(next) = reader.read(primary.log(), 1, true).unwrap() {
        let NextInLog::Piece(piece) = next else { panic!("no large values") };
        let end = replica.replicate(piece.bytes()).unwrap();
        if rng.random_bool(0.1) {
            replica.sweep().unwrap();
        }
        for one in seen.iter().filter(|one| (one.shown..=one.written).contains(&end)) {
            let (value, ..) = read(replica, one.db, &one.key, one.time);
            assert!(value == one.value, "with the log up to {end}, {one:?} is {value:?}");
        }
    }
}

#[test]
fn what_was_shown_is_so_wherever_the_log_ends_behind_what_was_noted() {
    let (mut absent, mut early, mut plain) = (0, 0, 0);
    for seed in 0..12 {
        println!("seed {seed}");
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut fixture = Fixture { now: Arc::new(AtomicI64::new(1000)), files: FaultyDirectory::new() };
        let mut primary = fixture.open();
        let replica = fixture.replica(&primary);
        let mut seen = Vec::new();
        for _ in 0..400 {
            change(&fixture, &primary, rng);
            (0..3).for_each(|_| seen.push(look(&fixture, &primary, rng)));
            if rng.random_bool(0.02) {
                primary.abandon();
                fixture.files = fixture.files.kill().unwrap();
                primary = fixture.open();
            }
        }
        compare(&primary, &replica, &seen, rng);
        absent += seen.iter().filter(|one| one.value.is_none() && one.shown < one.written).count();
        early += seen.iter().filter(|one| one.value.is_some() && one.shown < one.written).count();
        plain += seen.iter().filter(|one| one.plain).count();
    }
    assert!(absent > 100 && early > 100 && plain > 100, "{absent} {early} {plain}: nothing is seen before the end of the log");
}

#[test]
fn many_keys_tell_of_the_whole_log_and_a_batch_that_does_not_note_of_nothing() {
    let shard = Shard::temporary();
    set(&shard, "one", b"1");
    set(&shard, "two", b"2");
    let batch = shard.batch().noting(true);
    let (one, all) = (shard.key(b"one"), LockPlan::shared());
    let mut plan = LockPlan::shared();
    plan.add_all();
    let first = shard.begin(&batch, &plan).metadata(Db(0), &one).unwrap().unwrap().lsn;
    assert!(batch.shown() == first && first < shard.written_lsn());
    shard.begin(&batch, &all).tells_of_all();
    assert_eq!(batch.shown(), shard.written_lsn());
    let silent = shard.batch();
    shard.begin(&silent, &plan).tells_of_all();
    shard.read_plain(&silent, Db(0), &one, |value| assert!(value.is_some())).unwrap();
    assert_eq!(silent.shown(), Lsn(0));
}
