//! Finding the records that an `evict` entry names, while the log is replayed.

use crate::codec::evicted::Evicted;
use crate::codec::op::OpView;
use crate::log::Segment;
use crate::segment::{Continuity, Frame, SEGMENT_HEADER, SegmentReader};
use crate::types::{EpochNumber, Location, Lsn};

/// The ops of a segment that were evicted, with where they lie.
pub(super) fn named<'s>(segment: &'s Segment, evicted: &Evicted) -> Vec<(Location, OpView<'s>)> {
    let bytes = segment.bytes(0).unwrap_or_default();
    let before = Lsn(segment.base_lsn().unwrap_or_default().0.saturating_sub(1));
    let reader = SegmentReader::resume(bytes, segment.seed(), Continuity::Rising, SEGMENT_HEADER, before, EpochNumber(0));
    let mut found = Vec::new();
    for frame in reader {
        let Ok((offset, frame)) = frame else {
            // The segment that was written last ends somehow. In others this is damage, which those who look for it find; the keys
            // behind it stay until they are evicted again.
            break;
        };
        let Frame::Entry(entry) = frame else { continue };
        let lsn = entry.head().lsn;
        for (distance, op) in entry.ops() {
            if op.header.code.has_key() && evicted.contains(lsn, op.header.op_number()) {
                found.push((Location::new(segment.id(), offset + distance), op));
            }
        }
    }
    found
}
