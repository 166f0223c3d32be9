//! Syncs that fail and disks that are full.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use esker_storage::clock::Clock;
use esker_storage::fs::FaultyDirectory;
use esker_storage::options::{Options, SyncMode};
use esker_storage::shard::{Shard, StorageError};
use esker_storage::types::{Db, UnixMillis};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::History;
use super::support::*;

#[test]
fn failed_sync_poisons_the_log_for_writes_and_not_for_reads() {
    for seed in base_seed()..base_seed() + 15 {
        let what = format!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let files = FaultyDirectory::new();
        let history = History::default();
        let acknowledged = Acknowledged::default();
        let shard = open(&files, SyncMode::Always);
        let first = set(&shard, "first", b"value").unwrap();
        history.record(first, vec![put("first", b"value")]);
        assert!(acknowledged.wait(&shard, first));
        files.fail_sync_after(rng.random_range(0..40));
        // Large values sync files of their own, whose failure refuses one write and no more.
        let refused = loop {
            match write_one(&shard, &history, &mut rng, Mix { keys: 50, ..MIX }) {
                Ok(Some(lsn)) => drop(acknowledged.wait(&shard, lsn)),
                Ok(None) => {}
                Err(error @ StorageError::Poisoned { .. }) => break error,
                Err(StorageError::Io { .. }) => files.fail_sync_after(0),
                Err(error) => panic!("{what}: {error}"),
            }
        };
        assert!(refused.to_string().contains("poisoned"), "{refused}");
        assert!(matches!(set(&shard, "second", b"value"), Err(StorageError::Poisoned { .. })), "{what}: once poisoned, poisoned");
        assert!(matches!(shard.flush_log(), Err(StorageError::Poisoned { .. })), "{what}");
        assert!(shard.close().is_err(), "{what}: a poisoned log does not stop cleanly");
        get(&shard, "first");
        drop(shard);
        for loss in 0..3 {
            let shard = try_open(&files.power_loss(rng.random()).unwrap().directory()).unwrap();
            check(&shard, &history, acknowledged.lsn(), &format!("{what}, loss {loss}"));
        }
    }
}

fn put(key: &str, value: &[u8]) -> super::history::Op {
    super::history::Op::Put { db: 0, key: key.to_owned(), value: value.to_vec(), expire: None }
}

#[test]
fn full_disk_refuses_writes_and_recovers_by_itself() {
    for seed in base_seed()..base_seed() + 3 {
        let what = format!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let files = FaultyDirectory::new();
        let history = History::default();
        let shard = open(&files, SyncMode::Always);
        let first = set(&shard, "first", b"value").unwrap();
        history.record(first, vec![put("first", b"value")]);
        files.set_capacity(files.used() + rng.random_range(0..(1 << 20)));
        let mut refused = 0;
        while refused < 5 {
            match write_one(&shard, &history, &mut rng, Mix { keys: 50, ..MIX }) {
                Ok(_) => {}
                Err(error) if error.is_disk_full() => refused += 1,
                Err(error) => panic!("{what}: {error}"),
            }
        }
        // Nothing was poisoned, what was written can still be synced and read.
        let written = shard.written_lsn();
        let acknowledged = Acknowledged::default();
        assert!(acknowledged.wait(&shard, written), "{what}");
        get(&shard, "first");
        let lost = files.power_loss(rng.random()).unwrap();
        lost.set_capacity(u64::MAX);
        files.set_capacity(u64::MAX);
        let deadline = Instant::now() + Duration::from_secs(20);
        let resumed = loop {
            match set(&shard, "after", b"there is room again") {
                Ok(lsn) => break lsn,
                Err(error) if error.is_disk_full() && Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => panic!("{what}: {error}"),
            }
        };
        history.record(resumed, vec![put("after", b"there is room again")]);
        assert!(acknowledged.wait(&shard, resumed), "{what}");
        shard.abandon();
        let shard = try_open(&lost.directory()).unwrap();
        check(&shard, &history, written, &format!("{what}, power lost while full"));
        let shard = try_open(&files.power_loss(rng.random()).unwrap().directory()).unwrap();
        check(&shard, &history, resumed, &format!("{what}, power lost later"));
    }
}

#[test]
fn start_on_a_full_disk_serves_reads_or_says_that_the_disk_is_full() {
    let files = FaultyDirectory::new();
    let shard = open(&files, SyncMode::Always);
    set(&shard, "key", b"value").unwrap();
    shard.flush_log().unwrap();
    shard.abandon();
    files.set_capacity(files.used());
    match try_open(&files.directory()) {
        Ok(shard) => assert_eq!(get(&shard, "key").as_deref(), Some(&b"value"[..])),
        Err(error) => assert!(error.is_disk_full(), "{error}"),
    }
    files.set_capacity(u64::MAX);
    assert_eq!(get(&try_open(&files.directory()).unwrap(), "key").as_deref(), Some(&b"value"[..]));
}

/// A shard on a disk with room for `bytes` beside what an empty one takes.
fn small_disk(files: &FaultyDirectory, bytes: u64, options: Options) -> Shard {
    let shard = Shard::open(&files.directory(), options).unwrap();
    // The index grows ahead of the first keys.
    std::thread::sleep(Duration::from_millis(300));
    files.set_capacity(files.used() + bytes);
    shard
}

