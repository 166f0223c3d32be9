//! Tests of the shard over filesystems in memory.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod basic;
mod cold;
mod large;
mod model;
mod shown;

use std::sync::Arc;

use super::testing::run;
use super::*;
use crate::fs::Directory;
use crate::options::{Options, SyncMode};
use crate::types::Db;

/// Small segments, so that tests cross many of them.
pub(super) fn options(sync: SyncMode) -> Options {
    Options { segment_size: 1 << 20, index_reserve: 256 << 20, checkpoint_bytes: u64::MAX, sync, ..Options::default() }
}

pub(super) fn open(directory: &Arc<dyn Directory>) -> Shard {
    Shard::open(directory, options(SyncMode::EverySec)).unwrap()
}

pub(super) fn set(shard: &Shard, key: &str, value: &[u8]) {
    run(shard, |txn| txn.put(Db(0), &shard.key(key.as_bytes()), value, None)).unwrap();
}

pub(super) fn get(shard: &Shard, key: &str) -> Option<Vec<u8>> {
    run(shard, |txn| Ok(txn.get(Db(0), &shard.key(key.as_bytes()))?.map(|o| o.data.into_owned()))).unwrap()
}

pub(super) fn del(shard: &Shard, key: &str) -> bool {
    run(shard, |txn| txn.delete(Db(0), &shard.key(key.as_bytes()))).unwrap()
}
