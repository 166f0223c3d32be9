//! Tests of snapshots, and of the replica that goes on from one.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::testing::{compare, open, operate, options, piece, resync, stream, values};
use super::*;
use crate::clock::Clock;
use crate::error::StorageError;
use crate::evict::EvictionPolicy;
use crate::fs::{Directory, FaultyDirectory};
use crate::log::LogReader;
use crate::manifest::Epoch;
use crate::options::{Options, Role};
use crate::segment::{Frame, SEGMENT_HEADER, SegmentHeader, SegmentReader};
use crate::shard::Shard;
use crate::shard::testing::run;
use crate::types::{Db, EpochNumber, Lsn, NodeId, ShardId, UnixMillis, WriterId};

#[test]
fn only_what_was_sealed_is_taken_up_where_it_ended() {
    let root = FaultyDirectory::new().directory();
    let file = |name: &str, sealed| Expected { name: name.to_owned(), bytes: 100, sealed, from: 0 };
    let (first, second) = ("00000000000000000001-00000001.seg", "00000000000000000009-00000002.seg");
    let begin = |node, files: &[Expected]| Staging::begin(&root, ShardId(0), NodeId(node), Lsn(0), files).unwrap();
    let (mut staging, there) = begin(1, &[file(first, true), file(second, false)]);
    assert_eq!(there, [0, 0]);
    staging.write(first, 0, &[7; 60]).unwrap();
    staging.write(second, 0, &[7; 60]).unwrap();
    drop(staging);
    // The second was sealed since: what it held then may have been lost in between.
    assert_eq!(begin(1, &[file(first, true), file(second, true)]).1, [60, 0]);
    assert_eq!(begin(2, &[file(first, true)]).1, [0], "another node");
    assert!(Staging::begin(&root, ShardId(0), NodeId(2), Lsn(0), &[file("../../etc/passwd", true)]).is_err());
}

#[test]
fn a_replica_is_its_primary_through_snapshots_streams_and_restarts_of_both() {
    for seed in 0..6 {
        println!("seed {seed}");
        run_seed(seed);
    }
}

fn run_seed(seed: u64) {
    let rng = &mut StdRng::seed_from_u64(seed);
    let (mut theirs, mut ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let mut primary = open(&theirs.directory(), Role::Primary);
    let mut replica = open(&ours.directory(), Role::Replica);
    replica = resync(&primary, &ours.directory(), &replica, Aside::Remove, rng).shard;
    for step in 0..30 {
        let what = format!("seed {seed}, step {step}");
        let from = replica.written_lsn().next();
        (0..rng.random_range(1..60)).for_each(|_| operate(&primary, rng));
        match rng.random_range(0..20) {
            0 => {
                primary.abandon();
                theirs = theirs.kill().unwrap();
                primary = open(&theirs.directory(), Role::Primary);
            }
            1 => {
                replica.abandon();
                ours = ours.kill().unwrap();
                replica = open(&ours.directory(), Role::Replica);
            }
            2 => {
                replica.abandon();
                ours = ours.power_loss(rng.random()).unwrap();
                replica = open(&ours.directory(), Role::Replica);
            }
            3 => {
                replica.close().unwrap();
                drop(replica);
                replica = open(&ours.directory(), Role::Replica);
            }
            4 => primary.clean(Duration::from_secs(10)).unwrap(),
            5 => replica = resync(&primary, &ours.directory(), &replica, Aside::Remove, rng).shard,
            6 => drop(replica.checkpoint().unwrap()),
            7 => replica.clean(Duration::from_secs(10)).unwrap(),
            _ => {}
        }
        if let Err(error) = stream(&primary, &replica, rng) {
            assert!(matches!(error, StorageError::NotInLog { .. }), "{what}: {error}");
            replica = resync(&primary, &ours.directory(), &replica, Aside::Remove, rng).shard;
            stream(&primary, &replica, rng).unwrap();
        }
        compare(&primary, &replica, from, &what);
        assert_eq!(values(&primary), values(&replica), "{what}");
        assert_eq!(primary.log().lineage().epochs, replica.log().lineage().epochs, "{what}");
    }
}

#[test]
fn a_replica_writes_nothing_of_its_own_until_it_is_a_primary() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let primary = open(&theirs.directory(), Role::Primary);
    let put = |shard: &Shard, value: &[u8]| run(shard, |txn| txn.put(Db(0), &shard.key(b"key"), value, None));
    put(&primary, b"one").unwrap();
    let empty = open(&ours.directory(), Role::Replica);
    assert_eq!(empty.written_lsn(), Lsn(0));
    let replica = resync(&primary, &ours.directory(), &empty, Aside::Remove, rng).shard;
    assert!(matches!(put(&replica, b"two"), Err(StorageError::Replica)));
    assert_eq!(replica.written_lsn(), primary.written_lsn());
    let before = replica.log().lineage();
    replica.become_primary().unwrap();
    put(&replica, b"two").unwrap();
    let after = replica.log().lineage();
    assert_eq!(after.epochs[..before.epochs.len()], before.epochs);
    assert_eq!(after.epochs.last().unwrap().first, before.last.next());
    // The old primary takes its entries, and what it brings in turn is refused.
    primary.become_replica();
    stream(&replica, &primary, rng).unwrap();
    assert!(matches!(put(&primary, b"three"), Err(StorageError::Replica)));
    compare(&replica, &primary, Lsn(1), "after the exchange of roles");
}

