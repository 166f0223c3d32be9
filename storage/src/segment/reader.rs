//! Walks the frames of a segment and says exactly where and why it stops.

use std::path::Path;

use thiserror::Error;

use super::{FooterView, SEGMENT_HEADER};
use crate::codec::DecodeError;
use crate::codec::checksum::ShardSeed;
use crate::codec::entry::{EntryHeader, EntryView};
use crate::codec::flush_mark::FlushMark;
use crate::codec::frame::{FRAME_START, FrameKind, FrameStart};
use crate::error::StorageError;
use crate::types::{EpochNumber, Lsn};

/// What is demanded of the LSNs of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// Each LSN is the previous plus one, and epochs do not go back: active segments, and sealed ones not yet cleaned.
    Every,
    /// LSNs rise and epochs do not go back: cleaned segments.
    Rising,
    /// Nothing: backfill and derived segments.
    Any,
}

/// A frame that passed its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An entry.
    Entry(EntryView<'a>),
    /// A flush mark.
    FlushMark(FlushMark),
    /// The footer, always the last.
    Footer(FooterView<'a>),
}

/// Why a frame does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadFrameReason {
    /// Its bytes do not pass.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It is sound, but belongs elsewhere.
    #[error("LSN {found} where {expected} belongs")]
    Lsn {
        /// The LSN, or the lowest one, that could be there.
        expected: Lsn,
        /// The one that is.
        found: Lsn,
    },
    /// It is sound, but of an earlier epoch than the entry before it.
    #[error("epoch {found} after epoch {previous}")]
    Epoch {
        /// Of the entry before.
        previous: EpochNumber,
        /// Of this one.
        found: EpochNumber,
    },
    /// Bytes follow the footer.
    #[error("bytes after the footer")]
    AfterFooter,
}

/// A frame that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("bad frame at offset {offset}, LSN {lsn}: {reason}")]
pub struct BadFrame {
    /// Where in the segment.
    pub offset: u64,
    /// The LSN expected there.
    pub lsn: Lsn,
    /// Why.
    pub reason: BadFrameReason,
}

impl BadFrame {
    /// Whether the bytes are sound and only too new: never to be cut as a torn tail.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.reason, BadFrameReason::Decode(error) if error.is_unsupported())
    }

    /// The error of a segment that must be sound.
    #[must_use]
    pub fn in_file(&self, path: &Path) -> StorageError {
        let (path, offset, lsn, reason) = (path.to_owned(), self.offset, self.lsn, self.reason.to_string());
        if self.is_unsupported() {
            StorageError::Unsupported { path, offset, lsn, reason }
        } else {
            StorageError::Corrupt { path, offset, lsn, reason }
        }
    }
}

/// How the frames of a segment end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a zero length: what follows should be zero too, see [`last_nonzero`].
    Zero,
    /// With the bytes, as an active segment that was cut to its written end does.
    Bytes,
    /// With a footer.
    Footer,
}

/// Iterates over the frames of a segment. Ends after the first bad one.
#[derive(Debug, Clone)]
pub struct SegmentReader<'a> {
    bytes: &'a [u8],
    at: usize,
    seed: ShardSeed,
    continuity: Continuity,
    previous_lsn: Lsn,
    epoch: EpochNumber,
    end: Option<End>,
    stopped: bool,
}

impl<'a> SegmentReader<'a> {
    /// Reads from the first frame. `bytes` is the segment from its header on; `base` and `epoch` are what the header says.
    #[must_use]
    pub fn new(bytes: &'a [u8], seed: ShardSeed, continuity: Continuity, base: Lsn, epoch: EpochNumber) -> Self {
        Self::resume(bytes, seed, continuity, SEGMENT_HEADER, Lsn(base.0.saturating_sub(1)), epoch)
    }

    /// Reads from the frame at offset `at`, which follows the entry `previous_lsn` of `epoch`.
    #[must_use]
    pub fn resume(bytes: &'a [u8], seed: ShardSeed, continuity: Continuity, at: usize, previous_lsn: Lsn, epoch: EpochNumber) -> Self {
        Self { bytes, at, seed, continuity, previous_lsn, epoch, end: None, stopped: false }
    }

