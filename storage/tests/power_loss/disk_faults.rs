//! Syncs that fail and disks that are full.

use std::time::{Duration, Instant};

use esker_storage::fs::FaultyDirectory;
use esker_storage::options::SyncMode;
use esker_storage::shard::StorageError;
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
