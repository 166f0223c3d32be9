//! Strings in RDB: a length and the bytes, or a small integer, or LZF.
//!
//! ```text
//! first byte  00nnnnnn                length below 64
//!             01nnnnnn nnnnnnnn       length below 16384
//!             10000000 4 bytes, BE    length
//!             10000001 8 bytes, BE    length
//!             11000000 1 byte         integer as decimal text (11000001: 2 bytes, 11000010: 4 bytes; LE)
//!             11000011 length length  LZF: compressed length, length, compressed bytes
//! ```

use std::borrow::Cow;

use super::{RdbError, lzf};
use crate::command::parse_integer;

/// The longest head before a string's bytes.
pub(super) const MAX_HEAD_LEN: usize = 9;
/// Longer text is not looked at for integers: no 32-bit integer has more digits.
const MAX_INTEGER_LEN: usize = 11;

const LENGTH_32: u8 = 0x80;
const LENGTH_64: u8 = 0x81;
const INTEGER_8: u8 = 0xC0;
const INTEGER_16: u8 = 0xC1;
const INTEGER_32: u8 = 0xC2;
const COMPRESSED: u8 = 0xC3;

/// Appends the encoded string. Never compresses: every reader takes plain bytes, and the log does not store compressed values either.
pub(super) fn encode(value: &[u8], out: &mut Vec<u8>) {
    if encode_integer(value, out) {
        return;
    }
    encode_length(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn encode_integer(value: &[u8], out: &mut Vec<u8>) -> bool {
    if value.len() > MAX_INTEGER_LEN {
        return false;
    }
    let Some(n) = parse_integer(value).and_then(|n| i32::try_from(n).ok()) else { return false };
    if let Ok(n) = i8::try_from(n) {
        out.push(INTEGER_8);
        out.extend_from_slice(&n.to_le_bytes());
    } else if let Ok(n) = i16::try_from(n) {
        out.push(INTEGER_16);
        out.extend_from_slice(&n.to_le_bytes());
    } else {
        out.push(INTEGER_32);
        out.extend_from_slice(&n.to_le_bytes());
    }
    true
}

fn encode_length(len: u64, out: &mut Vec<u8>) {
    if len < 1 << 6 {
        out.push(len as u8);
    } else if len < 1 << 14 {
        out.push(0x40 | (len >> 8) as u8);
        out.push(len as u8);
    } else if let Ok(len) = u32::try_from(len) {
        out.push(LENGTH_32);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(LENGTH_64);
        out.extend_from_slice(&len.to_be_bytes());
    }
}

/// Decodes the string at the start of `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, [u8]>, RdbError> {
    let mut input = Input(bytes);
    Ok(match *bytes.first().ok_or(RdbError::Malformed)? {
        INTEGER_8 => decimal(i8::from_le_bytes(input.skip(1)?.array()?)),
        INTEGER_16 => decimal(i16::from_le_bytes(input.skip(1)?.array()?)),
        INTEGER_32 => decimal(i32::from_le_bytes(input.skip(1)?.array()?)),
        COMPRESSED => {
            let input = input.skip(1)?;
            let compressed_len = input.length()?;
            let len = input.length()?;
            Cow::Owned(lzf::decompress(input.take(compressed_len)?, len).ok_or(RdbError::Malformed)?)
        }
        _ => {
            let len = input.length()?;
            Cow::Borrowed(input.take(len)?)
        }
    })
}

fn decimal(n: impl itoa::Integer) -> Cow<'static, [u8]> {
    Cow::Owned(itoa::Buffer::new().format(n).as_bytes().to_vec())
}

/// What is left to decode.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], RdbError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(RdbError::Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn skip(&mut self, len: usize) -> Result<&mut Self, RdbError> {
        self.take(len)?;
        Ok(self)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(RdbError::Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn length(&mut self) -> Result<usize, RdbError> {
        let [first] = self.array()?;
        let len = match first {
            0..0x40 => u64::from(first),
            0x40..0x80 => u64::from(first & 0x3F) << 8 | u64::from(self.array::<1>()?[0]),
            LENGTH_32 => u64::from(u32::from_be_bytes(self.array()?)),
            LENGTH_64 => u64::from_be_bytes(self.array()?),
            _ => return Err(RdbError::Malformed),
        };
        usize::try_from(len).map_err(|_| RdbError::Malformed)
    }
}
