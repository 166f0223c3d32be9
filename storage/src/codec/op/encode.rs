//! Writing ops.

use super::{CODE_OFFSET, EXPIRE, FIXED_LEN, FRESH, MULTI, OpCode, OpHeader, OpPlace, TYPE_SHIFT, VALUE_SEGMENT, ValueType};
use crate::codec::checksum::OpSeed;
use crate::codec::{Output, set_u32, varint};
use crate::types::{TableId, UnixMillis};

/// A body in two parts, so that a delta's written bytes need not be copied behind its head first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Body<'a> {
    /// The first part.
    pub head: &'a [u8],
    /// The rest.
    pub tail: &'a [u8],
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(head: &'a [u8]) -> Self {
        Self { head, tail: &[] }
    }
}

impl Body<'_> {
    #[inline]
    fn len(self) -> usize {
        self.head.len() + self.tail.len()
    }
}

/// An op to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op<'a> {
    /// What it does.
    pub code: OpCode,
    /// The type of the value it leaves.
    pub value_type: ValueType,
    /// Whether the body is a reference to a value segment.
    pub value_segment: bool,
    /// Whether its key had no record in the index when it was written; puts only.
    pub fresh: bool,
    /// The table that its key is in.
    pub table: TableId,
    /// When the key expires.
    pub expire_at: Option<UnixMillis>,
    /// Content hash of the value that results; not stored for ops without a value.
    pub content_hash: u64,
    /// The key, empty for control ops.
    pub key: &'a [u8],
    /// The body.
    pub body: Body<'a>,
}

impl<'a> Op<'a> {
    /// A put of a string; the fields can be changed for other puts.
    #[inline]
    #[must_use]
    pub fn put(table: TableId, key: &'a [u8], value: &'a [u8], content_hash: u64) -> Self {
        Self { content_hash, body: value.into(), ..Self::bare(OpCode::Put, table, key) }
    }

    /// A delta of a string: `head` as [`Delta::encode_head`](crate::codec::delta::Delta::encode_head) gives it, then the written bytes.
    #[inline]
    #[must_use]
    pub fn delta(table: TableId, key: &'a [u8], head: &'a [u8], written: &'a [u8], content_hash: u64) -> Self {
        Self { content_hash, body: Body { head, tail: written }, ..Self::bare(OpCode::Delta, table, key) }
    }

    /// A removal.
    #[inline]
    #[must_use]
    pub fn tombstone(table: TableId, key: &'a [u8]) -> Self {
        Self::bare(OpCode::Tombstone, table, key)
    }

    /// An op without a key.
    #[must_use]
    pub fn control(code: OpCode, body: &'a [u8]) -> Self {
        debug_assert!(!code.has_key());
        Self { body: body.into(), ..Self::bare(code, TableId(0), &[]) }
    }

    #[inline]
    fn bare(code: OpCode, table: TableId, key: &'a [u8]) -> Self {
        let body = Body::default();
        Self { code, value_type: ValueType::String, value_segment: false, fresh: false, table, expire_at: None, content_hash: 0, key, body }
    }

    /// Bytes that the op takes in an entry, with or without the fields of `MULTI`.
    #[inline]
    #[must_use]
    pub fn encoded_len(&self, multi: bool) -> usize {
        let (key, body) = (self.key.len(), self.body.len());
        let varints = varint::len(u64::from(self.table.0)) + varint::len(key as u64) + varint::len(body as u64);
        let optional = usize::from(multi) + usize::from(self.expire_at.is_some()) + usize::from(self.code.has_content_hash());
        FIXED_LEN + varints + 8 * optional + key + body
    }

    fn flags(&self, multi: bool) -> u8 {
        let mut flags = self.value_type.to_byte() << TYPE_SHIFT;
        if self.expire_at.is_some() {
            flags |= EXPIRE;
        }
        if multi {
            flags |= MULTI;
        }
        if self.value_segment {
            flags |= VALUE_SEGMENT;
        }
        if self.fresh {
            flags |= FRESH;
        }
        flags
    }

    /// Fills `out`, of exactly the encoded length, but for the CRC.
    #[inline]
    pub(in crate::codec) fn encode(&self, place: Option<OpPlace>, out: &mut [u8]) {
        let len_of = |bytes: usize| u32::try_from(bytes).expect("keys and bodies are limited to 512 MiB");
        let mut output = Output::new(out);
        output.put(&[0, 0, 0, 0, self.code.to_byte(), self.flags(place.is_some())]);
        output.varint32(self.table.0);
        output.varint32(len_of(self.key.len()));
        output.varint32(len_of(self.body.len()));
        if let Some(place) = place {
            output.put(&place.distance.to_le_bytes());
            output.put(&place.number.to_le_bytes());
        }
        if let Some(at) = self.expire_at {
            output.put(&at.0.to_le_bytes());
        }
        if self.code.has_content_hash() {
            output.put(&self.content_hash.to_le_bytes());
        }
        output.put(self.key);
        output.put(self.body.head);
        output.put(self.body.tail);
        debug_assert_eq!(output.at(), out.len());
    }
}

impl OpHeader {
    /// Gives the op in `bytes`, which has this header and stands in an entry of several, another place. Its CRC is to be sealed again.
    pub(in crate::codec) fn place_at(&self, bytes: &mut [u8], place: OpPlace) {
        debug_assert!(self.place.is_some());
        let len = |number: u32| varint::len(u64::from(number));
        let at = FIXED_LEN + len(self.table.0) + len(self.key_len) + len(self.body_len);
        set_u32(bytes, at, place.distance);
        set_u32(bytes, at + 4, place.number);
    }
}

/// Fills in the CRC of an encoded op.
#[inline]
pub(in crate::codec) fn seal(op: &mut [u8], seed: OpSeed) -> u32 {
    let crc = seed.crc(&op[CODE_OFFSET..]);
    set_u32(op, 0, crc);
    crc
}
