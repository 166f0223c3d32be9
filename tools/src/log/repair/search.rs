//! Finding the next sound frame behind damage.

use esker_storage::codec::DecodeError;
use esker_storage::codec::entry::{EntryHeader, EntryView};
use esker_storage::codec::flush_mark::FlushMark;
use esker_storage::codec::frame::{FRAME_START, FrameKind, FrameStart};
use esker_storage::segment::{Footer, SegmentHeader};
use esker_storage::types::{EpochNumber, Lsn, NodeId};

/// Bytes of the shortest entry: a removal of the empty key.
pub(super) const SHORTEST_ENTRY: usize = 37;

/// What must be true of what is found.
pub(super) struct Demands<'a> {
    pub(super) header: &'a SegmentHeader,
    /// Last entry before the damage, and its epoch.
    pub(super) lsn: Lsn,
    pub(super) epoch: EpochNumber,
    /// The last LSN that can be in this segment.
    pub(super) last: Lsn,
    /// Whether every LSN has an entry, which takes its bytes.
    pub(super) every: bool,
}

/// A sound frame behind damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) offset: usize,
    /// The LSN that comes next there.
    pub(super) lsn: Lsn,
}

/// Looks for the first sound frame behind the damage that begins at `damage`.
pub(super) fn search(bytes: &[u8], damage: usize, demands: &Demands<'_>) -> Result<Option<Found>, DecodeError> {
    let mut first = None;
    let mut marked = Lsn(0);
    let mut at = damage + 1;
    while at + FRAME_START <= bytes.len() {
        let rest = &bytes[at..];
        match FrameStart::parse(rest) {
            Ok(start) if start.kind == FrameKind::Entry => {
                if let Some(lsn) = demands.entry(rest, at - damage)? {
                    return Ok(Some(Found { offset: first.unwrap_or(at), lsn }));
                }
            }
            Ok(start) if start.kind == FrameKind::FlushMark => {
                if let Ok(mark) = FlushMark::parse(rest, demands.header.seed()) {
                    first = first.or(Some(at));
                    marked = marked.max(mark.flushed);
                }
            }
            Ok(start) if start.kind == FrameKind::Footer => {
                if let Ok(footer) = Footer::parse(rest, at as u64, demands.header.seed()) {
                    return Ok(Some(Found { offset: first.unwrap_or(at), lsn: footer.last.next() }));
                }
            }
            _ => {}
        }
        at += 1;
    }
    // A mark vouches for what is before it.
    Ok(first.map(|offset| Found { offset, lsn: demands.lsn.max(marked).next() }))
}

impl Demands<'_> {
    /// The LSN of the entry at the front of `bytes`, if it is one that can be there, so far behind the start of the damage.
    fn entry(&self, bytes: &[u8], behind: usize) -> Result<Option<Lsn>, DecodeError> {
        let Ok(header) = EntryHeader::parse(bytes) else { return Ok(None) };
        let (lsn, epoch) = (header.head.lsn, header.head.epoch);
        if lsn <= self.lsn || lsn > self.last || epoch < self.epoch {
            return Ok(None);
        }
        let missing = lsn.0 - self.lsn.0 - 1;
        if self.every && missing.saturating_mul(SHORTEST_ENTRY as u64) > behind as u64 {
            return Ok(None);
        }
        match EntryView::parse(bytes, self.header.seed()) {
            Ok(_) => Ok(Some(lsn)),
            Err(error) if error.is_unsupported() => Err(error),
            Err(_) => Ok(None),
        }
    }
}

/// The highest flushed LSN that any sound mark of this node tells, wherever it stands in `bytes`.
pub(super) fn highest_mark(bytes: &[u8], header: &SegmentHeader, node: NodeId) -> Lsn {
    let parse = |at: usize| {
        let rest = &bytes[at..];
        let is_mark = FrameStart::parse(rest).is_ok_and(|start| start.kind == FrameKind::FlushMark);
        if is_mark { FlushMark::parse(rest, header.seed()).ok() } else { None }
    };
    let marks = (0..bytes.len().saturating_sub(FRAME_START)).filter_map(parse);
    marks.filter(|mark| mark.node == node).map(|mark| mark.flushed).max().unwrap_or_default()
}
