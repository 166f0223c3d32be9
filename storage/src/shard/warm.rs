//! Warming: verifies the frames of segments that are to become hot, and has their pages in memory before a worker reads them there.

use std::sync::Arc;

use crate::error::StorageError;
use crate::log::{NOTE_EVERY, Segment};
use crate::memory::WarmQueue;
use crate::segment::{Continuity, Frame, SEGMENT_HEADER, SegmentReader};
use crate::types::{EpochNumber, Lsn};

/// Bytes verified in one step.
const STEP: usize = 4 << 20;

/// Works through the queue.
pub(super) struct Warmer {
    queue: Arc<WarmQueue>,
    current: Option<Progress>,
}

struct Progress {
    segment: Arc<Segment>,
    at: usize,
    end: usize,
    last: Lsn,
    epoch: EpochNumber,
    notes: Vec<(Lsn, u32)>,
}

impl Warmer {
    pub(super) fn new(queue: &Arc<WarmQueue>) -> Self {
        Self { queue: Arc::clone(queue), current: None }
    }

    /// Goes on for a bounded piece; whether there is more to do.
    pub(super) fn step(&mut self) -> bool {
        if self.current.is_none() {
            let Some(segment) = self.queue.pop() else { return false };
            self.current = Progress::begin(segment);
        }
        let Some(progress) = &mut self.current else { return true };
        match progress.verify() {
            Ok(false) => return true,
            Ok(true) => {
                progress.segment.set_notes(std::mem::take(&mut progress.notes));
                progress.segment.set_hot(true);
            }
            Err(error) => {
                progress.segment.set_bad(true);
                tracing::error!("a segment stays cold, its records are checked one by one: {error}");
            }
        }
        self.current = None;
        true
    }
}

impl Progress {
    fn begin(segment: Arc<Segment>) -> Option<Self> {
        if segment.is_hot() || segment.is_bad() {
            return None;
        }
        let end = segment.map().written();
        let base = segment.base_lsn()?;
        Some(Self { segment, at: SEGMENT_HEADER, end, last: Lsn(base.0 - 1), epoch: EpochNumber(0), notes: Vec::new() })
    }

    /// Verifies the next piece; true at the end.
    fn verify(&mut self) -> Result<bool, StorageError> {
        let path = self.segment.file().path();
        let to = (self.at + STEP).min(self.end);
        let start = self.at & !4095;
        // The mapping expects to be read in no order: page by page that would take a while.
        let _ = self.segment.file().will_read(start as u64, (to - start) as u64);
        match self.segment.map().region().populate_read(start, to - start) {
            // A kernel that does not know it.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {}
            // What cannot be had here would be a signal later.
            outcome => outcome.map_err(StorageError::io("read into memory", path))?,
        }
        let Some(bytes) = self.segment.map().read(0, self.end) else { return Ok(true) };
        let mut reader = SegmentReader::resume(bytes, self.segment.seed(), Continuity::Rising, self.at, self.last, self.epoch);
        while let Some(frame) = reader.next() {
            let (offset, frame) = frame.map_err(|bad| bad.in_file(path))?;
            if let Frame::Entry(entry) = frame {
                if self.notes.last().is_none_or(|(_, noted)| offset - noted >= NOTE_EVERY) {
                    self.notes.push((entry.head().lsn, offset));
                }
                (self.last, self.epoch) = (entry.head().lsn, entry.head().epoch);
            }
            self.at = reader.offset();
            if self.at >= to {
                return Ok(self.at >= self.end);
            }
        }
        Ok(true)
    }
}
