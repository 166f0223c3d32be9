//! Node metadata in sled, which is named in this module only.
//!
//! Invariants:
//! - The manifest and the log are the truth; this is a mirror. A store that cannot be opened is set aside, not repaired, and a new one
//!   is begun.
//! - sled's `flush` ends in `sync_file_range`, which is no fsync: what must survive power loss is followed by an fdatasync of its file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use esker_storage::types::NodeId;

use crate::observe::RecoveryFigures;

/// sled keeps all of its data, small as it is, in one file of this name.
const FILE: &str = "db";
/// More than the metadata will ever take.
const CACHE_BYTES: u64 = 1 << 20;

const NODE_ID: &str = "node-id";
const STARTS: &str = "starts";
const RECOVERY: &str = "recovery";

/// Why node metadata is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The store fails.
    #[error("node metadata in {}: {error}", path.display())]
    Store {
        /// Its directory.
        path: PathBuf,
        /// The reason.
        error: sled::Error,
    },
    /// Its files cannot be used.
    #[error("node metadata in {}: {error}", path.display())]
    File {
        /// Its directory.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
}

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Its id, as the manifest has it.
    pub node_id: Option<NodeId>,
    /// How often it was started on this data directory.
    pub starts: u64,
    /// How its data came back at the start before this one.
    pub recovery: Option<RecoveryFigures>,
}

/// An open store of node metadata.
#[derive(Debug)]
pub struct Metadata {
    store: sled::Db,
    path: PathBuf,
}

impl Metadata {
    /// Opens the store in the directory `path`, which is made if there is none. A store that cannot be read is renamed and a new one
    /// begun.
    ///
    /// # Errors
    /// There is none and none can be made.
    pub fn open(path: &Path) -> Result<Self, MetadataError> {
        let opened = Self::try_open(path);
        if let Err(error) = &opened {
            let aside = path.with_extension("unreadable");
            tracing::warn!("{error}; it is set aside as {} and begun anew", aside.display());
            let _ = std::fs::remove_dir_all(&aside);
            std::fs::rename(path, &aside).map_err(|error| MetadataError::File { path: path.to_owned(), error })?;
            return Self::try_open(path);
        }
        opened
    }

    fn try_open(path: &Path) -> Result<Self, MetadataError> {
        // No thread of sled's flushes by the clock: what has to be flushed is flushed here.
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).mode(sled::Mode::LowSpace).flush_every_ms(None);
        let store = config.open().map_err(|error| MetadataError::Store { path: path.to_owned(), error })?;
        Ok(Self { store, path: path.to_owned() })
    }

    fn wrap<T>(&self, result: sled::Result<T>) -> Result<T, MetadataError> {
        result.map_err(|error| MetadataError::Store { path: self.path.clone(), error })
    }

    fn number(&self, key: &str) -> Result<Option<u64>, MetadataError> {
        let bytes = self.wrap(self.store.get(key))?;
        Ok(bytes.and_then(|bytes| bytes.as_ref().try_into().ok()).map(u64::from_le_bytes))
    }

    fn set_number(&self, key: &str, number: u64) -> Result<(), MetadataError> {
        self.wrap(self.store.insert(key, &number.to_le_bytes())).map(|_| ())
    }

    /// Mirrors the node's id.
    ///
    /// # Errors
    /// The store fails.
    pub fn set_node_id(&self, node: NodeId) -> Result<(), MetadataError> {
        self.set_number(NODE_ID, node.0)
    }

    /// Counts a start of the node.
    ///
    /// # Errors
    /// The store fails.
    pub fn count_start(&self) -> Result<(), MetadataError> {
        self.set_number(STARTS, self.number(STARTS)?.unwrap_or(0) + 1)
    }

    /// How the data came back when this was last set.
    ///
    /// # Errors
    /// The store fails.
    pub fn recovery(&self) -> Result<Option<RecoveryFigures>, MetadataError> {
        Ok(self.wrap(self.store.get(RECOVERY))?.and_then(|bytes| decode(&bytes)))
    }

    /// Keeps how the data came back.
    ///
    /// # Errors
    /// The store fails.
    pub fn set_recovery(&self, recovery: &RecoveryFigures) -> Result<(), MetadataError> {
        self.wrap(self.store.insert(RECOVERY, encode(recovery))).map(|_| ())
    }

    /// All that is known.
    ///
    /// # Errors
    /// The store fails.
    pub fn summary(&self) -> Result<Summary, MetadataError> {
        let node_id = self.number(NODE_ID)?.map(NodeId);
        Ok(Summary { node_id, starts: self.number(STARTS)?.unwrap_or(0), recovery: self.recovery()? })
    }

    /// Has what was set survive power loss.
    ///
    /// # Errors
    /// The store or the disk fails.
    pub fn make_durable(&self) -> Result<(), MetadataError> {
        self.wrap(self.store.flush())?;
        let sync = || File::open(self.path.join(FILE))?.sync_data();
        sync().map_err(|error| MetadataError::File { path: self.path.clone(), error })
    }
}

