//! Tests of replicas that are made level with what differs.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::error::StorageError;
use crate::evict::EvictionPolicy;
use crate::fs::{Directory, FaultyDirectory};
use crate::options::Role;
use crate::shard::Shard;
use crate::shard::testing::run;
use crate::snapshot::testing::{compare, open, operate, options, receive, resync, stream, values};
use crate::snapshot::{Aside, Expected, Staging, exchange};
use crate::types::{Db, Lsn, NodeId, ShardId};

/// What it took.
#[derive(Debug, Default)]
struct Taken {
    /// Bytes that came from the primary.
    bytes: u64,
    /// Records that the replica had dropped on account of what the primary never had.
    lacked: u64,
}

/// Makes a replica level that shares the log with the primary up to `prefix`.
fn level(primary: &Shard, root: &Arc<dyn Directory>, old: &Shard, prefix: Lsn, rng: &mut StdRng) -> (Shard, Taken) {
    let snapshot = primary.snapshot_above(prefix, &mut || true).unwrap().unwrap();
    if rng.random_bool(0.3) {
        drop(receive(&snapshot, prefix, primary, root, rng.random_range(1..20)));
    }
    let mut staging = receive(&snapshot, prefix, primary, root, usize::MAX);
    let mut taken = Taken { bytes: snapshot.files.iter().map(|file| file.bytes - file.from).sum(), lacked: 0 };
    let assemble = |staging: &mut Staging| staging.assemble(old, &snapshot.manifest, snapshot.lsn, NodeId(77)).unwrap();
    if let Assembled::Lacks(ops) = assemble(&mut staging) {
        let ops = OpSet::decode(&ops.encode()).unwrap();
        taken.lacked = ops.len();
        let file = primary.snapshot_records(&ops).unwrap();
        let mut bytes = vec![0; file.bytes as usize];
        file.read_at(0, &mut bytes).unwrap();
        staging.also(&Expected { name: file.name.clone(), bytes: file.bytes, sealed: false, from: 0 }).unwrap();
        staging.write(&file.name, 0, &bytes).unwrap();
        taken.bytes += file.bytes;
        assert!(matches!(assemble(&mut staging), Assembled::Whole));
    }
    drop(staging);
    let exchanged = exchange(root, old, Aside::Remove, options(Role::Replica), &|| true).unwrap();
    assert_eq!(exchanged.shard.written_lsn(), snapshot.lsn);
    (exchanged.shard, taken)
}

fn put(shard: &Shard, name: &str, len: usize) {
    run(shard, |txn| txn.put(Db(0), &shard.key(name.as_bytes()), &vec![7; len], None)).unwrap();
}

fn delete(shard: &Shard, name: &str) {
    run(shard, |txn| txn.delete(Db(0), &shard.key(name.as_bytes()))).unwrap();
}

fn has(shard: &Shard, name: &str) -> bool {
    run(shard, |txn| Ok(txn.get(Db(0), &shard.key(name.as_bytes()))?.is_some())).unwrap()
}

fn clean(shard: &Shard) {
    shard.checkpoint().unwrap();
    shard.clean(Duration::from_secs(10)).unwrap();
}

/// Digests, counters, values.
fn same(primary: &Shard, replica: &Shard, what: &str) {
    compare(primary, replica, primary.written_lsn().next(), what);
    assert_eq!(values(primary), values(replica), "{what}");
    assert_eq!(primary.log().lineage().epochs, replica.log().lineage().epochs, "{what}");
}

