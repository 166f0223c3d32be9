//! Reading the frames of a sealed segment piece by piece: through the file and not the mapping, so that a medium that fails gives an error
//! and not a signal, and so that a cold segment takes no more memory than a piece.

use crate::codec::DecodeError;
use crate::codec::entry::EntryView;
use crate::codec::frame::{FRAME_START, FrameKind, FrameStart};
use crate::error::{Result, StorageError};
use crate::log::Segment;
use crate::segment::SEGMENT_HEADER;
use crate::types::Lsn;

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// Walks over the entries of a segment.
pub(super) struct Frames<'s> {
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
    pub(super) fn new(segment: &'s Segment) -> Self {
        Self { segment, end: segment.map().written(), at: SEGMENT_HEADER, start: SEGMENT_HEADER, piece: Vec::new(), last: Lsn(0) }
    }

    /// The offset of the next entry and the entry, every byte of it checked; none behind the last.
    pub(super) fn next(&mut self) -> Result<Option<(u32, EntryView<'_>)>> {
        loop {
            if self.end - self.at < FRAME_START {
                return Ok(None);
            }
            self.fill(FRAME_START)?;
            let start = FrameStart::parse(self.rest()).map_err(|error| self.corrupt(&error))?;
            match start.kind {
                FrameKind::Entry => break,
                FrameKind::Footer => return Ok(None),
                FrameKind::FlushMark => self.at += start.len as usize,
                FrameKind::PackedEntries => return Err(self.corrupt(&DecodeError::PackedEntries)),
            }
        }
        let len = FrameStart::parse(self.rest()).map_err(|error| self.corrupt(&error))?.len as usize;
        if len > self.end - self.at {
            return Err(self.corrupt(&DecodeError::CutOff));
        }
        self.fill(len)?;
        let offset = self.at;
        let entry = EntryView::parse(&self.piece[offset - self.start..], self.segment.seed()).map_err(|error| self.corrupt(&error))?;
        self.at += len;
        self.last = entry.head().lsn;
        // Segments are below 1 GiB.
        Ok(Some((offset as u32, entry)))
    }

    fn rest(&self) -> &[u8] {
        &self.piece[self.at - self.start..]
    }

    /// Makes the next `len` bytes present.
    fn fill(&mut self, len: usize) -> Result<()> {
        if self.at - self.start + len <= self.piece.len() {
            return Ok(());
        }
        let want = len.max(PIECE).min(self.end - self.at);
        self.piece.resize(want, 0);
        self.start = self.at;
        let file = self.segment.file();
        file.read_at(self.at as u64, &mut self.piece).map_err(StorageError::io("read", file.path()))
    }

    fn corrupt(&self, error: &DecodeError) -> StorageError {
        let path = self.segment.file().path().to_owned();
        StorageError::Corrupt { path, offset: self.at as u64, lsn: self.last.next(), reason: error.to_string() }
    }
}
