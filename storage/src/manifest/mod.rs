//! The manifest: the only pointer to segments and checkpoints, replaced as a whole.
//!
//! Invariants:
//! - A stored manifest is durable, name included, when [`Manifest::store`] returns; before, the old one holds.
//! - Segment ids and generations are used by one segment each; generations lie below the next one to be given.
//! - Epochs and histories are listed in the order in which they began.

use std::io;

use crate::codec::DecodeError;
use crate::error::{Result, StorageError};
use crate::fs::Directory;
use crate::segment::SegmentKind;
use crate::segment::names::{MANIFEST, MANIFEST_TMP};
use crate::types::{
    DATABASES, EpochNumber, Generation, HistoryId, Incarnation, Location, Lsn, NodeId, SegmentId, ShardId, TableId, WriterId,
};

mod codec;

/// Who the shard is, and the numbers that it gives next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The shard.
    pub shard: ShardId,
    /// The node that this copy is on.
    pub node: NodeId,
    /// Seed of the key hashes in index and hints.
    pub key_hash_seed: u64,
    /// The next segment file's generation.
    pub next_generation: Generation,
    /// The next segment's id.
    pub next_segment: SegmentId,
    /// The segment allocated ahead.
    pub spare: Option<Generation>,
}

/// From where on a history was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryStart {
    /// The history.
    pub history: HistoryId,
    /// Its first LSN.
    pub first: Lsn,
}

/// From where on an epoch's writer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Its number.
    pub number: EpochNumber,
    /// Its writer.
    pub writer: WriterId,
    /// Its first LSN.
    pub first: Lsn,
}

/// Whether a segment still grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// The one being appended to.
    Active,
    /// It has its footer.
    Sealed {
        /// Its last LSN.
        last: Lsn,
        /// Its length.
        bytes: u64,
    },
    /// What was live in it lies in a cleaned segment; it stays until no index image points to it.
    Retired {
        /// Its last LSN.
        last: Lsn,
        /// Its length.
        bytes: u64,
    },
}

/// A segment of the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentEntry {
    /// The number that locations use.
    pub id: SegmentId,
    /// Generation, part of the file name.
    pub generation: Generation,
    /// What it holds.
    pub kind: SegmentKind,
    /// Whether it still grows.
    pub state: SegmentState,
    /// LSN of the first entry.
    pub base: Lsn,
    /// Place in the eviction order.
    pub stamp: u64,
}

/// How far cleaning has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// The highest LSN of a segment that was cleaned: up to here LSNs may have gaps, between segments too.
    pub reached: Lsn,
    /// The highest LSN consulted when records were dropped: what was at an earlier LSN cannot be told any more.
    pub horizon: Lsn,
}

/// An index image and where replay starts from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The LSN in the file's name.
    pub lsn: Lsn,
    /// The first LSN to replay.
    pub replay_from: Lsn,
}

/// How the last run ended, if it ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanStop {
    /// That run.
    pub incarnation: Incarnation,
    /// Everything up to here was flushed.
    pub flushed: Lsn,
}

/// The value segments referenced at an LSN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueSegments {
    /// The LSN.
    pub lsn: Lsn,
    /// Their ids.
    pub ids: Vec<u128>,
}

/// Which table each database has at an LSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables {
    /// The LSN.
    pub lsn: Lsn,
    /// The next table's id.
    pub next: TableId,
    /// The databases' tables.
    pub databases: [TableId; DATABASES as usize],
}

impl Default for Tables {
    /// As at creation: database n is table n.
    fn default() -> Self {
        let databases = std::array::from_fn(|number| TableId(number as u32));
        Self { lsn: Lsn(0), next: TableId(u32::from(DATABASES)), databases }
    }
}

/// A section of a later version that this one may leave alone, and keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSection {
    tag: u16,
    bytes: Vec<u8>,
}

/// The manifest of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Who the shard is.
    pub identity: Identity,
    /// The history chain, the present one last.
    pub histories: Vec<HistoryStart>,
    /// The epoch table, the present one last.
    pub epochs: Vec<Epoch>,
    /// All segments but value segments.
    pub segments: Vec<SegmentEntry>,
    /// How far cleaning has come.
    pub cleaned: Cleaned,
    /// The newest checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// The clean stop, if the last run ended in one.
    pub clean_stop: Option<CleanStop>,
    /// Value segments known to be referenced.
    pub value_segments: ValueSegments,
    /// The databases' tables.
    pub tables: Tables,
    /// Sections of later versions.
    pub kept: Vec<KeptSection>,
}

