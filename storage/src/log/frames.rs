//! Reading the frames of a sealed segment piece by piece: through the file and not the mapping, so that a medium that fails gives an error
//! and not a signal, and so that a cold segment takes no more memory than a piece.

use std::path::Path;

use super::Segment;
use crate::codec::DecodeError;
use crate::codec::entry::EntryView;
use crate::codec::frame::{FRAME_START, FrameKind, FrameStart};
use crate::error::{Result, StorageError};
use crate::segment::SEGMENT_HEADER;
use crate::types::Lsn;

/// Bytes read at a time: little enough that they are still in the processor's cache when they are checked and copied.
const PIECE: usize = 256 << 10;

/// Walks over the entries of a segment.
pub(crate) struct Frames<'s> {
    segment: &'s Segment,
    /// End of the bytes that may be read.
    end: usize,
    /// Offset of the next frame.
    at: usize,
    /// Offset of the first byte of `piece`.
    start: usize,
    piece: Vec<u8>,
    last: Lsn,
}

impl<'s> Frames<'s> {
    pub(crate) fn new(segment: &'s Segment) -> Self {
        Self { segment, end: segment.map().written(), at: SEGMENT_HEADER, start: SEGMENT_HEADER, piece: Vec::new(), last: Lsn(0) }
    }

    /// Goes on at a frame behind those that were read before.
    pub(crate) fn resume(segment: &'s Segment, at: usize) -> Self {
        Self { at, start: at, ..Self::new(segment) }
    }

    /// Where the next frame begins.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// The next entries, each with its offset, every byte of them checked: at most so many, and what lies in one piece. Empty behind the last.
    pub(crate) fn window(&mut self, most: usize) -> Result<Vec<(u32, EntryView<'_>)>> {
        let mut found = Vec::new();
        if !self.find_entry()? {
            return Ok(found);
        }
        let Self { segment, at, start, piece, last, .. } = self;
        let (path, piece) = (segment.file().path(), piece.as_slice());
        found.reserve(most);
        while found.len() < most {
            let rest = &piece[*at - *start..];
            let Some(frame) = whole_frame(rest).map_err(|error| corrupt(path, *at, *last, &error))? else { break };
            if frame.kind == FrameKind::Entry {
                let entry = EntryView::parse(rest, segment.seed()).map_err(|error| corrupt(path, *at, *last, &error))?;
                *last = entry.head().lsn;
                // Segments are below 1 GiB.
                found.push((*at as u32, entry));
            } else if frame.kind != FrameKind::FlushMark {
                break;
            }
            *at += frame.len as usize;
        }
        Ok(found)
    }

    /// Goes on to the next entry and has the whole of it in the piece; false if there is none.
    fn find_entry(&mut self) -> Result<bool> {
        loop {
            if self.end - self.at < FRAME_START {
                return Ok(false);
            }
            self.fill(FRAME_START)?;
            let frame = FrameStart::parse(&self.piece[self.at - self.start..]).map_err(|error| self.corrupt(&error))?;
            let len = frame.len as usize;
            match frame.kind {
                FrameKind::Entry if len > self.end - self.at => return Err(self.corrupt(&DecodeError::CutOff)),
                FrameKind::Entry => return self.fill(len).map(|()| true),
                FrameKind::Footer => return Ok(false),
                FrameKind::FlushMark => self.at += len,
                FrameKind::PackedEntries => return Err(self.corrupt(&DecodeError::PackedEntries)),
            }
        }
    }

    /// Makes the next `len` bytes present.
    fn fill(&mut self, len: usize) -> Result<()> {
        if self.at - self.start + len <= self.piece.len() {
            return Ok(());
        }
        let want = len.max(PIECE).min(self.end - self.at);
        self.piece.resize(want, 0);
        self.start = self.at;
        self.segment.read_waiting(self.at as u64, &mut self.piece)
    }

    fn corrupt(&self, error: &DecodeError) -> StorageError {
        corrupt(self.segment.file().path(), self.at, self.last, error)
    }
}

/// The start of the frame at the front of `bytes`, if they hold all of it.
fn whole_frame(bytes: &[u8]) -> std::result::Result<Option<FrameStart>, DecodeError> {
    if bytes.len() < FRAME_START {
        return Ok(None);
    }
    FrameStart::parse(bytes).map(|frame| Some(frame).filter(|frame| frame.len as usize <= bytes.len()))
}

fn corrupt(path: &Path, at: usize, last: Lsn, error: &DecodeError) -> StorageError {
    StorageError::Corrupt { path: path.to_owned(), offset: at as u64, lsn: last.next(), reason: error.to_string() }
}
