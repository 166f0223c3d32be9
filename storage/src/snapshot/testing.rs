//! A primary and a replica without a network between them.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;

use super::*;
use crate::error::StorageError;
use crate::fs::Directory;
use crate::log::{LogPiece, LogReader, NextInLog};
use crate::options::{Options, Role, SyncMode};
use crate::shard::Shard;
use crate::shard::testing::run;
use crate::types::{Db, Lsn, NodeId, SLOTS, ShardId, Slot, UnixMillis};

pub(crate) fn options(role: Role) -> Options {
    let small = Options { segment_size: 1 << 20, index_reserve: 256 << 20, checkpoint_bytes: u64::MAX, ..Options::default() };
    Options { role, sync: SyncMode::EverySec, ..small }
}

pub(crate) fn open(directory: &Arc<dyn Directory>, role: Role) -> Shard {
    Shard::open(directory, options(role)).unwrap()
}

/// Sends a snapshot, in pieces, and puts it in the place of what the replica has.
pub(crate) fn resync(primary: &Shard, root: &Arc<dyn Directory>, old: &Shard, aside: Aside, rng: &mut StdRng) -> Exchanged {
    let snapshot = primary.snapshot().unwrap();
    if rng.random_bool(0.3) {
        // Cut off somewhere; the next attempt goes on from there.
        receive(&snapshot, Lsn(0), primary, root, rng.random_range(1..20));
    }
    let staging = receive(&snapshot, Lsn(0), primary, root, usize::MAX);
    staging.finish(&snapshot.manifest, NodeId(77)).unwrap();
    exchange(root, old, aside, options(Role::Replica), &|| true).unwrap()
}

pub(crate) fn receive(snapshot: &Snapshot, prefix: Lsn, primary: &Shard, root: &Arc<dyn Directory>, mut pieces: usize) -> Staging {
    let expected = |file: &SnapshotFile| Expected { name: file.name.clone(), bytes: file.bytes, sealed: file.is_sealed(), from: file.from };
    let files: Vec<_> = snapshot.files.iter().map(expected).collect();
    let (mut staging, there) = Staging::begin(root, ShardId(0), primary.node(), prefix, &files).unwrap();
    for (file, have) in snapshot.files.iter().zip(there) {
        let mut at = have;
        while at < file.bytes {
            let mut piece = vec![0; (file.bytes - at).min(200_000) as usize];
            match file.read_at(at, &mut piece) {
                Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => break,
                outcome => outcome.unwrap(),
            }
            staging.write(&file.name, at, &piece).unwrap();
            at += piece.len() as u64;
            pieces -= 1;
            if pieces == 0 {
                return staging;
            }
        }
    }
    staging
}

/// Sends the replica what it lacks, as the log has it.
pub(crate) fn stream(primary: &Shard, replica: &Shard, rng: &mut StdRng) -> Result<(), StorageError> {
    let mut reader = LogReader::new(replica.written_lsn().next());
    let mut with_values = false;
    while let Some(next) = reader.read(primary.log(), rng.random_range(1..300_000), with_values)? {
        with_values = matches!(next, NextInLog::Values(_));
        match next {
            NextInLog::Values(ids) => ids.into_iter().for_each(|id| send_value(primary, replica, id)),
            NextInLog::Piece(piece) => assert_eq!(replica.replicate(piece.bytes())?, piece.last),
        }
    }
    assert_eq!(replica.written_lsn(), primary.written_lsn());
    Ok(())
}

pub(crate) fn send_value(primary: &Shard, replica: &Shard, id: u128) {
    let Some(file) = primary.value_file(id).filter(|_| !replica.has_value(id)) else { return };
    let mut bytes = vec![0; file.bytes as usize];
    file.read_at(0, &mut bytes).unwrap();
    let mut receiver = replica.receive_value(id, file.bytes).unwrap();
    bytes.chunks(100_000).for_each(|chunk| receiver.write(chunk).unwrap());
    receiver.finish().unwrap();
}

pub(crate) fn piece(reader: &mut LogReader, shard: &Shard) -> Option<LogPiece> {
    match reader.read(shard.log(), 1, true) {
        Ok(Some(NextInLog::Piece(piece))) => Some(piece),
        _ => None,
    }
}

/// Keys, values, times and counters are the same; the logs are, too.
pub(crate) fn compare(primary: &Shard, replica: &Shard, from: Lsn, what: &str) {
    for db in (0..3).map(Db) {
        let there = |shard: &Shard| {
            let mut counters = Vec::new();
            for slot in (0..SLOTS).map(Slot) {
                let table = shard.index().tables().slot(db);
                let of_slot = shard.index().stripe(slot.stripe()).read().slot_counters(shard.index(), table, slot);
                if of_slot != Default::default() {
                    counters.push((slot, of_slot));
                }
            }
            counters
        };
        assert_eq!(there(primary), there(replica), "{what}, database {db}");
    }
    let (mut one, mut other) = (LogReader::new(from), LogReader::new(from));
    while let (Some(a), Some(b)) = (piece(&mut one, primary), piece(&mut other, replica)) {
        assert_eq!(a.bytes(), b.bytes(), "{what}, entry {}", a.first);
    }
}

pub(crate) fn values(shard: &Shard) -> Vec<Option<Vec<u8>>> {
    let get = |db: u8, n: u32| {
        let name = format!("k{n}");
        let key = shard.key(name.as_bytes());
        run(shard, |txn| Ok(txn.get(Db(db), &key)?.map(|object| object.data.into_owned()))).unwrap()
    };
    (0..3).flat_map(|db| (0..60).map(move |n| (db, n))).map(|(db, n)| get(db, n)).collect()
}

pub(crate) fn operate(shard: &Shard, rng: &mut StdRng) {
    let (db, other) = (Db(rng.random_range(0..3)), Db(rng.random_range(0..3)));
    let name = format!("k{}", rng.random_range(0..60));
    let key = shard.key(name.as_bytes());
    let len = if rng.random_bool(0.02) { 300_000 } else { rng.random_range(0..3_000) };
    let value: Vec<u8> = (0..len).map(|_| rng.random()).collect();
    match rng.random_range(0..100) {
        0..50 => run(shard, |txn| txn.put(db, &key, &value, None)).unwrap(),
        50..60 => drop(run(shard, |txn| txn.delete(db, &key)).unwrap()),
        60..80 => drop(run(shard, |txn| txn.write_range(db, &key, 2000, &value[..value.len().min(50)])).unwrap()),
        80..88 => drop(run(shard, |txn| txn.set_expire(db, &key, Some(UnixMillis(i64::MAX / 3)))).unwrap()),
        88..97 => {
            let names: Vec<_> = (0..9).map(|_| format!("k{}", rng.random_range(0..60))).collect();
            let flush = rng.random_bool(0.1);
            run(shard, |txn| {
                for (n, name) in names.iter().enumerate() {
                    let key = shard.key(name.as_bytes());
                    if n % 2 == 0 {
                        txn.put(db, &key, name.as_bytes(), None)?
                    } else {
                        txn.delete(db, &key).map(|_| ())?
                    }
                    if flush && n == 5 {
                        txn.flush(db)?;
                    }
                }
                Ok(())
            })
            .unwrap();
        }
        97 => run(shard, |txn| txn.flush(db)).unwrap(),
        98 => run(shard, |txn| txn.swap(db, other)).unwrap(),
        _ => drop(shard.checkpoint().unwrap()),
    }
}
