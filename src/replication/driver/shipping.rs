//! The snapshot that a link sends: opened, and what was lacking gathered, beside the link, which goes on giving signs of life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use esker_storage::difference::OpSet;
use esker_storage::error::StorageError;
use esker_storage::shard::Shard;
use esker_storage::snapshot::{Snapshot, SnapshotFile};
use esker_storage::types::Lsn;
use tokio::task::JoinHandle;

use super::frames::LinkError;
use crate::replication::wire::{File, Lacking, Listing, SnapshotId};
use crate::shard::Served;

/// With so many bytes of log since the last checkpoint, a new one is worth its time before a snapshot is sent.
const CHECKPOINT_FROM: u64 = 32 << 20;
/// What finding out what differs takes of a core: so long at a time, and then rests so long.
const WORKS: Duration = Duration::from_millis(3);
const RESTS: Duration = Duration::from_millis(1);

/// What a replica was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Everything.
    Whole,
    /// What differed.
    Difference,
}

/// How opening ended.
pub(super) type Opened = Result<Result<(Snapshot, Lsn), StorageError>, tokio::task::JoinError>;

/// See the module.
#[derive(Default)]
pub(super) struct Shipping {
    id: SnapshotId,
    open: Option<(Arc<Snapshot>, Lsn)>,
    opening: Option<JoinHandle<Result<(Snapshot, Lsn), StorageError>>>,
    /// Tells whoever opens a snapshot that nobody waits for it any more.
    is_over: Arc<AtomicBool>,
    sent: Option<Sent>,
}

impl Drop for Shipping {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Shipping {
    /// What was sent on this link, if it was not only the log.
    pub(super) fn was_sent(&self) -> Option<Sent> {
        self.sent
    }

    /// Whether a snapshot is open, or on its way.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some() || self.opening.is_some()
    }

    /// The open snapshot.
    pub(super) fn snapshot(&self, id: SnapshotId) -> Option<Arc<Snapshot>> {
        self.open.as_ref().filter(|_| self.id == id).map(|(snapshot, _)| Arc::clone(snapshot))
    }

    /// Lets go of it.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Begins to open one: of what is above this LSN and lives below, or of everything.
    pub(super) fn open(&mut self, shard: &Arc<Served>, id: SnapshotId, above: Lsn) {
        let (shard, is_over) = (Arc::clone(shard), Arc::clone(&self.is_over));
        self.id = id;
        self.opening = Some(tokio::task::spawn_blocking(move || {
            if above > Lsn(0) {
                match difference(&shard, above, &is_over) {
                    Ok(snapshot) => return Ok((snapshot, above)),
                    Err(error) if is_over.load(Ordering::Relaxed) => return Err(error),
                    Err(error) => tracing::warn!("a replica is sent everything, as what differs cannot be told: {error}"),
                }
            }
            whole(&shard).map(|snapshot| (snapshot, Lsn(0)))
        }));
    }

    /// Begins to gather what a replica lacks beside the snapshot.
    pub(super) fn gather(&mut self, shard: &Arc<Served>, lacking: Lacking) {
        let Some((snapshot, above)) = self.open.take() else { return };
        let shard = Arc::clone(shard);
        self.opening = Some(tokio::task::spawn_blocking(move || {
            let ops = OpSet::decode(&lacking.ops).map_err(|error| StorageError::Io {
                action: "decode",
                path: "(what a replica lacks)".into(),
                source: std::io::Error::other(error.to_string()),
            })?;
            let files = vec![shard.snapshot_records(&ops)?];
            Ok((Snapshot { lsn: snapshot.lsn, manifest: snapshot.manifest.clone(), files }, above))
        }));
    }

    /// Waits until that is done; for ever if nothing was begun.
    pub(super) async fn wait(&mut self) -> Opened {
        let Some(opening) = &mut self.opening else { return std::future::pending().await };
        let opened = opening.await;
        self.opening = None;
        opened
    }

    /// What the replica is told of it.
    pub(super) fn opened(&mut self, opened: Opened) -> Result<Listing, LinkError> {
        let (snapshot, above) = opened.map_err(std::io::Error::other)??;
        let file = |file: &SnapshotFile| File { name: file.name.clone(), bytes: file.bytes, sealed: file.is_sealed(), from: file.from };
        let files = snapshot.files.iter().map(file).collect();
        let listing = Listing { id: self.id, lsn: snapshot.lsn, manifest: snapshot.manifest.clone(), files, above };
        self.sent = Some(if above == Lsn(0) { Sent::Whole } else { Sent::Difference });
        self.open = Some((Arc::new(snapshot), above));
        Ok(listing)
    }
}

fn difference(shard: &Shard, above: Lsn, is_over: &AtomicBool) -> Result<Snapshot, StorageError> {
    shard.flush_log()?;
    let mut began = Instant::now();
    let mut goes_on = || {
        if began.elapsed() >= WORKS {
            std::thread::sleep(RESTS);
            began = Instant::now();
        }
        !is_over.load(Ordering::Relaxed)
    };
    let over = || StorageError::Io { action: "send", path: "(a snapshot)".into(), source: std::io::ErrorKind::BrokenPipe.into() };
    shard.snapshot_above(above, &mut goes_on)?.ok_or_else(over)
}

fn whole(shard: &Shard) -> Result<Snapshot, StorageError> {
    shard.flush_log()?;
    // Loading an image of the index takes the replica a tenth of the time that replaying the log takes.
    if shard.checkpoint_status().log_bytes_since > CHECKPOINT_FROM
        && let Err(error) = shard.checkpoint()
    {
        tracing::warn!("a snapshot is sent without a new checkpoint: {error}");
    }
    shard.snapshot()
}

/// Reads a part of a file.
pub(super) fn read_piece(file: &SnapshotFile, offset: u64, len: usize) -> Result<Vec<u8>, LinkError> {
    let mut raw = vec![0; len];
    match file.read_at(offset, &mut raw) {
        // A large value that nothing names any more: what names it in the log is followed by what took its place.
        Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        outcome => outcome?,
    }
    Ok(raw)
}
