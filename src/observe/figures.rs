//! What the storage tells INFO: plain numbers, copied out when asked.

use esker_storage::clean::CleaningFigures;
use esker_storage::evict::EvictionFigures;
use esker_storage::memory::MemoryFigures;
use esker_storage::scrub::ScrubFigures;
use esker_storage::shard::{ColdReads, ExpiryFigures};
use esker_storage::types::NodeId;

/// How the data came back at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryFigures {
    /// `fresh`, `clean`, `crash` or `power-loss`.
    pub kind: &'static str,
    /// Why the index was not trusted.
    pub reason: String,
    /// How long it took.
    pub millis: u64,
    /// Keys found.
    pub keys: u64,
    /// Keys that came from a checkpoint.
    pub keys_from_checkpoint: u64,
    /// Entries of the log that were applied again.
    pub entries_replayed: u64,
    /// Bytes of the log that were read for that.
    pub bytes_replayed: u64,
    /// Bytes behind the last sound entry that were cut off, all of them saved first.
    pub bytes_cut: u64,
    /// Changes of the index that were under way, undone or finished.
    pub index_repairs: u64,
    /// Value segments that no entry referred to, removed.
    pub value_segments_removed: u64,
}

/// The log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// LSN of the last entry handed to the kernel.
    pub written_lsn: u64,
    /// LSN up to which the log survives power loss.
    pub flushed_lsn: u64,
    /// Number of the epoch under which this process writes.
    pub epoch: u64,
    /// The history's id in hexadecimal.
    pub history: String,
    /// Segment files.
    pub segments: u64,
    /// Bytes of all segments up to their written ends.
    pub bytes: u64,
    /// Bytes of records that the index still points to.
    pub live_bytes: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// How long the last sync took.
    pub last_sync_micros: u64,
    /// Why the log takes no more writes until the next start; empty while it does.
    pub poisoned: String,
    /// Whether writes are refused because the disk is full.
    pub disk_full: bool,
    /// Writes refused for that reason.
    pub refused_writes: u64,
}

/// Checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointFigures {
    /// LSN up to which the newest one holds the index.
    pub lsn: u64,
    /// One is being written.
    pub in_progress: bool,
    /// When the newest one was finished, in seconds since the Unix epoch.
    pub last_unix_seconds: u64,
    /// How long it took.
    pub last_millis: u64,
    /// The last attempt failed.
    pub last_failed: bool,
    /// Finished since the start.
    pub count: u64,
    /// Changes since the newest one.
    pub changes_since: u64,
}

/// Everything that the storage tells INFO.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StorageFigures {
    /// The node that the data belongs to.
    pub node: NodeId,
    /// The start.
    pub recovery: RecoveryFigures,
    /// The log.
    pub log: LogFigures,
    /// Checkpoints.
    pub checkpoint: CheckpointFigures,
    /// Cleaning.
    pub cleaning: CleaningFigures,
    /// Whether a pass that was asked for goes on, and how many have ended.
    pub cleaning_pass: (bool, u64),
    /// Bytes of the memory-mapped index.
    pub index_bytes: u64,
    /// Keys removed because their time had come, and the sweep for them.
    pub expiry: ExpiryFigures,
    /// Keys that made room for others.
    pub eviction: EvictionFigures,
    /// Reading sealed segments again.
    pub scrub: ScrubFigures,
    /// What memory is used for.
    pub memory: MemoryFigures,
    /// Records read from disk because memory did not hold them.
    pub cold: ColdReads,
}
