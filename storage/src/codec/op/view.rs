//! Reading ops: the header alone, an op in place, an op with its CRC checked.

use super::{CODE_OFFSET, EXPIRE, FRESH, MULTI, OpCode, OpPlace, TYPE_SHIFT, VALUE_SEGMENT, ValueType};
use crate::codec::checksum::OpSeed;
use crate::codec::control::{EpochStart, ExpiredUpTo, FlushedTable, SwappedDatabases};
use crate::codec::delta::Delta;
use crate::codec::evicted::Evicted;
use crate::codec::frame::SINGLE_HEADER;
use crate::codec::value_ref::VALUE_REF_LEN;
use crate::codec::{DecodeError, Input};
use crate::types::{TableId, UnixMillis};

/// An op's fields before its key, decoded but not checked against its CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpHeader {
    /// The CRC stored.
    pub crc: u32,
    /// What the op does.
    pub code: OpCode,
    /// The type of the value it leaves.
    pub value_type: ValueType,
    /// Whether the body is a reference to a value segment.
    pub value_segment: bool,
    /// Whether its key had no record in the index when it was written.
    pub fresh: bool,
    /// The table that its key is in.
    pub table: TableId,
    /// Where it stands in an entry of several ops; `None`: it is alone, right after an entry header of the shortest kind.
    pub place: Option<OpPlace>,
    /// When the key expires.
    pub expire_at: Option<UnixMillis>,
    /// Content hash of the value that results, 0 for ops without one.
    pub content_hash: u64,
    /// Bytes before the key.
    pub header_len: u32,
    /// Bytes of the key.
    pub key_len: u32,
    /// Bytes of the body.
    pub body_len: u32,
}

impl OpHeader {
    /// Decodes the header at the front of `bytes`, without checking its CRC. [`OP_HEADER_MAX`](super::OP_HEADER_MAX) bytes are always enough.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let layout = Layout::parse(bytes)?;
        layout.header(OpCode::from_byte(layout.code)?)
    }

    /// The place that the op at the front of `bytes` states, whatever its code.
    pub(in crate::codec) fn place_of(bytes: &[u8]) -> Result<Option<OpPlace>, DecodeError> {
        Ok(Layout::parse(bytes)?.place)
    }

    /// Bytes of the whole op.
    #[inline]
    #[must_use]
    pub fn op_len(&self) -> u64 {
        u64::from(self.header_len) + u64::from(self.key_len) + u64::from(self.body_len)
    }

    /// Bytes from the start of the entry to this op.
    #[inline]
    #[must_use]
    pub fn entry_distance(&self) -> u32 {
        self.place.map_or(SINGLE_HEADER as u32, |place| place.distance)
    }

    /// Number of the op in its entry.
    #[inline]
    #[must_use]
    pub fn op_number(&self) -> u32 {
        self.place.map_or(0, |place| place.number)
    }
}

/// An op as it lies in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpView<'a> {
    /// Its decoded header.
    pub header: OpHeader,
    /// All its bytes.
    pub bytes: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// Its body.
    pub body: &'a [u8],
}

