//! Finding an entry by its LSN: the chains of deltas point back by (LSN, op number).

use std::sync::Arc;

use crate::codec::entry::EntryHeader;
use crate::codec::frame::{FRAME_START, FrameStart};
use crate::codec::op::OpHeader;
use crate::error::{Result, StorageError};
use crate::log::{Segment, SegmentTable};
use crate::segment::SEGMENT_HEADER;
use crate::types::{Location, Lsn};

/// Looks in hot segments only; elsewhere the location asked for is "cold".
pub(super) fn in_mappings(table: &SegmentTable, lsn: Lsn, number: u32) -> Result<Location> {
    let segment = holder(table, lsn)?;
    let start = segment.nearest(lsn).unwrap_or(SEGMENT_HEADER as u32);
    let bytes = segment.hot_bytes(start).ok_or_else(|| StorageError::Cold(Location::new(segment.id(), start)))?;
    search(segment, bytes, start, lsn, number)
}

/// Reads what it needs from the medium: never on a worker.
pub(super) fn waiting(table: &SegmentTable, lsn: Lsn, number: u32) -> Result<Location> {
    let segment = holder(table, lsn)?;
    let start = segment.nearest(lsn).unwrap_or(SEGMENT_HEADER as u32);
    let mut bytes = vec![0; segment.map().written() - start as usize];
    segment.read_waiting(u64::from(start), &mut bytes)?;
    search(segment, &bytes, start, lsn, number)
}

fn holder(table: &SegmentTable, lsn: Lsn) -> Result<&Arc<Segment>> {
    // Was: a table from just before cleaning put another segment in its place told of none, as that one was retired since; it holds the entry still.
    table.of_lsn(lsn).or_else(|| table.retired_of_lsn(lsn)).ok_or_else(|| StorageError::Corrupt {
        path: "the log".into(),
        offset: 0,
        lsn,
        reason: "a delta points back to an entry that no segment holds".to_owned(),
    })
}

fn search(segment: &Segment, bytes: &[u8], start: u32, lsn: Lsn, number: u32) -> Result<Location> {
    let missing = || StorageError::Corrupt {
        path: segment.file().path().to_owned(),
        offset: u64::from(start),
        lsn,
        reason: "a delta points back to an entry that is not there".to_owned(),
    };
    let mut at = 0;
    while let Some(frame) = bytes.get(at..).filter(|rest| rest.len() > FRAME_START) {
        let len = FrameStart::parse(frame).map_err(|_| missing())?.len as usize;
        if let Ok(header) = EntryHeader::parse(frame)
            && header.head.lsn == lsn
        {
            let distance = op_distance(frame, header.header_len as usize, number).ok_or_else(missing)?;
            return Ok(Location::new(segment.id(), start + (at + distance) as u32));
        }
        at += len;
    }
    Err(missing())
}

fn op_distance(entry: &[u8], first: usize, number: u32) -> Option<usize> {
    let mut at = first;
    loop {
        // Cleaning may have taken ops out of the entry: those that are left say their number.
        let header = OpHeader::parse(entry.get(at..)?).ok()?;
        if header.op_number() >= number {
            return (header.op_number() == number).then_some(at);
        }
        at += usize::try_from(header.op_len()).ok()?;
    }
}
