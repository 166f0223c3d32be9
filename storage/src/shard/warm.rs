//! Warming: verifies the frames of segments that this process has not written and makes them hot, newest first, within a limit.

use std::sync::Arc;

use crate::log::{Log, NOTE_EVERY, Segment};
use crate::segment::{Continuity, Frame, SEGMENT_HEADER, SegmentReader};
use crate::types::{EpochNumber, Lsn};

/// Bytes verified in one step.
const STEP: usize = 4 << 20;

/// Walks over the segments that were there at start.
pub(super) struct Warmer {
    limit: u64,
    hot: u64,
    queue: Option<Vec<Arc<Segment>>>,
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
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, hot: 0, queue: None, current: None }
    }

    /// Goes on for a bounded piece; whether there is more to do.
    pub(super) fn step(&mut self, log: &Log) -> bool {
        if self.current.is_none() {
            // The last is the newest.
            let queue = self.queue.get_or_insert_with(|| log.segments().in_order());
            let Some(segment) = queue.pop() else { return false };
            let end = segment.map().written();
            if segment.is_hot() || self.hot + end as u64 > self.limit {
                self.hot += if segment.is_hot() { end as u64 } else { 0 };
                return !queue.is_empty();
            }
            let base = segment.base_lsn().expect("segments in order have begun");
            let progress = Progress { segment, at: SEGMENT_HEADER, end, last: Lsn(base.0 - 1), epoch: EpochNumber(0), notes: Vec::new() };
            self.current = Some(progress);
        }
        let Some(progress) = &mut self.current else { return false };
        match progress.verify() {
            Ok(false) => return true,
            Ok(true) => {
                progress.segment.set_notes(std::mem::take(&mut progress.notes));
                progress.segment.set_hot(true);
                self.hot += progress.end as u64;
            }
            Err(bad) => {
                let error = bad.in_file(progress.segment.file().path());
                tracing::error!("a segment stays cold, its records are checked one by one: {error}");
            }
        }
        self.current = None;
        true
    }
}

impl Progress {
    /// Verifies the next piece; true at the end.
    fn verify(&mut self) -> Result<bool, crate::segment::BadFrame> {
        let to = (self.at + STEP).min(self.end);
        let _ = self.segment.map().region().populate_read(self.at & !4095, to - (self.at & !4095));
        let Some(bytes) = self.segment.map().read(0, self.end) else { return Ok(true) };
        let mut reader = SegmentReader::resume(bytes, self.segment.seed(), Continuity::Rising, self.at, self.last, self.epoch);
        while let Some(frame) = reader.next() {
            let (offset, frame) = frame?;
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
