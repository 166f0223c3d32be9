//! What can go wrong in `esker-log`.

use std::io;
use std::path::{Path, PathBuf};

use esker_storage::error::StorageError;
use esker_storage::history::HistoryError;
use esker_storage::types::{Lsn, UnixMillis};

use super::output;
use crate::client::ClientError;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is no manifest where one was expected.
    #[error("{} is not a data directory: it has no {}", dir.display(), "shard-0/MANIFEST")]
    NotADataDirectory {
        /// What was given.
        dir: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The data is damaged, or too new.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What was asked for is not in the log any more, or not yet.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// What was asked for is before the first entry.
    #[error("the log begins at {}, after the time that was asked for", output::time(*first))]
    BeforeTheBeginning {
        /// When the log begins.
        first: UnixMillis,
    },
    /// There is something that cannot be written in this form.
    #[error("{0}")]
    Export(String),
    /// A server does not answer as it should.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// Something that keeps entries from being applied again.
    #[error("{0}")]
    Reapply(String),
    /// A server has the directory.
    #[error("{} is in use by {}: repair works on a stopped server only", dir.display(), pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process, as far as the lock file tells.
        pid: Option<u32>,
    },
    /// Something that repair leaves alone.
    #[error("{} cannot be repaired at offset {offset} (LSN {lsn}): {reason}", path.display())]
    CannotRepair {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The LSN there.
        lsn: Lsn,
        /// Why.
        reason: String,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl LogError {
    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    pub(super) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }

    /// Whether the output's reader went away.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether a file was gone when it was to be read.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
