//! What a start found and did.

use std::time::Duration;

use crate::types::Lsn;

/// How the last run ended, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartKind {
    /// The directory was empty.
    Fresh,
    /// A clean stop.
    Clean,
    /// The process was killed; the index is as it left it.
    Crash,
    /// The index was not to be trusted and was built again.
    PowerLoss {
        /// Why not.
        reason: String,
    },
}

impl RestartKind {
    /// One word for INFO.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Clean => "clean",
            Self::Crash => "crash",
            Self::PowerLoss { .. } => "power-loss",
        }
    }
}

/// The figures of a start.
#[derive(Debug, Clone)]
pub struct RecoveryReport {
    /// How the last run ended.
    pub kind: RestartKind,
    /// Keys in all databases.
    pub keys: u64,
    /// The last LSN in the log.
    pub last_lsn: Lsn,
    /// The highest flushed LSN that was recorded on this disk.
    pub flushed_lsn: Lsn,
    /// Entries applied to the index.
    pub entries_replayed: u64,
    /// Bytes of log read for that.
    pub bytes_replayed: u64,
    /// Keys taken from a checkpoint.
    pub keys_from_checkpoint: u64,
    /// Bytes cut from the end of the log, and saved to `torn-*.log`.
    pub bytes_cut: u64,
    /// Changes of the index that were undone or finished.
    pub index_repairs: u32,
    /// Value segments removed that no entry names.
    pub values_removed: u64,
    /// How long it took.
    pub duration: Duration,
}
