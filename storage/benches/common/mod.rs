//! What the benches share: a shard in a directory of its own, keys, and settings that keep the whole under a few minutes.
#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and has no readers of rustdoc")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::options::Options;
use esker_storage::shard::{Batch, LockPlan, Shard};
use esker_storage::types::{Db, Lsn};

/// The value of most measurements.
pub const VALUE: [u8; 100] = [b'v'; 100];

/// Few samples, short ones: the figures that count are ratios of 10 % and more.
pub fn settings() -> Criterion {
    Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1500))
}

/// A directory on the disk that `TMPDIR` names; it is removed at the end.
pub fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("esker-bench-").tempdir().unwrap()
}

/// Opens the shard in `path`.
pub fn open(path: &Path, options: Options) -> Shard {
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(path).unwrap());
    Shard::open(&directory, options).unwrap()
}

/// Options with which no checkpoint comes unasked.
pub fn without_checkpoints() -> Options {
    Options { checkpoint_bytes: u64::MAX, ..Options::default() }
}

/// A 16-byte key, as redis-benchmark names them.
pub fn key(number: u64) -> String {
    format!("key:{number:012}")
}

/// Sets one key in a transaction of its own.
pub fn put(shard: &Shard, batch: &Batch, key: &[u8], value: &[u8]) -> Lsn {
    let key = shard.key(key);
    let mut plan = LockPlan::exclusive();
    plan.add(&key);
    let mut transaction = shard.begin(batch, &plan);
    transaction.put(Db(0), &key, value, None).unwrap();
    transaction.commit().unwrap().unwrap()
}

/// Sets the keys `from..to`.
pub fn load(shard: &Shard, from: u64, to: u64) {
    let batch = shard.batch();
    for number in from..to {
        put(shard, &batch, key(number).as_bytes(), &VALUE);
    }
}

/// A sequence of numbers that look random.
pub struct Numbers(u64);

impl Numbers {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The finalizer of splitmix64: a number's hash.
pub fn mix(number: u64) -> u64 {
    let z = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