    /// Offset of the next frame: after the last one, the written end.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// LSN of the last entry that counted.
    #[must_use]
    pub fn last_lsn(&self) -> Lsn {
        self.previous_lsn
    }

    /// Epoch of the last entry that counted.
    #[must_use]
    pub fn last_epoch(&self) -> EpochNumber {
        self.epoch
    }

    /// How the frames ended; `None` while there are more, and after a bad one.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    fn stop(&mut self, end: End) {
        self.end = Some(end);
        self.stopped = true;
    }

    fn read(&mut self) -> Result<Option<Frame<'a>>, BadFrameReason> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            self.stop(End::Bytes);
            return Ok(None);
        }
        if rest.iter().take(FRAME_START).all(|byte| *byte == 0) {
            self.stop(End::Zero);
            return Ok(None);
        }
        let start = FrameStart::parse(rest)?;
        let frame = match start.kind {
            FrameKind::Entry => Frame::Entry(self.entry(rest)?),
            FrameKind::FlushMark => Frame::FlushMark(FlushMark::parse(rest, self.seed)?),
            FrameKind::Footer => Frame::Footer(self.footer(rest, start.len as usize)?),
            FrameKind::PackedEntries => return Err(DecodeError::PackedEntries.into()),
        };
        self.at += start.len as usize;
        Ok(Some(frame))
    }

    fn entry(&mut self, rest: &'a [u8]) -> Result<EntryView<'a>, BadFrameReason> {
        let entry = EntryView::parse(rest, self.seed)?;
        let head = entry.head();
        let (expected, found) = (Lsn(self.previous_lsn.0.saturating_add(1)), head.lsn);
        let follows = match self.continuity {
            Continuity::Every => found == expected,
            Continuity::Rising => found >= expected,
            Continuity::Any => true,
        };
        if !follows {
            return Err(BadFrameReason::Lsn { expected, found });
        }
        if self.continuity != Continuity::Any && head.epoch < self.epoch {
            return Err(BadFrameReason::Epoch { previous: self.epoch, found: head.epoch });
        }
        self.previous_lsn = found;
        self.epoch = head.epoch;
        Ok(entry)
    }

    fn footer(&mut self, rest: &'a [u8], len: usize) -> Result<FooterView<'a>, BadFrameReason> {
        let footer = FooterView::parse(rest, self.at as u64, self.seed)?;
        if rest.len() > len {
            return Err(BadFrameReason::AfterFooter);
        }
        self.stop(End::Footer);
        Ok(footer)
    }
}

impl<'a> Iterator for SegmentReader<'a> {
    /// The offset of a frame and the frame.
    type Item = Result<(u32, Frame<'a>), BadFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stopped {
            return None;
        }
        let offset = self.at;
        match self.read() {
            // Segments are below 1 GiB: offsets fit.
            Ok(frame) => frame.map(|frame| Ok((offset as u32, frame))),
            Err(reason) => {
                self.stopped = true;
                let lsn = Lsn(self.previous_lsn.0.saturating_add(1));
                Some(Err(BadFrame { offset: offset as u64, lsn, reason }))
            }
        }
    }
}

/// The LSN that the frame at the front of `bytes` claims, if it looks like an entry at all. For messages.
#[must_use]
pub fn claimed_lsn(bytes: &[u8]) -> Option<Lsn> {
    EntryHeader::parse(bytes).ok().map(|header| header.head.lsn)
}

/// Index of the last byte of `bytes` that is not zero.
#[must_use]
pub fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    const STEP: usize = 4096;
    let zeros = bytes.rchunks(STEP).take_while(|chunk| is_zero(chunk)).map(<[u8]>::len).sum::<usize>();
    bytes[..bytes.len() - zeros].iter().rposition(|byte| *byte != 0)
}

/// Folds without an early exit, which lets the compiler use wide registers.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}
