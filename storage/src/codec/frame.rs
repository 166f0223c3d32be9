//! The start that all frames of a segment share.
//!
//! ```text
//! 0         4         8      9       10
//! ┌─────────┬─────────┬──────┬───────┐
//! │ CRC     │ length  │ kind │ flags │ …
//! └─────────┴─────────┴──────┴───────┘
//! ```

use super::{DecodeError, Input};

/// Bytes of a frame's start.
pub const FRAME_START: usize = 10;
/// Offset of the length, and of the first byte that a frame's CRC covers.
pub const LENGTH_OFFSET: usize = 4;
/// Bytes before the op of an entry without `MULTI`: the frame's start, epoch, LSN and time.
pub const SINGLE_HEADER: usize = FRAME_START + 4 + 8 + 6;
const _: () = assert!(SINGLE_HEADER == 28);

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// One entry.
    Entry,
    /// A node's note that everything up to an LSN is on the medium.
    FlushMark,
    /// The last frame of a sealed segment.
    Footer,
    /// Entries that share a header; reserved for cleaned segments.
    PackedEntries,
}

impl FrameKind {
    /// The byte that stands for this kind.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Entry => 1,
            Self::FlushMark => 2,
            Self::Footer => 3,
            Self::PackedEntries => 4,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::Entry),
            2 => Ok(Self::FlushMark),
            3 => Ok(Self::Footer),
            4 => Ok(Self::PackedEntries),
            other => Err(DecodeError::FrameKind(other)),
        }
    }
}

/// The ten bytes, decoded. Nothing in it is checked but the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameStart {
    /// The frame's CRC.
    pub crc: u32,
    /// Bytes of the frame, these ten included; 0 is the written end.
    pub len: u32,
    /// The kind.
    pub kind: FrameKind,
    /// Flags of that kind.
    pub flags: u8,
}

impl FrameStart {
    /// Decodes the start of a frame.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let (crc, len) = (input.u32()?, input.u32()?);
        let (kind, flags) = (FrameKind::from_byte(input.u8()?)?, input.u8()?);
        if (len as usize) < FRAME_START {
            return Err(DecodeError::Length);
        }
        Ok(Self { crc, len, kind, flags })
    }

    /// The start with its CRC still to be filled in.
    #[inline]
    #[must_use]
    pub(crate) fn encode(kind: FrameKind, flags: u8, len: u32) -> [u8; FRAME_START] {
        let [a, b, c, d] = len.to_le_bytes();
        [0, 0, 0, 0, a, b, c, d, kind.to_byte(), flags]
    }
}