/// A shard on a disk with room for `bytes` beside what an empty one takes, filled with live keys until writes are refused.
fn full_shard(files: &FaultyDirectory, bytes: u64, options: Options) -> (Shard, usize) {
    let shard = small_disk(files, bytes, options);
    set(&shard, "first", b"value").unwrap();
    let refused = (0..).find_map(|n| set(&shard, &format!("key:{n}"), &[7; 500]).err().map(|error| (n, error)));
    let (keys, error) = refused.unwrap();
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("no space left") && error.to_string().contains("until space is freed"), "{error}");
    let figures = shard.log().figures();
    assert!(figures.disk_full && figures.refused_writes > 0 && figures.poisoned.is_empty(), "{figures:?}");
    (shard, keys)
}

fn small_segments(clock: Clock) -> Options {
    Options { segment_size: 64 << 10, index_reserve: 64 << 20, clock, ..options(SyncMode::EverySec) }
}

fn until_admitted<T>(shard: &Shard, what: &str, write: impl Fn() -> Result<T, StorageError>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = write() {
        assert!(error.is_disk_full(), "{what}: {error}");
        assert!(
            Instant::now() < deadline,
            "{what}: writes do not resume: {:?}, {:?}, {:?}",
            shard.cleaning_figures(),
            shard.checkpoint_status(),
            shard.log().space()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn write_until_admitted(shard: &Shard, what: &str) {
    until_admitted(shard, what, || set(shard, "after", b"there is room again"));
}

/// Was: deletions were refused like any other write, so nothing could be freed; a segment that was full when no spare could be made was
/// not sealed, so it could not be cleaned; without `maxdisk` the log left cleaning no room to write.
#[test]
fn what_is_deleted_on_a_full_disk_is_cleaned_and_writes_resume() {
    let files = FaultyDirectory::new();
    let (shard, keys) = full_shard(&files, 16 << 20, small_segments(Clock::Wall));
    for n in 0..keys {
        let key = format!("key:{n}");
        assert_eq!(get(&shard, &key).as_deref(), Some(&[7; 500][..]), "reads go on");
    }
    for n in 0..1000 {
        let key = format!("key:{n}");
        until_admitted(&shard, &key, || run(&shard, Some(&[&key]), |txn| txn.delete(Db(0), &shard.key(key.as_bytes()))));
    }
    assert!(get(&shard, "key:1000").is_some() && get(&shard, "key:999").is_none());
    run(&shard, None, |txn| txn.flush_all()).unwrap();
    write_until_admitted(&shard, "after FLUSHALL");
    set(&shard, "first", b"value").unwrap();
    // A second time, from the start of a process that finds the disk full.
    let refused = (0..).find_map(|n| set(&shard, &format!("more:{n}"), &[7; 500]).err()).unwrap();
    assert!(refused.is_disk_full(), "{refused}");
    shard.abandon();
    let files = files.kill().unwrap();
    let shard = Shard::open(&files.directory(), small_segments(Clock::Wall)).unwrap();
    assert_eq!(get(&shard, "first").as_deref(), Some(&b"value"[..]));
    run(&shard, None, |txn| txn.flush_all()).unwrap();
    write_until_admitted(&shard, "after FLUSHALL");
}

/// Was: the entry that declares keys expired was refused on a full disk, so that they took their space for ever.
#[test]
fn what_expires_on_a_full_disk_is_cleaned_and_writes_resume() {
    let files = FaultyDirectory::new();
    let now = Arc::new(AtomicI64::new(1000));
    let clock = Clock::Manual(Arc::clone(&now));
    let shard = small_disk(&files, 6 << 20, small_segments(clock));
    let put = |n: usize| {
        let key = format!("key:{n}");
        run(&shard, Some(&[&key]), |txn| txn.put(Db(0), &shard.key(key.as_bytes()), &[7; 500], Some(UnixMillis(2000))))
    };
    let refused = (0..).find_map(|n| put(n).err()).unwrap();
    assert!(refused.is_disk_full(), "{refused}");
    now.store(3000, Ordering::Relaxed);
    shard.sweep().unwrap();
    write_until_admitted(&shard, "after all has expired");
    let (cells, _) = run(&shard, None, |txn| Ok(txn.get(Db(0), &shard.key(b"key:0"))?.is_some())).unwrap();
    assert!(!cells);
}

#[test]
fn large_values_and_small_ones_share_a_full_disk() {
    let files = FaultyDirectory::new();
    let shard = small_disk(&files, 8 << 20, small_segments(Clock::Wall));
    set(&shard, "small", b"value").unwrap();
    let large = vec![9; 1 << 20];
    let refused = (0..).find_map(|n| set(&shard, &format!("large:{n}"), &large).err().map(|error| (n, error)));
    let (written, error) = refused.unwrap();
    assert!(written >= 3 && matches!(error, StorageError::DiskFull { .. }), "{written}: {error}");
    // What a refused value had taken is given back; small ones find the room that is left.
    set(&shard, "small", b"another value").unwrap();
    assert_eq!(get(&shard, "large:0").as_deref(), Some(&large[..]));
    // Two go: before the reserve was first measured, one may have been let in that does not fit.
    for gone in ["large:0".to_owned(), format!("large:{}", written - 1)] {
        run(&shard, Some(&[&gone]), |txn| txn.delete(Db(0), &shard.key(gone.as_bytes()))).unwrap();
    }
    until_admitted(&shard, "a large value", || set(&shard, "large:0", &large));
    assert_eq!(get(&shard, "large:0").as_deref(), Some(&large[..]));
    shard.abandon();
    let shard = Shard::open(&files.kill().unwrap().directory(), small_segments(Clock::Wall)).unwrap();
    assert_eq!(get(&shard, "large:1").as_deref(), Some(&large[..]));
    assert_eq!(get(&shard, "small").as_deref(), Some(&b"another value"[..]));
}
