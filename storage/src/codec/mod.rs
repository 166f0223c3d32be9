//! The bytes of `docs/on-disk-format.md`: every encoder and decoder of log content.
//!
//! Invariants:
//! - Decoders never panic, whatever the bytes; lengths are checked before use.
//! - All integers are little-endian and of a fixed size, or varints in shortest form: one value has one encoding.
//! - Only this module and `segment`, which holds the files' own headers, know offsets of fields.

use thiserror::Error;

pub mod checksum;
pub mod content_hash;
pub mod control;
pub mod delta;
pub mod entry;
pub mod evicted;
pub mod flush_mark;
pub mod frame;
pub mod op;
pub mod value_ref;
pub mod varint;

#[cfg(test)]
mod tests;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A length points beyond the bytes at hand.
    #[error("cut off: a length points beyond the end")]
    CutOff,
    /// The checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// A varint is longer than it may or need be.
    #[error("varint not in its shortest form, or too large")]
    Varint,
    /// A length that cannot be.
    #[error("impossible length")]
    Length,
    /// A frame kind that this version does not know.
    #[error("unknown frame kind {0}")]
    FrameKind(u8),
    /// Flags that this version does not know, or that contradict each other.
    #[error("impossible flags {0:#04x}")]
    Flags(u8),
    /// A value type that this version does not know.
    #[error("unknown value type {0}")]
    ValueType(u8),
    /// An op code that this version does not know.
    #[error("unknown op code {0}")]
    UnknownOp(u8),
    /// An op code that the format reserves for a later version.
    #[error("op `{0}` is reserved for a later version")]
    ReservedOp(&'static str),
    /// Packed entries, which the format reserves for a later version.
    #[error("packed entries are reserved for a later version")]
    PackedEntries,
    /// Ops and the entry around them disagree on number or place.
    #[error("ops do not fill their entry as it says")]
    OpsMismatch,
    /// A magic number does not match.
    #[error("not a file of this kind: wrong magic")]
    Magic,
    /// The format version is newer than this program.
    #[error("format version {0} is newer than this program")]
    FutureVersion(u16),
    /// A field holds a value that it cannot have.
    #[error("impossible value in `{0}`")]
    Field(&'static str),
    /// A tagged section that this version must know and does not.
    #[error("unknown section {0}")]
    Section(u16),
}

impl DecodeError {
    /// Whether the bytes are sound and only too new: to be refused, never to be cut away as damage.
    #[must_use]
    pub fn is_unsupported(self) -> bool {
        matches!(self, Self::ReservedOp(_) | Self::UnknownOp(_) | Self::PackedEntries | Self::FutureVersion(_) | Self::Section(_))
    }
}

/// Takes fields off the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::CutOff)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::CutOff)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u128(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// A 48-bit number.
    #[inline]
    pub(crate) fn u48(&mut self) -> Result<u64, DecodeError> {
        let low = self.u32()?;
        Ok(u64::from(self.u16()?) << 32 | u64::from(low))
    }

    #[inline]
    pub(crate) fn varint32(&mut self) -> Result<u32, DecodeError> {
        let (value, len) = varint::decode_u32(self.rest)?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    #[inline]
    pub(crate) fn varint64(&mut self) -> Result<u64, DecodeError> {
        let (value, len) = varint::decode_u64(self.rest)?;
        self.rest = &self.rest[len..];
        Ok(value)
    }
}

/// Puts fields into a slice whose length was computed before.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Output<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        self.bytes[self.at..end].copy_from_slice(bytes);
        self.at = end;
    }

    #[inline]
    pub(crate) fn varint32(&mut self, value: u32) {
        self.at += varint::encode(u64::from(value), &mut self.bytes[self.at..]);
    }

    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }
}

/// Overwrites the four bytes at `offset`.
#[inline]
pub(crate) fn set_u32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}