impl Manifest {
    /// The manifest of a shard that has nothing yet.
    #[must_use]
    pub fn new(shard: ShardId, node: NodeId, history: HistoryId, key_hash_seed: u64) -> Self {
        let identity = Identity { shard, node, key_hash_seed, next_generation: Generation(1), next_segment: SegmentId(0), spare: None };
        Self {
            identity,
            histories: vec![HistoryStart { history, first: Lsn(1) }],
            epochs: Vec::new(),
            segments: Vec::new(),
            cleaned: Cleaned::default(),
            checkpoint: None,
            clean_stop: None,
            value_segments: ValueSegments::default(),
            tables: Tables::default(),
            kept: Vec::new(),
        }
    }

    /// The history now written.
    #[must_use]
    pub fn history(&self) -> HistoryId {
        self.histories.last().expect("a manifest has a history: checked when it was decoded").history
    }

    /// The history that `lsn` was written under.
    #[must_use]
    pub fn history_at(&self, lsn: Lsn) -> HistoryId {
        let found = self.histories.iter().rev().find(|start| start.first <= lsn);
        found.map_or(self.histories[0].history, |start| start.history)
    }

    /// The epoch that `lsn` was written in.
    #[must_use]
    pub fn epoch_at(&self, lsn: Lsn) -> Option<&Epoch> {
        self.epochs.iter().rev().find(|epoch| epoch.first <= lsn)
    }

    /// The segment being appended to.
    #[must_use]
    pub fn active(&self) -> Option<&SegmentEntry> {
        self.segments.iter().find(|segment| segment.kind == SegmentKind::Log && segment.state == SegmentState::Active)
    }

    /// The segment with this id.
    #[must_use]
    pub fn segment(&self, id: SegmentId) -> Option<&SegmentEntry> {
        self.segments.iter().find(|segment| segment.id == id)
    }

    /// The id of the next segment: the first from the last one given on, around the end, that is free. Ids come back after 2^18 segments,
    /// long after whoever remembers a location has let go of it. None if all are in use.
    pub fn take_segment_id(&mut self, in_use: impl Fn(SegmentId) -> bool) -> Option<SegmentId> {
        const IDS: u32 = 1 << Location::SEGMENT_BITS;
        let first = self.identity.next_segment.0;
        let listed: std::collections::HashSet<SegmentId> = self.segments.iter().map(|segment| segment.id).collect();
        let id = (0..IDS).map(|n| SegmentId(first.wrapping_add(n) % IDS)).find(|id| !listed.contains(id) && !in_use(*id))?;
        self.identity.next_segment = SegmentId((id.0 + 1) % IDS);
        Some(id)
    }

    /// Loads the manifest of a directory; `None` if it has none.
    pub fn load(directory: &dyn Directory) -> Result<Option<Self>> {
        let path = directory.path(MANIFEST);
        let file = match directory.open_read_only(MANIFEST) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("open", path)(error)),
        };
        let len = file.len().map_err(StorageError::io("measure", &path))?;
        let corrupt = |offset, reason| StorageError::Corrupt { path: path.clone(), offset, lsn: Lsn(0), reason };
        // A length that cannot be is refused before it is allocated.
        if len > codec::MAX_LEN {
            return Err(corrupt(0, format!("{len} bytes are too many for a manifest")));
        }
        let mut bytes = vec![0; len as usize];
        file.read_at(0, &mut bytes).map_err(StorageError::io("read", &path))?;
        match Self::decode(&bytes) {
            Ok(manifest) => Ok(Some(manifest)),
            Err((_, DecodeError::FutureVersion(found))) => {
                Err(StorageError::FutureVersion { path: path.clone(), found, known: codec::VERSION })
            }
            Err((offset, error)) => Err(corrupt(offset as u64, error.to_string())),
        }
    }

    /// Replaces the manifest of a directory, durably.
    pub fn store(&self, directory: &dyn Directory) -> Result<()> {
        self.store_watched(directory, || Ok(()))
    }

    /// Replaces the manifest of a directory, durably; `before_rename` runs when the new one is on the medium under its temporary name.
    pub fn store_watched(&self, directory: &dyn Directory, before_rename: impl FnOnce() -> Result<()>) -> Result<()> {
        debug_assert_eq!(self.validate(), Ok(()));
        let path = directory.path(MANIFEST_TMP);
        let bytes = self.encode();
        let file = directory.create(MANIFEST_TMP).map_err(StorageError::io("create", &path))?;
        // Allocated first: writing must not be what finds the disk full.
        file.allocate(0, bytes.len() as u64).map_err(StorageError::io("allocate", &path))?;
        file.write_at(0, &bytes).map_err(StorageError::io("write", &path))?;
        file.sync_all().map_err(StorageError::io("sync", &path))?;
        before_rename()?;
        directory.rename(MANIFEST_TMP, MANIFEST).map_err(StorageError::io("rename", &path))?;
        directory.sync().map_err(StorageError::io("sync the directory of", directory.path(MANIFEST)))
    }
}

#[cfg(test)]
mod tests;
