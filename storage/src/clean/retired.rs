//! Removing segments that were replaced, once nothing can point into them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Counts;
use super::install;
use crate::checkpoint::Checkpointer;
use crate::error::{Result, StorageError};
use crate::index::Index;
use crate::log::{Log, Segment};
use crate::segment::names::FileName;
use crate::types::SegmentId;

/// Segments that wait, each with the number of checkpoints that had begun when the last cell left it.
#[derive(Default)]
pub(super) struct Retired {
    waiting: Vec<(Arc<Segment>, u64)>,
}

impl Retired {
    /// Takes over what an earlier run left: the index may still point into them, so it is pointed away first.
    pub(super) fn adopt(log: &Log, index: &Index, checkpointer: &Checkpointer) -> Result<Self> {
        let mut retired = Self::default();
        let left = log.segments().retired();
        if left.is_empty() {
            return Ok(retired);
        }
        let old = |id: SegmentId| left.iter().any(|segment| segment.id() == id);
        for segment in log.segments().in_order() {
            let covers =
                |other: &Arc<Segment>| other.base_lsn() <= Some(segment.last_lsn()) && segment.base_lsn() <= Some(other.last_lsn());
            if segment.is_sealed() && left.iter().any(covers) {
                // Cells are yet to be counted, these too.
                install::point_index(log, index, &segment, &old)?;
            }
        }
        retired.add(&left, checkpointer);
        Ok(retired)
    }

    pub(super) fn add(&mut self, segments: &[Arc<Segment>], checkpointer: &Checkpointer) {
        let begun = checkpointer.begun();
        self.waiting.extend(segments.iter().map(|segment| (Arc::clone(segment), begun)));
    }

    pub(super) fn bytes(&self) -> u64 {
        self.waiting.iter().map(|(segment, _)| segment.map().written() as u64).sum()
    }

    /// Removes those that no index image names any more: the newest one began after the last cell had left them.
    pub(super) fn remove(&mut self, log: &Log, index: &Index, checkpointer: &Checkpointer, counts: &Counts) -> Result<()> {
        let covered = checkpointer.completed();
        let (free, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(|(_, begun)| *begun < covered);
        self.waiting = waiting;
        if free.is_empty() {
            return Ok(());
        }
        let gone = |id: SegmentId| free.iter().any(|(segment, _)| segment.id() == id);
        {
            let mut manifest = log.manifest.lock();
            let before = manifest.segments.clone();
            manifest.segments.retain(|entry| !gone(entry.id));
            if let Err(error) = log.store_manifest(&mut manifest) {
                manifest.segments = before;
                self.waiting.extend(free);
                return Err(error);
            }
        }
        for (segment, _) in free {
            let bytes = segment.map().written() as u64;
            log.withdraw(segment.id());
            index.forget_live_cells(segment.id());
            let name = FileName::Segment(segment.base_lsn().unwrap_or_default(), segment.generation()).to_string();
            log.directory.remove(&name).map_err(StorageError::io("remove", log.directory.path(&name)))?;
            counts.removed.fetch_add(bytes, Ordering::Relaxed);
        }
        // A filesystem may keep their room until their names are gone for good.
        log.directory.sync().map_err(StorageError::io("sync", log.directory.path("")))?;
        // The log may wait for the room.
        log.keeper.wake();
        Ok(())
    }
}
