//! How a shard is opened.

use std::time::Duration;

use crate::clock::Clock;
use crate::evict::EvictionPolicy;
use crate::history::HistoryRetention;
use crate::types::ShardId;

/// When the log is put on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SyncMode {
    /// Before a write is acknowledged.
    Always = 0,
    /// Once a second.
    EverySec = 1,
    /// When the kernel likes to, at a clean stop, and when a segment is sealed.
    No = 2,
}

/// Largest segment, and the default.
pub const MAX_SEGMENT_SIZE: u32 = 64 << 20;
/// Smallest segment.
pub const MIN_SEGMENT_SIZE: u32 = 1 << 20;

/// Who decides what is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// This node: opening the shard begins an epoch.
    #[default]
    Primary,
    /// This node, unless its index does not fit what is on the disk: then as [`Replica`](Self::Replica), until it is promoted.
    PrimaryUnlessRebuilt,
    /// Another node, whose entries are written as they are there; opening the shard writes nothing.
    Replica,
}

/// Options of a shard.
#[derive(Debug, Clone)]
pub struct Options {
    /// The shard's number.
    pub shard: ShardId,
    /// Who decides what is written, until that is changed.
    pub role: Role,
    /// When the log is put on the medium.
    pub sync: SyncMode,
    /// Bytes of a segment.
    pub segment_size: u32,
    /// Bound on index, log pages in memory, and what `process_memory` counts, in bytes.
    pub memory_limit: u64,
    /// Anonymous memory of the process in bytes, as far as it is to count.
    pub process_memory: fn() -> u64,
    /// Bytes that the shard's files may take; 0: no limit.
    pub disk_limit: u64,
    /// Bytes of live data, keys and values with [`KEY_BYTES`](crate::evict::KEY_BYTES) for each key; 0: no limit.
    pub data_limit: u64,
    /// What is evicted when the live data, or the disk, reaches its limit; none: writes are refused then.
    pub eviction: Option<EvictionPolicy>,
    /// A checkpoint is due after this many bytes of log, or four times the index's size if that is more.
    pub checkpoint_bytes: u64,
    /// Address space reserved for the index, in bytes; its file grows in small steps.
    pub index_reserve: usize,
    /// Threads that fetch records from disk.
    pub reader_threads: usize,
    /// In what time the sweep for expired keys visits every key with an expiry at least once; zero: it does not run by itself.
    pub expiry_sweep_time: Duration,
    /// In what time scrub reads everything that is sealed once; zero: it does not run by itself.
    pub scrub_period: Duration,
    /// Bytes a second that scrub reads at most, whatever its period; 0: no limit.
    pub scrub_rate: u64,
    /// How much of the past cleaning leaves alone.
    pub history: HistoryRetention,
    /// By which expiry is judged.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shard: ShardId(0),
            role: Role::Primary,
            sync: SyncMode::EverySec,
            segment_size: MAX_SEGMENT_SIZE,
            memory_limit: u64::MAX,
            process_memory: || 0,
            disk_limit: 0,
            data_limit: 0,
            eviction: None,
            checkpoint_bytes: 256 << 20,
            index_reserve: 64 << 30,
            reader_threads: 8,
            expiry_sweep_time: Duration::from_secs(600),
            scrub_period: Duration::from_secs(7 * 86_400),
            scrub_rate: 32 << 20,
            history: HistoryRetention::Off,
            clock: Clock::Wall,
        }
    }
}

impl Options {
    /// Segment size for a shard that may use `limit` bytes of disk: clamp(limit / 64, 1 MiB, 64 MiB).
    #[must_use]
    pub fn segment_size_for(limit: u64) -> u32 {
        (limit / 64).clamp(u64::from(MIN_SEGMENT_SIZE), u64::from(MAX_SEGMENT_SIZE)) as u32
    }

    /// Segment size for a shard whose live data may take `limit` bytes: small enough that evicting one by one keeps to the limit.
    #[must_use]
    pub fn segment_size_for_data(limit: u64) -> u32 {
        Self::segment_size_for(limit / 2)
    }

    /// The largest segment that suits a bound on memory: what is being written is in memory, a few segments at a time.
    #[must_use]
    pub fn segment_size_within(memory: u64) -> u32 {
        let size = (memory / 32).clamp(u64::from(MIN_SEGMENT_SIZE), u64::from(MAX_SEGMENT_SIZE)) as u32;
        size & !(MIN_SEGMENT_SIZE - 1)
    }

    /// Values from this length on go to value segments: min(1 MiB, segment size / 4).
    #[must_use]
    pub fn value_segment_threshold(&self) -> usize {
        (self.segment_size as usize / 4).min(1 << 20)
    }
}
