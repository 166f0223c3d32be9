//! Ops: what an entry does, each with a CRC of its own so that one can be read alone.
//!
//! ```text
//! 0       4      5       6
//! ┌───────┬──────┬───────┬───────┬─────────┬──────────┬─────────────────┬───────────┬──────────────┬─────┬──────┐
//! │ CRC   │ code │ flags │ table │ key len │ body len │ distance number │ expire at │ content hash │ key │ body │
//! └───────┴──────┴───────┴───────┴─────────┴──────────┴─────────────────┴───────────┴──────────────┴─────┴──────┘
//!                         varints                       only with MULTI   with EXPIRE put and delta
//! ```

use super::{DecodeError, varint};

mod encode;
mod view;

pub(super) use encode::seal;
pub use encode::{Body, Op};
pub use view::{OpHeader, OpView};

/// Offset of the first byte that an op's CRC covers.
const CODE_OFFSET: usize = 4;
/// Bytes of an op before its varints.
const FIXED_LEN: usize = CODE_OFFSET + 1 + 1;
/// Most bytes of an op before its key: enough to learn its whole length.
pub const OP_HEADER_MAX: usize = FIXED_LEN + 3 * varint::MAX_LEN_32 + 8 + 8 + 8;
const _: () = assert!(OP_HEADER_MAX == 45);

const EXPIRE: u8 = 1 << 0;
const MULTI: u8 = 1 << 1;
const VALUE_SEGMENT: u8 = 1 << 2;
/// The key had no record in the index: cleaning need not leave a tombstone in its place.
const FRESH: u8 = 1 << 3;
const TYPE_SHIFT: u32 = 4;

/// What an op does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpCode {
    /// A key's whole value.
    Put,
    /// A key's removal.
    Tombstone,
    /// A change against the key's previous record.
    Delta,
    /// Databases get new, empty tables.
    FlushTables,
    /// Two databases exchange their tables.
    SwapDatabases,
    /// A writer begins an epoch.
    EpochStart,
    /// Keys left the index to make room.
    Evict,
    /// What expires at a time or before counts as removed.
    ExpiredUpTo,
}

impl OpCode {
    /// The byte that stands for this code.
    #[inline]
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Tombstone => 2,
            Self::Delta => 3,
            Self::FlushTables => 64,
            Self::SwapDatabases => 65,
            Self::EpochStart => 66,
            Self::Evict => 67,
            Self::ExpiredUpTo => 70,
        }
    }

    #[inline]
    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::Put),
            2 => Ok(Self::Tombstone),
            3 => Ok(Self::Delta),
            other => Self::control_from_byte(other),
        }
    }

    fn control_from_byte(byte: u8) -> Result<Self, DecodeError> {
        Err(DecodeError::ReservedOp(match byte {
            64 => return Ok(Self::FlushTables),
            65 => return Ok(Self::SwapDatabases),
            66 => return Ok(Self::EpochStart),
            67 => return Ok(Self::Evict),
            68 => "fence slots",
            69 => "mode",
            70 => return Ok(Self::ExpiredUpTo),
            71 => "raft conf change",
            72 => "raft empty",
            73 => "source position",
            74 => "drop slots",
            other => return Err(DecodeError::UnknownOp(other)),
        }))
    }

    /// Whether the op belongs to a key.
    #[inline]
    #[must_use]
    pub const fn has_key(self) -> bool {
        matches!(self, Self::Put | Self::Tombstone | Self::Delta)
    }

    #[inline]
    const fn has_content_hash(self) -> bool {
        matches!(self, Self::Put | Self::Delta)
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum ValueType {
    /// A byte string.
    #[default]
    String = 0,
    /// A list.
    List = 1,
    /// A set.
    Set = 2,
    /// A sorted set.
    SortedSet = 3,
    /// A hash.
    Hash = 4,
    /// A stream.
    Stream = 5,
}

impl ValueType {
    /// The number that stands for this type.
    #[inline]
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self as u8
    }

    #[inline]
    pub(super) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            0 => Ok(Self::String),
            1 => Ok(Self::List),
            2 => Ok(Self::Set),
            3 => Ok(Self::SortedSet),
            4 => Ok(Self::Hash),
            5 => Ok(Self::Stream),
            other => Err(DecodeError::ValueType(other)),
        }
    }
}

/// Where an op stands in its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpPlace {
    /// Bytes from the start of the entry to the start of the op.
    pub distance: u32,
    /// Number of the op in its entry.
    pub number: u32,
}