impl<'a> OpView<'a> {
    /// Decodes the op at the front of `bytes`, without checking its CRC.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::split(OpHeader::parse(bytes)?, bytes)
    }

    #[inline]
    fn split(header: OpHeader, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let len = usize::try_from(header.op_len()).map_err(|_| DecodeError::Length)?;
        let bytes = bytes.get(..len).ok_or(DecodeError::CutOff)?;
        let (key, body) = bytes[header.header_len as usize..].split_at(header.key_len as usize);
        Ok(Self { header, bytes, key, body })
    }

    /// Checks the CRC of the op at the front of `bytes`, then judges it: its length, and the op unless this version cannot tell
    /// what it means. Length and CRC come first because ops of later versions share the layout.
    pub(in crate::codec) fn parse_verified(bytes: &'a [u8], seed: OpSeed) -> Result<(usize, Result<Self, DecodeError>), DecodeError> {
        let layout = Layout::parse(bytes)?;
        let len = usize::try_from(layout.op_len()).map_err(|_| DecodeError::Length)?;
        let op = bytes.get(..len).ok_or(DecodeError::CutOff)?;
        if seed.crc(&op[CODE_OFFSET..]) != layout.crc {
            return Err(DecodeError::Checksum);
        }
        Ok((len, Self::judge(layout, op)))
    }

    fn judge(layout: Layout, op: &'a [u8]) -> Result<Self, DecodeError> {
        let view = Self::split(layout.header(OpCode::from_byte(layout.code)?)?, op)?;
        view.validate()?;
        Ok(view)
    }

    /// Checks the CRC, under the seed of the op's history, shard, LSN and number.
    #[inline]
    pub fn verify(&self, seed: OpSeed) -> Result<(), DecodeError> {
        if seed.crc(&self.bytes[CODE_OFFSET..]) == self.header.crc { Ok(()) } else { Err(DecodeError::Checksum) }
    }

    /// What the code demands of the other fields.
    fn validate(&self) -> Result<(), DecodeError> {
        let (code, body) = (self.header.code, self.body.len());
        if !code.has_key() && !self.key.is_empty() {
            return Err(DecodeError::Field("key of a control op"));
        }
        let fits = match code {
            OpCode::Put => !self.header.value_segment || body == VALUE_REF_LEN,
            OpCode::Tombstone => body == 0,
            OpCode::Delta => Delta::decode(self.body).map(|_| true)?,
            OpCode::FlushTables => FlushedTable::decode_all(self.body).map(|_| true)?,
            OpCode::SwapDatabases => SwappedDatabases::decode(self.body).map(|_| true)?,
            OpCode::EpochStart => EpochStart::decode(self.body).map(|_| true)?,
            OpCode::Evict => Evicted::decode(self.body).map(|_| true)?,
            OpCode::ExpiredUpTo => ExpiredUpTo::decode(self.body).map(|_| true)?,
        };
        if !fits {
            return Err(DecodeError::Length);
        }
        if self.header.value_segment && code != OpCode::Put {
            return Err(DecodeError::Flags(VALUE_SEGMENT));
        }
        Ok(())
    }
}

/// An op's fields before its code is judged: codes not known have the same layout.
#[derive(Debug, Clone, Copy)]
struct Layout {
    crc: u32,
    code: u8,
    flags: u8,
    table: u32,
    key_len: u32,
    body_len: u32,
    place: Option<OpPlace>,
    expire_at: Option<UnixMillis>,
    content_hash: u64,
    header_len: u32,
}

impl Layout {
    #[inline]
    fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let crc = input.u32()?;
        let (code, flags) = (input.u8()?, input.u8()?);
        let (table, key_len, body_len) = (input.varint32()?, input.varint32()?, input.varint32()?);
        let place = match flags & MULTI {
            0 => None,
            _ => Some(OpPlace { distance: input.u32()?, number: input.u32()? }),
        };
        let expire_at = match flags & EXPIRE {
            0 => None,
            _ => Some(UnixMillis(input.i64()?)),
        };
        let content_hash = match code {
            1 | 3 => input.u64()?,
            _ => 0,
        };
        let header_len = (bytes.len() - input.rest().len()) as u32;
        Ok(Self { crc, code, flags, table, key_len, body_len, place, expire_at, content_hash, header_len })
    }

    fn op_len(&self) -> u64 {
        u64::from(self.header_len) + u64::from(self.key_len) + u64::from(self.body_len)
    }

    #[inline]
    fn header(&self, code: OpCode) -> Result<OpHeader, DecodeError> {
        if self.flags & FRESH != 0 && code != OpCode::Put {
            return Err(DecodeError::Flags(self.flags));
        }
        Ok(OpHeader {
            crc: self.crc,
            code,
            value_type: ValueType::from_byte(self.flags >> TYPE_SHIFT)?,
            value_segment: self.flags & VALUE_SEGMENT != 0,
            fresh: self.flags & FRESH != 0,
            table: TableId(self.table),
            place: self.place,
            expire_at: self.expire_at,
            content_hash: self.content_hash,
            header_len: self.header_len,
            key_len: self.key_len,
            body_len: self.body_len,
        })
    }
}
