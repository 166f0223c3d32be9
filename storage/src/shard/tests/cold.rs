//! Records that are not in memory.

use super::*;
use crate::fs::FaultyDirectory;

/// A shard of which nothing that was there at its start is in memory.
pub(super) fn all_cold(files: &FaultyDirectory) -> Shard {
    files.set_cold(true);
    Shard::open(&files.directory(), Options { memory_limit: 0, ..options(SyncMode::EverySec) }).unwrap()
}

/// What is found after a kill of a shard on which `fill` was run.
fn after_kill(fill: impl Fn(&Shard)) -> FaultyDirectory {
    let files = FaultyDirectory::new();
    let shard = open(&files.directory());
    fill(&shard);
    // Into another segment, so that the first is sealed.
    for n in 0..40 {
        set(&shard, &format!("filler {n}"), &[0; 50_000]);
    }
    shard.flush_log().unwrap();
    let after = files.kill().unwrap();
    shard.abandon();
    after
}

/// Tries once; the location that has to be fetched for it.
fn attempt<T>(shard: &Shard, batch: &Batch, work: impl Fn(&mut Transaction<'_>) -> Result<T, StorageError>) -> Result<T, StorageError> {
    let mut plan = LockPlan::exclusive();
    plan.add_all();
    work(&mut shard.begin(batch, &plan))
}

#[test]
fn a_command_that_needs_two_cold_records_gets_both() {
    let files = after_kill(|shard| {
        set(shard, "a", b"one");
        set(shard, "b", b"two");
    });
    let shard = all_cold(&files);
    let read = |txn: &mut Transaction<'_>| {
        let keys = ["a", "b"].map(|key| shard.key(key.as_bytes()));
        keys.iter().map(|key| Ok(txn.get(Db(0), key)?.unwrap().data.into_owned())).collect::<Result<Vec<_>, _>>()
    };
    // As a server does it: a batch an attempt, which takes over what the one before it fetched.
    let mut fetched = Vec::new();
    for attempts in 1.. {
        let batch = shard.batch();
        fetched.drain(..).for_each(|record| batch.add_fetched(record));
        match attempt(&shard, &batch, read) {
            Ok(values) => {
                assert_eq!((values, attempts), (vec![b"one".to_vec(), b"two".to_vec()], 3));
                break;
            }
            Err(StorageError::Cold(location)) => {
                fetched = batch.take_fetched();
                fetched.push(shard.fetch_now(location).unwrap());
            }
            Err(error) => panic!("{error}"),
        }
        assert!(attempts < 3, "what was fetched is forgotten");
    }
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_of_its_command_and_of_no_other() {
    let files = after_kill(|shard| set(shard, "old", b"value"));
    let shard = all_cold(&files);
    files.set_cold(false);
    set(&shard, "new", b"value");
    files.set_cold(true);
    let batch = shard.batch();
    let read = |txn: &mut Transaction<'_>| Ok(txn.get(Db(0), &shard.key(b"old"))?.is_some());
    let Err(StorageError::Cold(location)) = attempt(&shard, &batch, read) else { panic!("it is not cold") };
    files.set_unreadable(true);
    let error = shard.fetch_now(location).unwrap_err();
    batch.add_fetched(FetchedRecord::failed(location, error));
    let error = attempt(&shard, &batch, read).unwrap_err();
    assert!(matches!(error, StorageError::Unreadable(_)) && error.to_string().contains("cannot read"), "{error}");
    // Of the page cache nothing is lost.
    files.set_cold(false);
    assert_eq!(get(&shard, "new").unwrap(), b"value");
    files.set_cold(true);
    files.set_unreadable(false);
    assert_eq!(get(&shard, "old").unwrap(), b"value");
}

#[test]
fn of_a_large_cold_value_no_more_is_read_than_was_asked_for() {
    let value: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let files = after_kill(|shard| set(shard, "large", &value));
    let shard = all_cold(&files);
    let key = shard.key(b"large");
    let batch = shard.batch();
    let part = |start, len| move |txn: &mut Transaction<'_>| Ok(txn.get_range(Db(0), &key, start, len)?.unwrap().to_vec());
    let read = part(2_000_000, 70_000);
    // First the record, then the range.
    for _ in 0..2 {
        let Err(StorageError::Cold(location)) = attempt(&shard, &batch, read) else { panic!("it is not cold") };
        let wanted = batch.wanted(location);
        let (done, fetched) = std::sync::mpsc::channel();
        shard.fetch(wanted, Box::new(move |record| drop(done.send(record))));
        batch.add_fetched(fetched.recv().unwrap().unwrap());
    }
    assert_eq!(attempt(&shard, &batch, read).unwrap(), value[2_000_000..2_070_000]);
    assert!(matches!(attempt(&shard, &batch, part(0, 1)), Err(StorageError::Cold(_))), "more than the range was read");
    assert_eq!(get(&shard, "large").unwrap(), value);
}