#[test]
fn entries_that_do_not_follow_are_refused() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let primary = open(&theirs.directory(), Role::Primary);
    let replica = resync(&primary, &ours.directory(), &open(&ours.directory(), Role::Replica), Aside::Remove, rng).shard;
    (0..3).for_each(|n| run(&primary, |txn| txn.put(Db(0), &primary.key(b"key"), &[n], None)).unwrap());
    let mut reader = LogReader::new(replica.written_lsn().next());
    let first = piece(&mut reader, &primary).unwrap();
    let second = piece(&mut reader, &primary).unwrap();
    assert!(matches!(replica.replicate(second.bytes()), Err(StorageError::OutOfOrder { .. })), "a gap");
    replica.replicate(first.bytes()).unwrap();
    assert!(matches!(replica.replicate(first.bytes()), Err(StorageError::OutOfOrder { .. })), "twice");
    let mut bent = second.bytes().to_vec();
    *bent.last_mut().unwrap() ^= 1;
    assert!(matches!(replica.replicate(&bent), Err(StorageError::Corrupt { .. })), "a flipped bit");
    replica.replicate(second.bytes()).unwrap();
}

/// Was: where the last entries of a segment had been dropped, a reader waited for them for ever.
#[test]
fn reading_from_any_lsn_tells_what_is_there_or_that_it_is_not() {
    let files = FaultyDirectory::new();
    let shard = open(&files.directory(), Role::Primary);
    for n in 0..600 {
        let name = format!("k{}", if n % 200 < 20 { n } else { n % 3 });
        run(&shard, |txn| txn.put(Db(0), &shard.key(name.as_bytes()), &[7; 10_000], None)).unwrap();
    }
    shard.checkpoint().unwrap();
    shard.clean(Duration::from_secs(10)).unwrap();
    let found = |lsn: u64| match LogReader::new(Lsn(lsn)).read(shard.log(), 1, true) {
        Ok(Some(_)) => true,
        Err(StorageError::NotInLog { lsn: at }) if at == Lsn(lsn) => false,
        other => panic!("LSN {lsn}: {:?}", other.map(|found| found.is_some())),
    };
    let there = (1..=shard.written_lsn().0).filter(|lsn| found(*lsn)).count();
    assert!(there > 50 && there < 500, "{there}");
}

#[test]
fn data_that_makes_way_is_kept_if_that_is_asked_for() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let primary = open(&theirs.directory(), Role::Primary);
    let old = open(&ours.directory(), Role::Primary);
    run(&old, |txn| txn.put(Db(0), &old.key(b"mine"), b"of my own", None)).unwrap();
    let exchanged = resync(&primary, &ours.directory(), &old, Aside::Keep, rng);
    assert_eq!(exchanged.shard.log().lineage().history, primary.log().lineage().history);
    let name = exchanged.kept.unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    assert!(ours.directory().has_subdirectory(&name).unwrap());
    drop(exchanged.shard);
    // Found again by who gives it its name back.
    ours.directory().remove_subdirectory("shard-0").unwrap();
    ours.directory().rename_subdirectory(&name, "outgoing-0").unwrap();
    let again = open(&ours.directory(), Role::Primary);
    let found = run(&again, |txn| Ok(txn.get(Db(0), &again.key(b"mine"))?.map(|object| object.data.into_owned()))).unwrap();
    assert_eq!(found.as_deref(), Some(&b"of my own"[..]));
}

#[test]
fn what_expires_or_is_evicted_at_the_primary_goes_at_the_replica() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let now = Arc::new(AtomicI64::new(1000));
    let limited = Options { clock: Clock::Manual(Arc::clone(&now)), expiry_sweep_time: Duration::ZERO, ..options(Role::Primary) };
    let primary = Shard::open(&theirs.directory(), limited).unwrap();
    let first = open(&ours.directory(), Role::Replica);
    let replica = resync(&primary, &ours.directory(), &first, Aside::Remove, rng).shard;
    for n in 0..8000 {
        let expires = (n % 4 == 0).then_some(UnixMillis(2000));
        run(&primary, |txn| txn.put(Db(0), &primary.key(format!("k{n}").as_bytes()), &[7; 500], expires)).unwrap();
    }
    stream(&primary, &replica, rng).unwrap();
    now.store(3000, Relaxed);
    assert_eq!(replica.sweep().unwrap().removed, 0, "the primary has not said so yet");
    assert_eq!(primary.sweep().unwrap().removed, 2000);
    primary.set_eviction(Some(EvictionPolicy::S3_FIFO));
    primary.set_data_limit(2 << 20);
    primary.evict().unwrap();
    assert!(primary.eviction_figures().keys > 1000, "{:?}", primary.eviction_figures());
    stream(&primary, &replica, rng).unwrap();
    assert_eq!(replica.sweep().unwrap().removed, 2000);
    compare(&primary, &replica, Lsn(1), "after both");
}