/// Was: a replica behind the cleaned prefix got everything anew, and one that went on with what is left kept what had been deleted.
#[test]
fn what_was_deleted_while_a_replica_was_away_is_gone_though_no_tombstone_is_left() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let primary = open(&theirs.directory(), Role::Primary);
    (0..400).for_each(|n| put(&primary, &format!("k{n}"), 10_000));
    let replica = resync(&primary, &ours.directory(), &open(&ours.directory(), Role::Replica), Aside::Remove, rng).shard;
    let prefix = replica.written_lsn();
    (0..400).filter(|n| n % 2 == 0).for_each(|n| delete(&primary, &format!("k{n}")));
    (400..700).for_each(|n| put(&primary, &format!("k{n}"), 3000));
    (0..3).for_each(|_| clean(&primary));
    assert!(primary.log().lineage().cleaned > prefix, "{:?}", primary.log().lineage());
    let (replica, taken) = level(&primary, &ours.directory(), &replica, prefix, rng);
    assert!(!has(&replica, "k10") && has(&replica, "k11") && has(&replica, "k500"));
    same(&primary, &replica, "after it");
    assert!(taken.bytes < 1_500_000, "{taken:?} where 2 MB are the same");
    // It goes on from there, and holds across restarts without an index.
    put(&primary, "later", 10);
    stream(&primary, &replica, rng).unwrap();
    replica.abandon();
    let replica = open(&ours.power_loss(1).unwrap().directory(), Role::Replica);
    assert!(!has(&replica, "k10"));
}

#[test]
fn what_was_evicted_meanwhile_is_gone() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let primary = open(&theirs.directory(), Role::Primary);
    (0..3000).for_each(|n| put(&primary, &format!("k{n}"), 1000));
    let replica = resync(&primary, &ours.directory(), &open(&ours.directory(), Role::Replica), Aside::Remove, rng).shard;
    let prefix = replica.written_lsn();
    primary.set_eviction(Some(EvictionPolicy::S3_FIFO));
    primary.set_data_limit(1 << 20);
    primary.evict().unwrap();
    assert!(primary.eviction_figures().keys > 1000);
    (0..900).for_each(|n| put(&primary, &format!("n{n}"), 100));
    (0..3).for_each(|_| clean(&primary));
    let (replica, _) = level(&primary, &ours.directory(), &replica, prefix, rng);
    same(&primary, &replica, "after it");
}

#[test]
fn a_log_is_cut_to_the_prefix_and_goes_on_from_there() {
    for (seed, checkpointed) in [(1, false), (2, true)] {
        let ours = FaultyDirectory::new();
        let shard = open(&ours.directory(), Role::Primary);
        let rng = &mut StdRng::seed_from_u64(seed);
        (0..300).for_each(|_| operate(&shard, rng));
        if checkpointed {
            shard.checkpoint().unwrap();
        }
        (0..100).for_each(|_| put(&shard, "filler", 20_000));
        let (prefix, before) = (shard.written_lsn(), values(&shard));
        let keys = shard.index().keys();
        (0..300).for_each(|_| operate(&shard, rng));
        shard.become_replica();
        assert!(shard.can_be_cut(prefix));
        cut(&ours.directory(), &shard, prefix).unwrap();
        let exchanged = exchange(&ours.directory(), &shard, Aside::Remove, options(Role::Replica), &|| true).unwrap().shard;
        assert_eq!((exchanged.written_lsn(), exchanged.index().keys()), (prefix, keys));
        assert_eq!(values(&exchanged), before);
        exchanged.become_primary().unwrap();
        (0..300).for_each(|_| operate(&exchanged, rng));
        let (then, lsn) = (values(&exchanged), exchanged.written_lsn());
        exchanged.abandon();
        let again = open(&ours.kill().unwrap().directory(), Role::Replica);
        assert_eq!((again.written_lsn(), values(&again)), (lsn, then));
    }
}

/// Was: such a replica was given a whole copy. What its cleaning dropped for the sake of entries that were given up comes from the primary.
#[test]
fn what_was_dropped_on_account_of_divergent_entries_is_fetched() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let old = open(&ours.directory(), Role::Primary);
    (0..300).for_each(|n| put(&old, &format!("k{n}"), 10_000));
    let primary = resync(&old, &theirs.directory(), &open(&theirs.directory(), Role::Replica), Aside::Remove, rng).shard;
    let prefix = old.written_lsn();
    primary.become_primary().unwrap();
    put(&primary, "k1", 5);
    // The old one does not know that it is none any more.
    (0..200).for_each(|n| put(&old, &format!("k{n}"), 4000));
    delete(&old, "k250");
    (0..3).for_each(|_| clean(&old));
    old.become_replica();
    assert!(!old.can_be_cut(prefix));
    assert!(cut(&ours.directory(), &old, prefix).is_err());
    let (old, taken) = level(&primary, &ours.directory(), &old, prefix, rng);
    same(&primary, &old, "after it");
    assert!(taken.lacked > 100 && has(&old, "k250"), "{taken:?}");
}

