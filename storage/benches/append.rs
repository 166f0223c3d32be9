//! One write: a transaction, its entry in the mapped active segment, its cell in the index; the syncer runs once a second beside it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and has no readers of rustdoc")]

mod common;

use std::hint::black_box;

use common::{Numbers, VALUE, directory, key, load, open, put, without_checkpoints};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use esker_storage::shard::{LockPlan, Shard};
use esker_storage::types::Db;

const KEYS: u64 = 100_000;
const MULTI: u64 = 16;

fn append(criterion: &mut Criterion) {
    let directory = directory();
    let shard = open(directory.path(), without_checkpoints());
    load(&shard, 0, KEYS);
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    let mut group = criterion.benchmark_group("append");
    for size in [16, 100, 1024] {
        let value = vec![b'v'; size];
        let mut numbers = Numbers::new(1);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("overwrite", format!("{size} B")), |bencher| {
            let batch = shard.batch();
            bencher.iter(|| put(&shard, &batch, keys[numbers.below(KEYS) as usize].as_bytes(), &value));
        });
    }
    let mut next = KEYS;
    group.bench_function("new key, 100 B", |bencher| {
        let batch = shard.batch();
        bencher.iter(|| {
            next += 1;
            put(&shard, &batch, key(next).as_bytes(), &VALUE)
        });
    });
    group.throughput(Throughput::Elements(MULTI));
    group.bench_function("one entry of 16 puts", |bencher| {
        let mut numbers = Numbers::new(2);
        bencher.iter(|| multi(&shard, &keys, &mut numbers));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("get, 100 B", |bencher| {
        let batch = shard.batch();
        let mut numbers = Numbers::new(3);
        bencher.iter(|| {
            let key = shard.key(keys[numbers.below(KEYS) as usize].as_bytes());
            let mut plan = LockPlan::shared();
            plan.add(&key);
            let transaction = shard.begin(&batch, &plan);
            black_box(transaction.get(Db(0), &key).unwrap().unwrap().data.len())
        });
    });
    group.finish();
}

fn multi(shard: &Shard, keys: &[String], numbers: &mut Numbers) {
    let batch = shard.batch();
    let first = numbers.below(KEYS - MULTI) as usize;
    let keys: Vec<_> = keys[first..first + MULTI as usize].iter().map(|key| shard.key(key.as_bytes())).collect();
    let mut plan = LockPlan::exclusive();
    keys.iter().for_each(|key| plan.add(key));
    let mut transaction = shard.begin(&batch, &plan);
    for key in &keys {
        transaction.put(Db(0), key, &VALUE, None).unwrap();
    }
    transaction.commit().unwrap();
}

criterion_group! { name = benches; config = common::settings(); targets = append }
criterion_main!(benches);