#[test]
fn what_a_replica_has_beyond_the_common_log_is_kept_in_a_file_that_reads_as_a_segment() {
    let files = FaultyDirectory::new();
    let shard = open(&files.directory(), Role::Primary);
    let put = |n: u32| run(&shard, |txn| txn.put(Db(0), &shard.key(b"key"), &vec![n as u8; 700_000], None)).unwrap();
    (0..3).for_each(put);
    let common = shard.written_lsn();
    assert_eq!(shard.save_divergent(files.directory().as_ref(), common).unwrap(), None);
    (3..8).for_each(put);
    let kept = shard.save_divergent(files.directory().as_ref(), common).unwrap().unwrap();
    assert_eq!(kept.entries, 5);
    let name = kept.path.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(name, format!("divergent-1-{}.log", common.0 + 1));
    assert_eq!(divergent_files(files.directory().as_ref()).unwrap(), 1);
    let file = files.directory().open_read_only(&name).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    let header = SegmentHeader::decode(&bytes).unwrap();
    let reader = SegmentReader::resume(&bytes, header.seed(), header.continuity(), SEGMENT_HEADER, common, EpochNumber(0));
    let lsns: Vec<_> = reader.map(|frame| if let (_, Frame::Entry(entry)) = frame.unwrap() { entry.head().lsn.0 } else { 0 }).collect();
    assert_eq!(lsns, (common.0 + 1..=common.0 + 5).collect::<Vec<_>>());
}

#[test]
fn what_divergent_entries_refer_to_is_kept_beside_them() {
    let files = FaultyDirectory::new();
    let shard = open(&files.directory(), Role::Primary);
    let large = vec![7; 700_000];
    run(&shard, |txn| txn.put(Db(2), &shard.key(b"flushed"), b"value", None)).unwrap();
    run(&shard, |txn| txn.flush(Db(2))).unwrap();
    let (common, tables) = (shard.written_lsn(), shard.index().tables());
    run(&shard, |txn| txn.put(Db(2), &shard.key(b"key"), &large, None)).unwrap();
    run(&shard, |txn| txn.flush(Db(2))).unwrap();
    let kept = shard.save_divergent(files.directory().as_ref(), common).unwrap().unwrap();
    let beside = kept.path.file_stem().unwrap().to_str().unwrap();
    assert!(files.directory().has_subdirectory(beside).unwrap());
    let beside = files.directory().subdirectory(beside).unwrap();
    let manifest = crate::manifest::Manifest::load(beside.as_ref()).unwrap().unwrap();
    assert_eq!((manifest.tables.lsn, manifest.tables.databases[2]), (common, tables.id(Db(2))), "as they were before the entries");
    assert_eq!(manifest.epochs, shard.log().lineage().epochs);
    let values: Vec<_> = beside.list().unwrap().into_iter().filter(|name| name.ends_with(".seg")).collect();
    let [value] = &values[..] else { panic!("one value: {values:?}") };
    let bytes = |directory: &dyn Directory| {
        let file = directory.open_read_only(value).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    };
    assert!(bytes(beside.as_ref()).len() > large.len());
    let theirs = files.directory().subdirectory("shard-0").unwrap();
    assert!(!theirs.exists(value).unwrap() || bytes(beside.as_ref()) == bytes(theirs.as_ref()));
}

#[test]
fn a_replica_whose_disk_is_full_goes_on_where_it_stopped() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let mut primary = open(&theirs.directory(), Role::Primary);
    let replica = resync(&primary, &ours.directory(), &open(&ours.directory(), Role::Replica), Aside::Remove, rng).shard;
    let before = replica.log().lineage();
    let put =
        |shard: &Shard, n: u32| run(shard, |txn| txn.put(Db(0), &shard.key(format!("k{n}").as_bytes()), &[7; 200_000], None)).unwrap();
    (0..40).for_each(|n| put(&primary, n));
    primary.close().unwrap();
    drop(primary);
    primary = open(&theirs.directory(), Role::Primary);
    ours.set_capacity(ours.used());
    assert!(stream(&primary, &replica, rng).is_err());
    let full = replica.log().lineage();
    assert!(full.epochs == before.epochs && full.last < primary.written_lsn(), "{full:?}");
    // An epoch that is listed and finds no room is not that of whatever comes to stand there.
    let begins = Epoch { number: EpochNumber(9), writer: WriterId(9), first: replica.written_lsn().next() };
    assert!(replica.log().add_epoch(begins).is_err());
    ours.set_capacity(u64::MAX);
    replica.log().add_epoch(begins).unwrap();
    replica.log().forget_unbegun_epochs().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    stream(&primary, &replica, rng).unwrap();
    assert_eq!(replica.log().lineage().epochs, primary.log().lineage().epochs);
}
