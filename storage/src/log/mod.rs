//! The log: an append-only sequence of segments, the truth from which all else is derived.
//!
//! Invariants:
//! - `flushed <= written`; entries have LSNs without gaps; the manifest lists, or reserves, every segment that may hold one.
//! - Lock order: flushing, manifest, tail. Nobody holds the tail while doing I/O.

mod durability;
mod epochs;
mod figures;
mod frames;
mod keeper;
mod reader;
mod segment;
mod syncer;
mod table;
mod tail;
mod uses;

pub use durability::Durability;
pub use epochs::Lineage;
pub(crate) use figures::Counts;
pub use figures::LogFigures;
pub(crate) use frames::Frames;
pub(crate) use keeper::KeeperSignal;
pub use reader::{LogPiece, LogReader, NextInLog};
pub(crate) use segment::NOTE_EVERY;
pub use segment::{SealedCounts, Segment};
pub(crate) use syncer::SharedMode;
pub use table::SegmentTable;
pub(crate) use tail::{Appended, Purpose, Tail};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use parking_lot::{Condvar, Mutex};

use crate::clean::SpaceLimit;
use crate::codec::checksum::ShardSeed;
use crate::copies::Copies;
use crate::error::{Result, StorageError};
use crate::fs::{Directory, FileIdentity};
use crate::manifest::{CleanStop, Manifest};
use crate::options::SyncMode;
use crate::segment::names::{MANIFEST, MANIFEST_TMP};
use crate::thread::Thread;
use crate::types::{HistoryId, Incarnation, Lsn, NodeId, SegmentId, ShardId};

/// Told of the present manifest's identity and of the one that is about to take its place, so that the index can name both.
pub(crate) type ManifestWatcher = Box<dyn Fn(FileIdentity, FileIdentity) + Send + Sync>;

/// The log of one shard.
pub struct Log {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) seed: ShardSeed,
    pub(crate) history: HistoryId,
    pub(crate) shard: ShardId,
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) key_hash_seed: u64,
    pub(crate) segment_size: u32,
    pub(crate) mode: SharedMode,
    pub(crate) tail: Mutex<Tail>,
    pub(crate) spare_ready: Condvar,
    pub(crate) durability: Durability,
    pub(crate) flushing: Mutex<()>,
    pub(crate) keeper: KeeperSignal,
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) table: ArcSwap<SegmentTable>,
    pub(crate) manifest_watcher: OnceLock<ManifestWatcher>,
    pub(crate) counts: Counts,
    pub(crate) space: Arc<SpaceLimit>,
    /// Of records in segments that are not hot.
    pub(crate) copies: Copies,
    /// After a clean stop nothing is stored any more.
    pub(crate) is_closed: AtomicBool,
}

/// The log's threads; they end when told to.
pub(crate) struct Threads {
    threads: [Thread; 2],
    closed: bool,
}

impl Threads {
    pub(crate) fn start(log: &Arc<Log>) -> Result<Self> {
        Ok(Self { threads: [syncer::spawn(log)?, keeper::spawn(log)?], closed: false })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn set_closed(&mut self) {
        self.closed = true;
    }

    /// Ends the threads and waits for them.
    pub(crate) fn stop(&mut self, log: &Log) {
        log.keeper.stop();
        log.durability.stop();
        self.threads.iter().for_each(Thread::join);
    }
}

impl Log {
    /// How far the log is written and flushed.
    #[must_use]
    pub fn durability(&self) -> &Durability {
        &self.durability
    }

    /// The segments; holding the guard pins them.
    #[inline]
    pub(crate) fn segments(&self) -> Guard<Arc<SegmentTable>> {
        self.table.load()
    }

    pub(crate) fn publish(&self, segment: Arc<Segment>) {
        self.table.rcu(|table| table.with(Arc::clone(&segment)));
    }

    pub(crate) fn withdraw(&self, segment: SegmentId) {
        self.table.rcu(|table| table.without(segment));
    }

    /// When the log is put on the medium.
    #[must_use]
    pub fn sync_mode(&self) -> SyncMode {
        self.mode.get()
    }

    /// Changes when the log is put on the medium.
    pub fn set_sync_mode(&self, mode: SyncMode) {
        self.mode.set(mode);
    }

    /// Replaces the manifest on disk by `manifest`. Without room the one before still holds; after any other failure nobody knows which
    /// of the two does, so the log is poisoned.
    pub(crate) fn store_manifest(&self, manifest: &mut Manifest) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            // Its directory may be another's by now.
            return Err(StorageError::Closed);
        }
        let directory = self.directory.as_ref();
        let stored = manifest.store_watched(directory, || {
            let identity = |name| directory.identity(name).map_err(StorageError::io("identify", directory.path(name)));
            if let (Some(watcher), Some(current), Some(next)) = (self.manifest_watcher.get(), identity(MANIFEST)?, identity(MANIFEST_TMP)?)
            {
                watcher(current, next);
            }
            Ok(())
        });
        stored.inspect_err(|error| {
            if !error.is_disk_full() {
                self.durability.poison(error);
            }
        })
    }

    /// A clean stop, after the threads have ended: everything flushed, the active file cut at its written end, and that said in the
    /// manifest.
    pub(crate) fn close(&self) -> Result<()> {
        let flushed = self.flush()?;
        self.register_active()?;
        let full = std::mem::take(&mut self.tail.lock().full);
        for segment in full {
            self.seal(&segment)?;
        }
        let active = Arc::clone(&self.tail.lock().segment);
        let path = active.file().path();
        active.file().set_len(active.map().written() as u64).map_err(StorageError::io("truncate", path))?;
        active.file().sync_all().map_err(StorageError::io("sync", path))?;
        let mut manifest = self.manifest.lock();
        manifest.clean_stop = Some(CleanStop { incarnation: self.incarnation, flushed });
        self.store_manifest(&mut manifest)?;
        self.is_closed.store(true, Ordering::Release);
        Ok(())
    }

    /// How much of the disk it may take.
    #[must_use]
    pub fn space(&self) -> &SpaceLimit {
        &self.space
    }

    /// The LSN of the last entry.
    #[must_use]
    pub fn last_lsn(&self) -> Lsn {
        self.durability.written()
    }

    /// Bytes of entries appended since the start.
    #[must_use]
    pub fn appended_bytes(&self) -> u64 {
        self.counts.appended_bytes()
    }
}