/// Lines of text: a summary is written once a start, and may be read with `strings`.
fn encode(recovery: &RecoveryFigures) -> Vec<u8> {
    let r = recovery;
    let replayed = [r.entries_replayed, r.bytes_replayed, r.bytes_cut, r.index_repairs, r.value_segments_removed];
    let numbers = [r.millis, r.keys, r.keys_from_checkpoint].into_iter().chain(replayed);
    let numbers: Vec<String> = numbers.map(|n| n.to_string()).collect();
    format!("{}\n{}\n{}", r.kind, r.reason.replace('\n', " "), numbers.join("\n")).into_bytes()
}

fn decode(bytes: &[u8]) -> Option<RecoveryFigures> {
    const KINDS: [&str; 4] = ["fresh", "clean", "crash", "power-loss"];
    let mut lines = std::str::from_utf8(bytes).ok()?.split('\n');
    let kind = lines.next()?;
    let kind = KINDS.iter().find(|known| **known == kind)?;
    let reason = lines.next()?.to_owned();
    let mut number = || lines.next()?.parse().ok();
    Some(RecoveryFigures {
        kind,
        reason,
        millis: number()?,
        keys: number()?,
        keys_from_checkpoint: number()?,
        entries_replayed: number()?,
        bytes_replayed: number()?,
        bytes_cut: number()?,
        index_repairs: number()?,
        value_segments_removed: number()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
mod tests {
    use super::*;
    use crate::node::record_start;

    fn figures() -> RecoveryFigures {
        RecoveryFigures {
            kind: "power-loss",
            reason: "another boot".to_owned(),
            millis: 1,
            keys: 2,
            keys_from_checkpoint: 3,
            entries_replayed: 4,
            bytes_replayed: 5,
            bytes_cut: 6,
            index_repairs: 7,
            value_segments_removed: 8,
        }
    }

    #[test]
    fn starts_are_counted_and_the_last_recovery_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let first = record_start(directory.path(), NodeId(7), &figures()).unwrap();
        assert_eq!(first, Summary { node_id: Some(NodeId(7)), starts: 1, recovery: None });
        let second = record_start(directory.path(), NodeId(7), &RecoveryFigures { kind: "clean", ..figures() }).unwrap();
        assert_eq!((second.starts, second.recovery), (2, Some(figures())));
    }

    #[test]
    fn an_unreadable_store_is_set_aside_and_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node");
        std::fs::write(&path, b"not a directory").unwrap();
        let metadata = Metadata::open(&path).unwrap();
        assert_eq!(metadata.summary().unwrap(), Summary::default());
        assert!(directory.path().join("node.unreadable").exists());
    }

    #[test]
    fn a_summary_of_another_version_reads_as_none() {
        assert_eq!(decode(&encode(&figures())), Some(figures()));
        for bytes in [&b""[..], b"crash", b"odd\n\n1\n2\n3\n4\n5\n6", b"crash\n\nx"] {
            assert_eq!(decode(bytes), None);
        }
    }
}
