//! Reading the log in order, entry by entry.

use std::ops::ControlFlow;
use std::thread::sleep;
use std::time::Duration;

use esker_storage::codec::entry::EntryView;
use esker_storage::codec::op::OpView;
use esker_storage::segment::{BadFrame, Footer, Frame, SegmentReader};
use esker_storage::slot;
use esker_storage::types::{EpochNumber, Lsn, Slot};

use super::LogError;
use super::directory::{DataDirectory, Listing, Segment, SegmentFile};
use esker_storage::history::Tables;

/// How long a server may take to finish the entry that it is writing.
const PATIENCE: Duration = Duration::from_millis(20);
/// How often we look again.
const ATTEMPTS: u32 = 5;

/// One op where it lies in the log.
pub(super) struct Record<'a> {
    /// The segment.
    pub(super) segment: &'a SegmentFile,
    /// Offset of the op in the segment.
    pub(super) offset: u32,
    /// Its entry.
    pub(super) entry: &'a EntryView<'a>,
    /// Its number there.
    pub(super) number: u32,
    /// The op.
    pub(super) op: OpView<'a>,
    /// The tables as they are after the op.
    pub(super) tables: &'a Tables,
}

impl Record<'_> {
    /// The slot of the op's key.
    pub(super) fn slot(&self) -> Option<Slot> {
        self.op.header.code.has_key().then(|| slot::slot_of(self.op.key))
    }
}

/// A place between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Offset of the next frame.
    pub(super) offset: usize,
    /// LSN of the entry before it.
    pub(super) lsn: Lsn,
    /// Epoch of the entry before it.
    pub(super) epoch: EpochNumber,
}

/// How reading a segment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentEnd {
    /// After the last frame that passed.
    pub(super) position: Position,
    /// The footer, if there is one.
    pub(super) footer: Option<Footer>,
    /// What did not pass, if anything.
    pub(super) bad: Option<BadFrame>,
}

/// A segment that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadSegment {
    pub(super) file: SegmentFile,
    pub(super) end: SegmentEnd,
}

/// What a visitor of frames says.
pub(super) type Flow = Result<ControlFlow<()>, LogError>;

/// Reads a segment from `position` on. What a running server has not finished writing is waited for.
pub(super) fn read_segment(
    segment: &mut Segment,
    mut position: Position,
    visit: &mut dyn FnMut(&SegmentFile, u32, &Frame<'_>) -> Flow,
) -> Result<SegmentEnd, LogError> {
    for attempt in 0.. {
        let end = read_once(segment, position, visit)?;
        if end.bad.is_none() || !segment.file.is_active() || attempt == ATTEMPTS {
            return Ok(end);
        }
        position = end.position;
        sleep(PATIENCE);
        segment.reload()?;
    }
    unreachable!("the loop returns at the last attempt")
}

fn read_once(
    segment: &Segment,
    start: Position,
    visit: &mut dyn FnMut(&SegmentFile, u32, &Frame<'_>) -> Flow,
) -> Result<SegmentEnd, LogError> {
    let mut end = SegmentEnd { position: start, footer: None, bad: None };
    let (seed, continuity) = (segment.header.seed(), segment.continuity());
    let mut reader = SegmentReader::resume(&segment.bytes, seed, continuity, start.offset, start.lsn, start.epoch);
    while let Some(frame) = reader.next() {
        let (offset, frame) = match frame {
            Ok(found) => found,
            Err(bad) => {
                end.bad = Some(bad);
                break;
            }
        };
        end.position = Position { offset: reader.offset(), lsn: reader.last_lsn(), epoch: reader.last_epoch() };
        let flow = visit(&segment.file, offset, &frame)?;
        if let Frame::Footer(footer) = frame {
            end.footer = Some(footer.to_footer());
        }
        if flow.is_break() {
            break;
        }
    }
    Ok(end)
}

/// Visits every op of the log from `from` on, in order. Damage before the end is an error; a torn end is not.
pub(super) fn each_op(directory: &DataDirectory, from: Lsn, visit: &mut dyn FnMut(&Record<'_>) -> Flow) -> Result<(), LogError> {
    let listing = directory.listing()?;
    each_op_of(directory, &listing, from, visit).map(drop)
}

/// The same over a listing made before.
pub(super) fn each_op_of(
    directory: &DataDirectory,
    listing: &Listing,
    from: Lsn,
    visit: &mut dyn FnMut(&Record<'_>) -> Flow,
) -> Result<Vec<ReadSegment>, LogError> {
    let mut read = Vec::new();
    let mut tables = Tables::of(&listing.manifest);
    let mut stopped = false;
    for file in from_segment_of(listing, from) {
        let mut segment = directory.load(file)?;
        let start = segment.start();
        let end = read_segment(&mut segment, start, &mut |file, offset, frame| {
            let Frame::Entry(entry) = frame else { return Ok(ControlFlow::Continue(())) };
            let flow = visit_entry(file, offset, entry, &mut tables, from, visit)?;
            stopped |= flow.is_break();
            Ok(flow)
        })?;
        if stopped {
            break;
        }
        if let Some(bad) = end.bad.filter(|_| !segment.file.is_active()) {
            return Err(bad.in_file(&segment.file.path).into());
        }
        read.push(ReadSegment { file: segment.file, end });
    }
    Ok(read)
}

/// The log without what ends before `from`. What is needed to know the databases' tables stays.
fn from_segment_of(listing: &Listing, from: Lsn) -> impl Iterator<Item = &SegmentFile> {
    let needed = from.min(listing.manifest.tables.lsn.next());
    let skipped = listing.log().skip(1).take_while(|next| next.base <= needed).count();
    listing.log().skip(skipped)
}

/// Visits the ops of an entry, if its LSN is `from` or above.
pub(super) fn visit_entry(
    segment: &SegmentFile,
    offset: u32,
    entry: &EntryView<'_>,
    tables: &mut Tables,
    from: Lsn,
    visit: &mut dyn FnMut(&Record<'_>) -> Flow,
) -> Flow {
    let lsn = entry.head().lsn;
    for (distance, op) in entry.ops() {
        tables.apply(lsn, &op);
        if lsn < from {
            continue;
        }
        let record = Record { segment, offset: offset + distance, entry, number: op.header.op_number(), op, tables };
        if visit(&record)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
