//! What a link spends beside sockets: the primary reads its log and frames it, the replica takes the frames apart, checks, appends and applies.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and has no readers of rustdoc")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use esker::replication::wire::{Decoded, Entries, Limits, Message, decode, entries_head};
use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::log::{LogReader, NextInLog};
use esker_storage::options::{Options, Role, SyncMode};
use esker_storage::shard::{LockPlan, Shard};
use esker_storage::snapshot::{Aside, Expected, Staging, exchange};
use esker_storage::types::{Db, Lsn, NodeId, ShardId};

/// Bytes of log that are sent in one piece.
const PIECE: usize = 256 << 10;
/// Bytes of log that a replica takes in before another one takes its place.
const LOG: usize = 64 << 20;
const KEYS: u64 = 20_000;

/// A run of entries as it is sent.
struct Piece {
    first: Lsn,
    last: Lsn,
    raw: Vec<u8>,
}

/// A primary whose log was written since a replica had all of it.
struct Fixture {
    primary: Shard,
    base: Lsn,
    files: Vec<(Expected, Vec<u8>)>,
    manifest: Vec<u8>,
    _directory: tempfile::TempDir,
}

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("esker-bench-").tempdir().unwrap()
}

fn root(directory: &tempfile::TempDir) -> Arc<dyn Directory> {
    Arc::new(RealDirectory::open(directory.path()).unwrap())
}

fn options(role: Role) -> Options {
    Options { role, sync: SyncMode::No, checkpoint_bytes: u64::MAX, ..Options::default() }
}

impl Fixture {
    fn new(value: usize) -> Self {
        let directory = directory();
        let primary = Shard::open(&root(&directory), options(Role::Primary)).unwrap();
        let snapshot = primary.snapshot().unwrap();
        let files = snapshot.files.iter().map(|file| {
            let mut bytes = vec![0; file.bytes as usize];
            file.read_at(0, &mut bytes).unwrap();
            (Expected { name: file.name.clone(), bytes: file.bytes, sealed: file.is_sealed(), from: 0 }, bytes)
        });
        let (files, manifest) = (files.collect(), snapshot.manifest.clone());
        let base = primary.written_lsn();
        drop(snapshot);
        let (batch, value) = (primary.batch(), vec![b'v'; value]);
        for number in 0..(LOG / (value.len() + 70)) as u64 {
            let name = format!("key:{:012}", number.wrapping_mul(7919) % KEYS);
            let key = primary.key(name.as_bytes());
            let mut plan = LockPlan::exclusive();
            plan.add(&key);
            let mut transaction = primary.begin(&batch, &plan);
            transaction.put(Db(0), &key, &value, None).unwrap();
            transaction.commit().unwrap();
        }
        Self { primary, base, files, manifest, _directory: directory }
    }

    /// A replica with what the primary had at first.
    fn replica(&self) -> (Shard, tempfile::TempDir) {
        let directory = directory();
        let root = root(&directory);
        let expected: Vec<Expected> = self
            .files
            .iter()
            .map(|(file, _)| Expected { name: file.name.clone(), bytes: file.bytes, sealed: file.sealed, from: 0 })
            .collect();
        let (mut staging, _) = Staging::begin(&root, ShardId(0), self.primary.node(), Lsn(0), &expected).unwrap();
        self.files.iter().for_each(|(file, bytes)| staging.write(&file.name, 0, bytes).unwrap());
        staging.finish(&self.manifest, NodeId(77)).unwrap();
        let empty = Shard::open(&root, options(Role::Replica)).unwrap();
        (exchange(&root, &empty, Aside::Remove, options(Role::Replica), &|| true).unwrap().shard, directory)
    }

    /// The log since then, in pieces.
    fn read(&self, mut each: impl FnMut(Lsn, Lsn, &[u8])) {
        let mut reader = LogReader::new(self.base.next());
        while let Some(NextInLog::Piece(piece)) = reader.read(self.primary.log(), PIECE, false).unwrap() {
            each(piece.first, piece.last, piece.bytes());
        }
    }

    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.read(|first, last, raw| pieces.push(Piece { first, last, raw: raw.to_vec() }));
        pieces
    }
}

/// A replica takes in `iters` times a whole log, each time an empty one.
fn replicate(fixture: &Fixture, pieces: &[Piece], iters: u64) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..iters {
        let (replica, _directory) = fixture.replica();
        let started = Instant::now();
        for piece in pieces {
            assert_eq!(replica.replicate(&piece.raw).unwrap(), piece.last);
        }
        took += started.elapsed();
        replica.abandon();
    }
    took
}

fn framed(piece: &Piece) -> Vec<u8> {
    let entries = Entries { first: piece.first, last: piece.last, committed: Lsn(0), raw: &piece.raw };
    [entries_head(&entries).as_slice(), &piece.raw].concat()
}

fn link(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("link");
    for (size, name) in [(100, "100 B"), (4096, "4 KiB")] {
        let fixture = Fixture::new(size);
        let pieces = fixture.pieces();
        let bytes: usize = pieces.iter().map(|piece| piece.raw.len()).sum();
        let entries = pieces.last().unwrap().last.0 - fixture.base.0;
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("read the log/{name}"), |bencher| {
            bencher.iter(|| {
                fixture.read(|_, last, raw| {
                    black_box((last, raw.len()));
                })
            });
        });
        group.throughput(Throughput::Elements(entries));
        group.bench_function(format!("replicate, entries/{name}"), |bencher| {
            bencher.iter_custom(|iters| replicate(&fixture, &pieces, iters));
        });
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("replicate, bytes/{name}"), |bencher| {
            bencher.iter_custom(|iters| replicate(&fixture, &pieces, iters));
        });
        let (piece, frame) = (&pieces[0], framed(&pieces[0]));
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(format!("head of a frame/{name}"), |bencher| {
            let entries = Entries { first: piece.first, last: piece.last, committed: Lsn(0), raw: &piece.raw };
            bencher.iter(|| black_box(entries_head(&entries)));
        });
        group.bench_function(format!("take a frame apart/{name}"), |bencher| {
            bencher.iter(|| {
                let Ok(Decoded::Message(Message::Entries(entries), _)) = decode(&frame, &Limits::default()) else { panic!("no entries") };
                black_box(entries.last)
            });
        });
    }
    group.finish();
}

/// Few samples, short ones: the figures that count are ratios of 10 % and more.
fn settings() -> Criterion {
    Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1500))
}

criterion_group! { name = benches; config = settings(); targets = link }
criterion_main!(benches);