/// Was: a tombstone that cleaning had put in the place of a record, with its LSN, was taken for the record.
#[test]
fn what_was_evicted_beyond_the_prefix_and_cleaned_is_fetched() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let old = open(&ours.directory(), Role::Primary);
    for _ in 0..2 {
        // Written twice: of the first the tombstone of the second has to tell.
        (0..2000).for_each(|n| put(&old, &format!("k{n}"), 1000));
    }
    let primary = resync(&old, &theirs.directory(), &open(&theirs.directory(), Role::Replica), Aside::Remove, rng).shard;
    let prefix = old.written_lsn();
    primary.become_primary().unwrap();
    put(&primary, "more", 5);
    old.set_eviction(Some(EvictionPolicy::S3_FIFO));
    old.set_data_limit(1 << 20);
    old.evict().unwrap();
    assert!(old.eviction_figures().keys > 500);
    (0..1500).for_each(|n| put(&old, &format!("n{n}"), 1000));
    clean(&old);
    old.become_replica();
    let (old, _) = level(&primary, &ours.directory(), &old, prefix, rng);
    same(&primary, &old, "after it");
    assert!((0..2000).all(|n| has(&old, &format!("k{n}"))));
}

/// Was: the entry that says which database is which was lost with the segment, and with it all that was written since.
#[test]
fn a_flush_in_a_damaged_segment_is_fetched_too() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let primary = open(&theirs.directory(), Role::Primary);
    (0..50).for_each(|n| put(&primary, &format!("k{n}"), 10_000));
    run(&primary, |txn| txn.flush(Db(0))).unwrap();
    run(&primary, |txn| txn.swap(Db(1), Db(2))).unwrap();
    (0..300).for_each(|n| put(&primary, &format!("k{n}"), 10_000));
    let replica = resync(&primary, &ours.directory(), &open(&ours.directory(), Role::Replica), Aside::Remove, rng).shard;
    let name = replica.log().segments().in_order()[0].file().path().file_name().unwrap().to_str().unwrap().to_owned();
    let current = ours.directory().subdirectory("shard-0").unwrap();
    current.open(&name).unwrap().write_at(100_000, b"damage").unwrap();
    let (replica, taken) = level(&primary, &ours.directory(), &replica, replica.written_lsn(), rng);
    same(&primary, &replica, "after it");
    assert!(taken.lacked > 10 && has(&replica, "k7"), "{taken:?}");
}

/// Was: records that an interrupted attempt had fetched were taken for those of the next.
#[test]
fn nothing_of_an_attempt_is_taken_up_but_what_is_the_same() {
    let root = FaultyDirectory::new().directory();
    let file = |name: &str, from, sealed| Expected { name: name.to_owned(), bytes: 100, sealed, from };
    let segment = "00000000000000000001-00000001.seg";
    let begin = |prefix, files: &[Expected]| Staging::begin(&root, ShardId(0), NodeId(1), Lsn(prefix), files).unwrap();
    let (mut staging, there) = begin(5, &[file(segment, 40, true)]);
    assert_eq!(there, [40]);
    staging.write(segment, 40, &[7; 60]).unwrap();
    staging.also(&file("RECORDS", 0, false)).unwrap();
    staging.write("RECORDS", 0, &[7; 100]).unwrap();
    drop(staging);
    let arrived = root.subdirectory("incoming/difference-0").unwrap();
    assert!(arrived.exists("RECORDS").unwrap());
    assert_eq!(begin(5, &[file(segment, 40, true)]).1, [100]);
    assert!(!arrived.exists("RECORDS").unwrap(), "it was another attempt's");
    assert_eq!(begin(5, &[file(segment, 0, true)]).1, [0], "what is before its beginning was never there");
    assert_eq!(begin(6, &[file(segment, 0, true)]).1, [0], "above another LSN");
}

