//! Files of what was cut from a log, so that nothing is lost silently.

use super::{SEGMENT_HEADER, SegmentHeader};
use crate::codec::checksum::crc;
use crate::codec::{DecodeError, Input};
use crate::types::Lsn;

const MAGIC: [u8; 8] = *b"ESKERTRN";
const VERSION: u16 = 1;
const HEAD: usize = 8 + 2 + 2 + SEGMENT_HEADER + 8 + 8 + 8;

/// The end of an active segment that did not pass its checks, with all that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TornTail<'a> {
    /// The segment it was cut from.
    pub segment: SegmentHeader,
    /// Offset of the first byte there.
    pub offset: u64,
    /// The LSN expected there.
    pub lsn: Lsn,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> TornTail<'a> {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(HEAD + self.bytes.len() + 4);
        file.extend(MAGIC);
        file.extend(VERSION.to_le_bytes());
        file.extend([0, 0]);
        file.extend(self.segment.encode());
        file.extend(self.offset.to_le_bytes());
        file.extend(self.lsn.0.to_le_bytes());
        file.extend((self.bytes.len() as u64).to_le_bytes());
        debug_assert_eq!(file.len(), HEAD);
        file.extend(self.bytes);
        file.extend(crc(0, &file).to_le_bytes());
        file
    }

    /// Checks and decodes a file.
    pub fn decode(file: &'a [u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(file);
        if input.take(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let version = input.u16()?;
        if version > VERSION {
            return Err(DecodeError::FutureVersion(version));
        }
        let (body, checksum) = file.split_last_chunk::<4>().ok_or(DecodeError::CutOff)?;
        if crc(0, body) != u32::from_le_bytes(*checksum) {
            return Err(DecodeError::Checksum);
        }
        if version == 0 || input.u16()? != 0 {
            return Err(DecodeError::Field("version"));
        }
        let segment = SegmentHeader::decode(input.take(SEGMENT_HEADER)?)?;
        let (offset, lsn, len) = (input.u64()?, Lsn(input.u64()?), input.u64()?);
        let bytes = input.rest().split_last_chunk::<4>().ok_or(DecodeError::CutOff)?.0;
        if bytes.len() as u64 != len {
            return Err(DecodeError::Length);
        }
        Ok(Self { segment, offset, lsn, bytes })
    }
}
