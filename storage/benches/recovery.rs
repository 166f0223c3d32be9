//! Opening a shard of a million keys after a clean stop, a kill and a power loss; keys a second, on one thread.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and has no readers of rustdoc")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{directory, key, load, open, put, without_checkpoints};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use esker_storage::recovery::RestartKind;
use esker_storage::shard::Shard;

const KEYS: u64 = 1_000_000;
/// Keys written after the checkpoint.
const TAIL: u64 = KEYS / 10;

fn recovery(criterion: &mut Criterion) {
    let directory = directory();
    let path = directory.path();
    let shard = open(path, without_checkpoints());
    load(&shard, 0, KEYS);
    drop(shard);
    let mut group = criterion.benchmark_group("recovery");
    group.throughput(Throughput::Elements(KEYS));
    // As many starts a sample each time: with ever more of them this bench alone took minutes.
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function("clean stop", |bencher| bencher.iter_custom(|starts| time(path, starts, drop)));
    group.bench_function("kill", |bencher| bencher.iter_custom(|starts| time(path, starts, |shard| kill(shard, 10_000))));
    group.bench_function("power loss, no checkpoint", |bencher| {
        bencher.iter_custom(|starts| time(path, starts, |shard| lose_power(path, shard)))
    });
    let shard = open(path, without_checkpoints());
    shard.checkpoint().unwrap();
    load(&shard, 0, TAIL);
    drop(shard);
    group.bench_function("power loss, checkpoint and a tenth of the keys since", |bencher| {
        bencher.iter_custom(|starts| time(path, starts, |shard| lose_power(path, shard)));
    });
    group.finish();
}

/// Times `starts` starts, each after `end` has ended the run before in its way.
fn time(path: &Path, starts: u64, end: impl Fn(Shard)) -> Duration {
    let mut total = Duration::ZERO;
    end(open(path, without_checkpoints()));
    for _ in 0..starts {
        let started = Instant::now();
        let shard = open(path, without_checkpoints());
        total += started.elapsed();
        let report = shard.recovery_report();
        assert!(report.keys == KEYS && !matches!(report.kind, RestartKind::Fresh), "{report:?}");
        end(shard);
    }
    total
}

/// Ends as `kill -9` does, right after some writes.
fn kill(shard: Shard, writes: u64) {
    let batch = shard.batch();
    for number in 0..writes {
        put(&shard, &batch, key(number).as_bytes(), b"after the last note of the replay position");
    }
    shard.abandon();
}

/// After a power loss the index is there and not to be trusted: as good as gone.
fn lose_power(path: &Path, shard: Shard) {
    shard.abandon();
    std::fs::remove_file(path.join("shard-0").join("index")).unwrap();
}

criterion_group! { name = benches; config = common::settings(); targets = recovery }
criterion_main!(benches);