#[test]
fn damage_in_a_replicas_segment_is_mended_from_the_primary() {
    let (theirs, ours) = (FaultyDirectory::new(), FaultyDirectory::new());
    let rng = &mut StdRng::seed_from_u64(1);
    let primary = open(&theirs.directory(), Role::Primary);
    (0..400).for_each(|n| put(&primary, &format!("k{n}"), 10_000));
    let replica = resync(&primary, &ours.directory(), &open(&ours.directory(), Role::Replica), Aside::Remove, rng).shard;
    let segments = replica.log().segments().in_order();
    let file = ours.directory().subdirectory("shard-0").unwrap();
    let name = segments[1].file().path().file_name().unwrap().to_str().unwrap().to_owned();
    file.open(&name).unwrap().write_at(500_000, b"damage").unwrap();
    let (replica, taken) = level(&primary, &ours.directory(), &replica, replica.written_lsn(), rng);
    same(&primary, &replica, "after it");
    assert!(taken.lacked > 10 && taken.lacked < 100, "{taken:?}: what was behind the damage");
}

#[test]
fn replicas_are_level_whatever_was_written_cleaned_lost_and_given_up() {
    let given = |name: &str| std::env::var(name).ok().and_then(|seed| seed.parse().ok());
    let first = given("ESKER_SEED").unwrap_or(0);
    let seeds = if given("ESKER_LONG").is_some_and(|seconds: u64| seconds > 0) { 200 } else { 4 };
    for seed in first..first + seeds {
        println!("ESKER_SEED={seed}");
        run_seed(seed);
    }
}

/// Two nodes change roles; each change leaves the one that was the primary with entries that the other never had, or far behind.
fn run_seed(seed: u64) {
    let rng = &mut StdRng::seed_from_u64(seed);
    let (mut disks, mut cuts) = ([FaultyDirectory::new(), FaultyDirectory::new()], 0);
    let mut primary = open(&disks[0].directory(), Role::Primary);
    let first = open(&disks[1].directory(), Role::Replica);
    let mut replica = resync(&primary, &disks[1].directory(), &first, Aside::Remove, rng).shard;
    for step in 0..12 {
        let what = format!("seed {seed}, step {step}");
        let write = |shard: &Shard, rng: &mut StdRng| {
            for _ in 0..rng.random_range(1..400) {
                operate(shard, rng);
            }
            for _ in 0..rng.random_range(0..100) {
                put(shard, &format!("k{}", rng.random_range(0..60)), 20_000);
            }
            if rng.random_bool(0.6) {
                clean(shard);
            }
        };
        write(&primary, rng);
        match stream(&primary, &replica, rng) {
            Ok(()) => {}
            Err(StorageError::NotInLog { .. }) => {
                let prefix = replica.written_lsn();
                replica = level(&primary, &disks[1].directory(), &replica, prefix, rng).0;
            }
            Err(error) => panic!("{what}: {error}"),
        }
        same(&primary, &replica, &what);
        if rng.random_bool(0.5) {
            // Roles change, and the old primary goes on for a while, or is killed.
            let prefix = replica.written_lsn();
            replica.become_primary().unwrap();
            write(&primary, rng);
            write(&replica, rng);
            primary.become_replica();
            std::mem::swap(&mut primary, &mut replica);
            disks.swap(0, 1);
            if rng.random_bool(0.3) {
                replica.abandon();
                disks[1] = disks[1].kill().unwrap();
                replica = open(&disks[1].directory(), Role::Replica);
            }
            if replica.can_be_cut(prefix) && rng.random_bool(0.8) {
                cut(&disks[1].directory(), &replica, prefix).unwrap();
                replica = exchange(&disks[1].directory(), &replica, Aside::Remove, options(Role::Replica), &|| true).unwrap().shard;
                cuts += 1;
            } else {
                replica = level(&primary, &disks[1].directory(), &replica, prefix, rng).0;
            }
            if let Err(error) = stream(&primary, &replica, rng) {
                assert!(matches!(error, StorageError::NotInLog { .. }), "{what}: {error}");
                let prefix = replica.written_lsn();
                replica = level(&primary, &disks[1].directory(), &replica, prefix, rng).0;
            }
            same(&primary, &replica, &format!("{what}, roles changed"));
        }
        if rng.random_bool(0.2) {
            replica.abandon();
            disks[1] = disks[1].power_loss(rng.random()).unwrap();
            replica = open(&disks[1].directory(), Role::Replica);
        }
    }
    println!("{cuts} cuts");
}
