//! The header of a segment file.
//!
//! ```text
//! 0       8         10     11      12      16        32         40           44           48      52       60
//! ┌───────┬─────────┬──────┬───────┬───────┬─────────┬──────────┬────────────┬────────────┬───────┬────────┬─────
//! │ magic │ version │ kind │ flags │ shard │ history │ base LSN │ generation │ segment id │ epoch │ writer │ …
//! └───────┴─────────┴──────┴───────┴───────┴─────────┴──────────┴────────────┴────────────┴───────┴────────┴─────
//!    60        68      76     84         100    124   128
//!  ┌─────────┬───────┬──────┬──────────┬──────┬─────┐
//!  │ created │ stamp │ size │ value id │ zero │ CRC │
//!  └─────────┴───────┴──────┴──────────┴──────┴─────┘
//! ```

use super::Continuity;
use crate::codec::checksum::{ShardSeed, crc};
use crate::codec::{DecodeError, Input, Output, set_u32};
use crate::types::{EpochNumber, Generation, HistoryId, Location, Lsn, SegmentId, ShardId, UnixMillis, WriterId};

/// Bytes of a segment header.
pub const SEGMENT_HEADER: usize = 128;
/// The format version that this program writes.
pub const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"ESKERSEG";
const RESERVED: usize = 24;
const CRC_OFFSET: usize = SEGMENT_HEADER - 4;
const _: () = assert!(8 + 2 + 1 + 1 + 4 + 16 + 8 + 4 + 4 + 4 + 8 + 8 + 8 + 8 + 16 + RESERVED == CRC_OFFSET);

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// The shard's replicated log.
    Log,
    /// The node's own log, not replicated.
    Node,
    /// Results derived from entries.
    Derived,
    /// Records that arrived late.
    Backfill,
    /// One large value.
    Value,
}

/// Flag of a segment from which cleaning dropped records.
const CLEANED: u8 = 1 << 0;

impl SegmentKind {
    /// The byte that stands for this kind.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Log => 1,
            Self::Node => 2,
            Self::Derived => 3,
            Self::Backfill => 4,
            Self::Value => 5,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::Log),
            2 => Ok(Self::Node),
            3 => Ok(Self::Derived),
            4 => Ok(Self::Backfill),
            5 => Ok(Self::Value),
            _ => Err(DecodeError::Field("segment kind")),
        }
    }
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// What it holds.
    pub kind: SegmentKind,
    /// Whether records were dropped from it: its LSNs may have gaps.
    pub cleaned: bool,
    /// The shard.
    pub shard: ShardId,
    /// The history it was written under.
    pub history: HistoryId,
    /// LSN of the first entry.
    pub base_lsn: Lsn,
    /// Generation, part of the file name.
    pub generation: Generation,
    /// The number that locations use.
    pub segment_id: SegmentId,
    /// Epoch in force at the base LSN.
    pub epoch: EpochNumber,
    /// Writer of that epoch.
    pub writer: WriterId,
    /// When the file was made.
    pub created: UnixMillis,
    /// Place in the eviction order.
    pub stamp: u64,
    /// Bytes allocated.
    pub size: u64,
    /// Id of the value, 0 in all but value segments.
    pub value_id: u128,
}

impl SegmentHeader {
    /// What its LSNs must be like.
    #[must_use]
    pub fn continuity(&self) -> Continuity {
        if self.cleaned { Continuity::Rising } else { Continuity::Every }
    }

    /// The seed of this segment's checksums.
    #[must_use]
    pub fn seed(&self) -> ShardSeed {
        ShardSeed::new(self.history, self.shard)
    }

    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        let mut output = Output::new(&mut bytes);
        output.put(&MAGIC);
        output.put(&FORMAT_VERSION.to_le_bytes());
        output.put(&[self.kind.to_byte(), if self.cleaned { CLEANED } else { 0 }]);
        output.put(&self.shard.0.to_le_bytes());
        output.put(&self.history.0.to_le_bytes());
        output.put(&self.base_lsn.0.to_le_bytes());
        output.put(&self.generation.0.to_le_bytes());
        output.put(&self.segment_id.0.to_le_bytes());
        output.put(&self.epoch.0.to_le_bytes());
        output.put(&self.writer.0.to_le_bytes());
        output.put(&self.created.0.to_le_bytes());
        output.put(&self.stamp.to_le_bytes());
        output.put(&self.size.to_le_bytes());
        output.put(&self.value_id.to_le_bytes());
        debug_assert_eq!(output.at(), CRC_OFFSET - RESERVED);
        let crc = crc(0, &bytes[..CRC_OFFSET]);
        set_u32(&mut bytes, CRC_OFFSET, crc);
        bytes
    }

    /// Checks and decodes the header at the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = bytes.get(..SEGMENT_HEADER).ok_or(DecodeError::CutOff)?;
        let mut input = Input::new(bytes);
        if input.take(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let version = input.u16()?;
        if version > FORMAT_VERSION {
            return Err(DecodeError::FutureVersion(version));
        }
        if Input::new(&bytes[CRC_OFFSET..]).u32()? != crc(0, &bytes[..CRC_OFFSET]) {
            return Err(DecodeError::Checksum);
        }
        if version == 0 {
            return Err(DecodeError::Field("version"));
        }
        Self::decode_fields(input)
    }

    fn decode_fields(mut input: Input<'_>) -> Result<Self, DecodeError> {
        let (kind, flags) = (SegmentKind::from_byte(input.u8()?)?, input.u8()?);
        let header = Self {
            kind,
            cleaned: flags & CLEANED != 0,
            shard: ShardId(input.u32()?),
            history: HistoryId(input.u128()?),
            base_lsn: Lsn(input.u64()?),
            generation: Generation(input.u32()?),
            segment_id: SegmentId(input.u32()?),
            epoch: EpochNumber(input.u32()?),
            writer: WriterId(input.u64()?),
            created: UnixMillis(input.i64()?),
            stamp: input.u64()?,
            size: input.u64()?,
            value_id: input.u128()?,
        };
        if flags & !CLEANED != 0 || input.take(RESERVED)?.iter().any(|byte| *byte != 0) {
            return Err(DecodeError::Field("reserved bytes"));
        }
        if header.segment_id.0 >= 1 << Location::SEGMENT_BITS {
            return Err(DecodeError::Field("segment id"));
        }
        Ok(header)
    }
}
