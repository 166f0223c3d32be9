//! The errors of the storage layer. A leaf: each names the file, the offset and the LSN that it is about, where there are any.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::types::{EpochNumber, Location, Lsn};

/// A result of the storage layer.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// What can go wrong in the storage layer.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Bytes on disk do not pass their checks where they must.
    #[error("{} is corrupt at offset {offset} (LSN {lsn}): {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// The LSN expected or found there.
        lsn: Lsn,
        /// What did not pass.
        reason: String,
    },
    /// The bytes are sound, but use what only later versions know.
    #[error("{} needs a newer version of this program at offset {offset} (LSN {lsn}): {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// The LSN expected or found there.
        lsn: Lsn,
        /// What is not known.
        reason: String,
    },
    /// The format is of a version that this program does not know.
    #[error("{} has format version {found}; this program knows version {known}: use a newer one", path.display())]
    FutureVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// Ours.
        known: u16,
    },
    /// Another process writes to the data directory.
    #[error("the data directory {} is in use by {}", path.display(), holder(*pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds the lock, if that is known.
        pid: Option<u32>,
    },
    /// The filesystem lacks something that the log depends on.
    #[error("the filesystem of {} fails the self-test '{check}': {reason}", path.display())]
    UnfitFilesystem {
        /// The directory.
        path: PathBuf,
        /// The check.
        check: &'static str,
        /// What was seen.
        reason: String,
    },
    /// There is no room for another segment or index page; reads go on, writes resume when there is.
    #[error("no space left for the log in {}: writes are refused until space is freed", path.display())]
    DiskFull {
        /// The directory.
        path: PathBuf,
    },
    /// The shard was closed, as another took its place or the node stops.
    #[error("the log is closed")]
    Closed,
    /// An fsync or a background write failed before; nothing is written any more until the shard is opened again.
    #[error("the log is poisoned: {reason}; restart after checking the disk")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// The entry does not fit in a segment.
    #[error("an entry of {len} bytes exceeds the limit of {limit} bytes")]
    EntryTooLarge {
        /// Its length.
        len: u64,
        /// The longest entry.
        limit: u64,
    },
    /// The shard is a replica's: its log takes the primary's entries and no others.
    #[error("this node is a replica: only entries of its primary are written")]
    Replica,
    /// An entry of the primary's does not follow the replica's last one.
    #[error("entry {found} (epoch {epoch}) does not follow entry {last} (epoch {last_epoch})")]
    OutOfOrder {
        /// Its LSN.
        found: Lsn,
        /// Its epoch.
        epoch: EpochNumber,
        /// The last LSN of the replica's log.
        last: Lsn,
        /// The epoch of that entry.
        last_epoch: EpochNumber,
    },
    /// What a reader of the log asks for is not there any more, or not there yet.
    #[error("the log has no entry {lsn} any more: it was cleaned")]
    NotInLog {
        /// The LSN.
        lsn: Lsn,
    },
    /// The record could not be fetched.
    #[error("{0}")]
    Unreadable(Arc<Self>),
    /// The record is not in memory: fetch it and run the command again.
    #[error("the record at segment {} offset {} is not in memory", .0.segment(), .0.offset())]
    Cold(Location),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl StorageError {
    /// Wraps an I/O error with what was tried and where.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Whether this is the disk being full, under whatever operation.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::DiskFull { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull || source.kind() == io::ErrorKind::QuotaExceeded,
            _ => false,
        }
    }
}
