//! Reading the log front to back, as its own bytes: what replicas are sent.
//!
//! Invariants:
//! - A piece is whole frames, of one segment, whose entries follow those of the piece before without a gap.
//! - Large values are known before the entry that names them is given.
//! - A reader pins the segment that it is in: cleaning may replace it, its bytes stay until the reader has gone on.

use std::sync::Arc;

use super::{Log, Segment};
use crate::codec::entry::{EntryHeader, EntryView};
use crate::codec::frame::{FRAME_START, FrameKind, FrameStart, SINGLE_HEADER};
use crate::codec::value_ref::ValueRef;
use crate::codec::{DecodeError, Input};
use crate::error::{Result, StorageError};
use crate::segment::SEGMENT_HEADER;
use crate::types::Lsn;

/// A place in the log.
pub struct LogReader {
    /// Where it reads, and the offset of the next frame there.
    at: Option<(Arc<Segment>, usize)>,
    next: Lsn,
}

/// Entries of the log.
pub struct LogPiece {
    segment: Arc<Segment>,
    start: usize,
    end: usize,
    /// The LSN of the first entry.
    pub first: Lsn,
    /// The LSN of the last entry.
    pub last: Lsn,
}

impl LogPiece {
    /// The frames. They come from a mapping: reading them may wait for the medium.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let all = self.segment.bytes(self.start as u32).unwrap_or_default();
        &all[..(self.end - self.start).min(all.len())]
    }
}

/// What comes next in the log.
pub enum NextInLog {
    /// Entries.
    Piece(LogPiece),
    /// An entry that names these value segments.
    Values(Vec<u128>),
}

impl LogReader {
    /// Reads from the entry `from` on.
    #[must_use]
    pub fn new(from: Lsn) -> Self {
        Self { at: None, next: from }
    }

    /// The LSN of the next entry.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.next
    }

    /// The next entries, of about `most` bytes at most, if there are any; an entry is given whole. One that names value segments is given
    /// alone, and only if `with_values`; before, which ones.
    ///
    /// # Errors
    /// [`StorageError::NotInLog`]: the next entry was dropped by cleaning. I/O errors; corruption.
    pub fn read(&mut self, log: &Log, most: usize, with_values: bool) -> Result<Option<NextInLog>> {
        if self.next > log.durability().written() {
            return Ok(None);
        }
        loop {
            let (segment, offset) = match self.at.take() {
                Some(at) => at,
                None => self.find(log)?,
            };
            // Asked first: what is appended until it is sealed is there then.
            let was_sealed = segment.is_sealed();
            let piece = self.piece(&segment, offset, most, with_values)?;
            let end = if let Some(NextInLog::Piece(piece)) = &piece { piece.end } else { offset };
            let is_over = segment.last_lsn() < self.next && (segment.is_sealed() || log.segments().of_lsn(self.next).is_some());
            if !is_over {
                self.at = Some((segment, end));
            }
            match piece {
                Some(piece) => return Ok(Some(piece)),
                // The next one has begun, or what was written is being published.
                None if is_over => {}
                // Of a cleaned segment that stands for more than it holds.
                None if was_sealed => {
                    self.at = None;
                    return Err(StorageError::NotInLog { lsn: self.next });
                }
                None => return Ok(None),
            }
        }
    }

    /// The segment that holds the next entry, and an offset at or before it.
    fn find(&self, log: &Log) -> Result<(Arc<Segment>, usize)> {
        let segment = log.segments().of_lsn(self.next).cloned().ok_or(StorageError::NotInLog { lsn: self.next })?;
        let offset = segment.nearest(self.next).map_or(SEGMENT_HEADER, |offset| offset as usize);
        Ok((segment, offset))
    }

    fn piece(&mut self, segment: &Arc<Segment>, offset: usize, most: usize, with_values: bool) -> Result<Option<NextInLog>> {
        let bytes = segment.bytes(0).unwrap_or_default();
        let wanted = self.next;
        let corrupt = |at: usize, error: DecodeError| StorageError::Corrupt {
            path: segment.file().path().to_owned(),
            offset: at as u64,
            lsn: wanted,
            reason: error.to_string(),
        };
        let looks_for_values = segment.names_values();
        let (mut at, mut piece) = (offset, None::<LogPiece>);
        while bytes.len() >= at + FRAME_START {
            let frame = FrameStart::parse(&bytes[at..]).map_err(|error| corrupt(at, error))?;
            let end = at + frame.len as usize;
            match frame.kind {
                FrameKind::FlushMark => {}
                FrameKind::Entry if end <= bytes.len() => {
                    let lsn = lsn_of(&bytes[at..]).map_err(|error| corrupt(at, error))?;
                    if piece.as_ref().is_some_and(|piece| end - piece.start > most) {
                        break;
                    }
                    if lsn > self.next {
                        // Of a cleaned segment.
                        let gap = StorageError::NotInLog { lsn: self.next };
                        return piece.map_or(Err(gap), |piece| Ok(Some(NextInLog::Piece(piece))));
                    }
                    if lsn == self.next {
                        let values =
                            if looks_for_values { values_of(&bytes[at..]).map_err(|error| corrupt(at, error))? } else { Vec::new() };
                        if !values.is_empty() && piece.is_some() {
                            break;
                        }
                        if !values.is_empty() && !with_values {
                            return Ok(Some(NextInLog::Values(values)));
                        }
                        let piece =
                            piece.get_or_insert_with(|| LogPiece { segment: Arc::clone(segment), start: at, end, first: lsn, last: lsn });
                        (piece.end, piece.last) = (end, lsn);
                        self.next = lsn.next();
                        if !values.is_empty() {
                            break;
                        }
                    }
                }
                _ => break,
            }
            at = end;
        }
        Ok(piece.map(NextInLog::Piece))
    }
}

/// The value segments that an entry names.
fn values_of(entry: &[u8]) -> std::result::Result<Vec<u128>, DecodeError> {
    let entry = EntryView::trusted(entry)?;
    let references = entry.ops().filter(|(_, op)| op.header.value_segment);
    references.map(|(_, op)| ValueRef::decode(op.body).map(|reference| reference.value_id)).collect()
}

fn lsn_of(entry: &[u8]) -> std::result::Result<Lsn, DecodeError> {
    let mut input = Input::new(entry.get(FRAME_START..SINGLE_HEADER).ok_or(DecodeError::CutOff)?);
    input.take(4)?;
    let lsn = Lsn(input.u64()?);
    debug_assert_eq!(EntryHeader::parse(entry).map(|header| header.head.lsn), Ok(lsn));
    Ok(lsn)
}
