//! The index alone, at 1 and at 10 million keys: finding a cell, pointing it elsewhere, adding one.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and has no readers of rustdoc")]

mod common;

use std::convert::Infallible;
use std::hint::black_box;

use common::{Numbers, directory, mix};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use esker_storage::fs::RealDirectory;
use esker_storage::index::{CounterChange, Index, TableSlot};
use esker_storage::types::{KeyHash, Location, Slot};

/// Lookups of a pipeline, hinted at first.
const PIPELINE: u64 = 32;

/// A key of the bench: its number decides everything.
fn place(number: u64) -> (KeyHash, Slot, Location) {
    (KeyHash(mix(number)), Slot((mix(!number) % 16384) as u16), Location::from_bits(number + 1))
}

fn table() -> TableSlot {
    TableSlot::new(0).unwrap()
}

fn get(index: &Index, number: u64) -> bool {
    let (hash, slot, location) = place(number);
    let stripe = index.stripe(slot.stripe()).read();
    stripe.lookup::<Infallible>(index, table(), hash, |found| Ok(found == location)).unwrap().is_some()
}

fn put(index: &Index, number: u64) {
    let (hash, slot, location) = place(number);
    let mut stripe = index.stripe(slot.stripe()).write();
    let found = stripe.lookup::<Infallible>(index, table(), hash, |found| Ok(found == location)).unwrap();
    let keys = i32::from(found.is_none());
    let change = CounterChange { keys, bytes: 1, digest: u128::from(number), ..CounterChange::default() };
    stripe.put(index, table(), hash, slot, found, location, &change).unwrap();
}

fn index(criterion: &mut Criterion) {
    let directory = directory();
    let index = Index::create(&RealDirectory::open(directory.path()).unwrap(), "index", 4 << 30).unwrap();
    let mut group = criterion.benchmark_group("index");
    let mut filled = 0;
    for millions in [1, 10] {
        let keys = millions * 1_000_000;
        (filled..keys).for_each(|number| put(&index, number));
        filled = keys;
        let mut numbers = Numbers::new(millions);
        let name = |what: &str| BenchmarkId::new(what.to_owned(), format!("{millions} million keys"));
        group.throughput(Throughput::Elements(1));
        group.bench_function(name("get"), |bencher| bencher.iter(|| black_box(get(&index, numbers.below(keys)))));
        group.bench_function(name("get of an absent key"), |bencher| {
            bencher.iter(|| black_box(get(&index, numbers.next() >> 16 | 1 << 40)))
        });
        group.bench_function(name("put over"), |bencher| bencher.iter(|| put(&index, numbers.below(keys))));
        group.bench_function(name("put new"), |bencher| {
            bencher.iter(|| {
                put(&index, filled);
                filled += 1;
            });
        });
        group.throughput(Throughput::Elements(PIPELINE));
        group.bench_function(name("get, 32 prefetched"), |bencher| bencher.iter(|| pipeline(&index, &mut numbers, keys)));
    }
    group.finish();
}

fn pipeline(index: &Index, numbers: &mut Numbers, keys: u64) {
    let chosen: [u64; PIPELINE as usize] = std::array::from_fn(|_| numbers.below(keys));
    for number in chosen {
        let (hash, slot, _) = place(number);
        index.prefetch(table(), hash, slot);
    }
    for number in chosen {
        black_box(get(index, number));
    }
}

criterion_group! { name = benches; config = common::settings(); targets = index }
criterion_main!(benches);
