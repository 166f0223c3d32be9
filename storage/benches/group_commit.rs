//! Writers that wait until their write survives power loss: how many of them share one fdatasync. Needs a real disk under `TMPDIR`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and has no readers of rustdoc")]

mod common;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use common::{VALUE, directory, key, open, put, without_checkpoints};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use esker_storage::options::{Options, SyncMode};
use esker_storage::shard::Shard;
use esker_storage::types::Lsn;

/// The flushed LSN, and who waits for it.
#[derive(Default)]
struct Flushed {
    lsn: Mutex<Lsn>,
    moved: Condvar,
}

impl Flushed {
    fn watch(shard: &Shard) -> Arc<Self> {
        let flushed = Arc::new(Self::default());
        let told = Arc::clone(&flushed);
        shard.on_flush(Box::new(move |lsn| {
            *told.lsn.lock().unwrap() = lsn;
            told.moved.notify_all();
        }));
        flushed
    }

    fn wait(&self, wanted: Lsn) {
        drop(self.moved.wait_while(self.lsn.lock().unwrap(), |lsn| *lsn < wanted).unwrap());
    }
}

fn group_commit(criterion: &mut Criterion) {
    let directory = directory();
    let shard = open(directory.path(), Options { sync: SyncMode::Always, ..without_checkpoints() });
    let flushed = Flushed::watch(&shard);
    let mut group = criterion.benchmark_group("group commit");
    group.throughput(Throughput::Elements(1));
    for writers in [1, 8, 32] {
        group.bench_function(BenchmarkId::new("writers", writers), |bencher| {
            bencher.iter_custom(|writes| write(&shard, &flushed, writers, writes));
        });
    }
    group.finish();
}

/// Has `writers` threads make `writes` writes in all.
fn write(shard: &Shard, flushed: &Flushed, writers: u64, writes: u64) -> Duration {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            scope.spawn(move || {
                for number in (writer..writes).step_by(writers as usize) {
                    let lsn = put(shard, &shard.batch(), key(number % 10_000).as_bytes(), &VALUE);
                    shard.request_flush(lsn);
                    flushed.wait(lsn);
                }
            });
        }
    });
    started.elapsed()
}

criterion_group! { name = benches; config = common::settings(); targets = group_commit }
criterion_main!(benches);
