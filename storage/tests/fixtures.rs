//! Data directories of every released format are opened, as they were committed. `storage/examples/fixture.rs` made them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use esker_storage::codec::checksum::crc;
use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::options::Options;
use esker_storage::recovery::RestartKind;
use esker_storage::shard::{LockPlan, Shard, StorageError};
use esker_storage::types::Db;

/// A key as the list beside a fixture has it.
struct Expected {
    db: Db,
    key: Vec<u8>,
    expire: Option<i64>,
    len: usize,
    checksum: u32,
}

fn fixtures() -> Vec<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut found: Vec<_> = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn expected(fixture: &Path) -> Vec<Expected> {
    let text = std::fs::read_to_string(fixture.with_extension("expected")).unwrap();
    let keys = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let [db, key, expire, len, checksum] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("not five columns: {line}") };
        let hex = |at: usize| u8::from_str_radix(&key[at..at + 2], 16).unwrap();
        Expected {
            db: Db(db.parse().unwrap()),
            key: if key == "-" { Vec::new() } else { (0..key.len()).step_by(2).map(hex).collect() },
            expire: expire.parse().ok(),
            len: len.parse().unwrap(),
            checksum: u32::from_str_radix(checksum, 16).unwrap(),
        }
    });
    keys.collect()
}

fn open(path: &Path) -> Shard {
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(path).unwrap());
    Shard::open(&directory, Options { index_reserve: 1 << 30, ..Options::default() }).unwrap()
}

fn get(shard: &Shard, db: Db, key: &[u8]) -> Option<(Vec<u8>, Option<i64>)> {
    let key = shard.key(key);
    let mut plan = LockPlan::shared();
    plan.add(&key);
    let batch = shard.batch();
    loop {
        let found = shard
            .begin(&batch, &plan)
            .get(db, &key)
            .map(|found| found.map(|found| (found.data.into_owned(), found.expire_at.map(|at| at.0))));
        match found {
            Ok(found) => return found,
            Err(StorageError::Cold(location)) => batch.add_fetched(shard.fetch_now(location).unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
}

fn check(shard: &Shard, expected: &[Expected], more: u64) {
    assert_eq!(shard.recovery_report().keys, expected.len() as u64 + more, "{:?}", shard.recovery_report());
    for Expected { db, key, expire, len, checksum } in expected {
        let (value, expire_at) = get(shard, *db, key).unwrap_or_else(|| panic!("db {db} {key:?} is missing"));
        assert_eq!((value.len(), crc(0, &value), expire_at), (*len, *checksum, *expire), "db {db} {key:?}");
    }
}

#[test]
fn every_key_of_every_released_format_is_there() {
    let found = fixtures();
    assert!(!found.is_empty());
    for fixture in found {
        let home = tempfile::tempdir().unwrap();
        assert!(Command::new("cp").arg("-r").arg(&fixture).arg(home.path()).status().unwrap().success());
        let copy = home.path().join(fixture.file_name().unwrap());
        let expected = expected(&fixture);
        let shard = open(&copy);
        assert!(matches!(shard.recovery_report().kind, RestartKind::PowerLoss { .. }), "a fixture has no index");
        assert_eq!(shard.recovery_report().bytes_cut, 0);
        check(&shard, &expected, 0);
        // It goes on from there.
        let key = shard.key(b"written by this version");
        let mut plan = LockPlan::exclusive();
        plan.add(&key);
        let batch = shard.batch();
        let mut transaction = shard.begin(&batch, &plan);
        transaction.put(Db(0), &key, b"value", None).unwrap();
        transaction.commit().unwrap();
        shard.close().unwrap();
        drop(shard);
        let shard = open(&copy);
        assert_eq!(shard.recovery_report().kind, RestartKind::Clean);
        check(&shard, &expected, 1);
        assert_eq!(get(&shard, Db(0), b"written by this version").unwrap().0, b"value");
    }
}
