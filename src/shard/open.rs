//! Opening the shard as the options say.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use esker_storage::error::{Result, StorageError};
use esker_storage::evict::{EvictionOrder, EvictionPolicy};
use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::options::{Options, Role, SyncMode};
use esker_storage::shard::Shard;

use crate::config::{Config, FsyncMode, parse_retention};
use crate::observe::anonymous_memory;

/// Opens, recovers or creates the shard in the data directory, as what this node is to be.
///
/// # Errors
/// The directory is locked, unfit or of a later version; the log is corrupt.
pub fn open(dir: &Path, config: &Config, role: Role) -> Result<Shard> {
    let root = RealDirectory::open(dir).map_err(|source| StorageError::Io { action: "open", path: dir.to_owned(), source })?;
    let root: Arc<dyn Directory> = Arc::new(root);
    Shard::open(&root, Options { role, ..options(config) })
}

/// The storage's options.
pub(crate) fn options(config: &Config) -> Options {
    Options {
        role: if config.replicaof().is_some() { Role::Replica } else { Role::Primary },
        sync: sync_mode(config.hot().fsync()),
        segment_size: config.segment_size() as u32,
        disk_limit: config.bytes("maxdisk"),
        data_limit: config.bytes("maxmemory"),
        eviction: eviction(&config.text("maxmemory-policy")),
        memory_limit: config.memory_limit(),
        process_memory: anonymous_memory,
        expiry_sweep_time: Duration::from_secs(config.integer("expiry-sweep-time") as u64),
        history: parse_retention(&config.text("history-retention")).unwrap_or_default(),
        scrub_period: Duration::from_secs(config.integer("scrub-period") as u64),
        scrub_rate: config.bytes("scrub-rate"),
        ..Options::default()
    }
}

/// The storage's name for `maxmemory-policy`.
pub(crate) fn eviction(policy: &str) -> Option<EvictionPolicy> {
    let (keys, order) = policy.split_once('-')?;
    let order = match order {
        "s3fifo" => EvictionOrder::S3Fifo,
        "lru" => EvictionOrder::Lru,
        "lfu" => EvictionOrder::Lfu,
        "random" => EvictionOrder::Random,
        "ttl" => EvictionOrder::Ttl,
        _ => return None,
    };
    Some(EvictionPolicy { order, volatile_only: keys == "volatile" })
}

/// The storage's name for `appendfsync`.
pub(crate) fn sync_mode(mode: FsyncMode) -> SyncMode {
    match mode {
        FsyncMode::Always => SyncMode::Always,
        FsyncMode::EverySecond => SyncMode::EverySec,
        FsyncMode::No => SyncMode::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EVICTION_POLICIES;

    #[test]
    fn every_policy_but_one_evicts() {
        let evicting = EVICTION_POLICIES.iter().filter(|name| eviction(name).is_some()).count();
        assert_eq!((evicting, eviction("noeviction")), (EVICTION_POLICIES.len() - 1, None));
        assert_eq!(eviction("volatile-ttl"), Some(EvictionPolicy { order: EvictionOrder::Ttl, volatile_only: true }));
        assert_eq!(eviction("allkeys-s3fifo"), Some(EvictionPolicy::S3_FIFO));
    }
}
