//! LEB128 varints, shortest form only, so that a number has one encoding.

use super::DecodeError;

/// Most bytes of a 32-bit varint.
pub const MAX_LEN_32: usize = 5;
/// Most bytes of a 64-bit varint.
pub const MAX_LEN_64: usize = 10;

/// Bytes that `value` takes.
#[inline]
#[must_use]
pub fn len(value: u64) -> usize {
    if value < 1 << 7 {
        1
    } else if value < 1 << 14 {
        2
    } else {
        (64 - value.leading_zeros()).div_ceil(7) as usize
    }
}

/// Writes `value` to the front of `to`, which must have room, and returns the bytes used.
#[inline]
pub fn encode(mut value: u64, to: &mut [u8]) -> usize {
    let mut at = 0;
    while value >= 0x80 {
        to[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    to[at] = value as u8;
    at + 1
}

/// Appends `value` to `to`.
pub fn push(value: u64, to: &mut impl Extend<u8>) {
    let mut buf = [0; MAX_LEN_64];
    let len = encode(value, &mut buf);
    to.extend(buf[..len].iter().copied());
}

/// Reads a 32-bit varint at the front of `bytes`: the value and its length.
#[inline]
pub fn decode_u32(bytes: &[u8]) -> Result<(u32, usize), DecodeError> {
    // One and two bytes are nearly all lengths there are; the general case stays out of line.
    match *bytes {
        [a, ..] if a < 0x80 => Ok((u32::from(a), 1)),
        [a, b, ..] if b < 0x80 && b != 0 => Ok((u32::from(a & 0x7f) | u32::from(b) << 7, 2)),
        _ => {
            let (value, len) = decode_long(bytes, MAX_LEN_32)?;
            Ok((u32::try_from(value).map_err(|_| DecodeError::Varint)?, len))
        }
    }
}

/// Reads a 64-bit varint at the front of `bytes`: the value and its length.
#[inline]
pub fn decode_u64(bytes: &[u8]) -> Result<(u64, usize), DecodeError> {
    match *bytes {
        [a, ..] if a < 0x80 => Ok((u64::from(a), 1)),
        _ => decode_long(bytes, MAX_LEN_64),
    }
}

#[cold]
fn decode_long(bytes: &[u8], max: usize) -> Result<(u64, usize), DecodeError> {
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().take(max).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * at);
        if shifted >> (7 * at) != bits {
            return Err(DecodeError::Varint);
        }
        value |= shifted;
        if byte < 0x80 {
            let shortest = byte != 0 || at == 0;
            return if shortest { Ok((value, at + 1)) } else { Err(DecodeError::Varint) };
        }
    }
    Err(if bytes.len() < max { DecodeError::CutOff } else { DecodeError::Varint })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    fn edges() -> impl Iterator<Item = u64> {
        (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]).chain([u64::MAX])
    }

    #[test]
    fn every_edge_round_trips_in_the_length_announced() {
        for value in edges() {
            let mut bytes = Vec::new();
            push(value, &mut bytes);
            assert_eq!(bytes.len(), len(value));
            assert_eq!(decode_u64(&bytes).unwrap(), (value, bytes.len()));
            match u32::try_from(value) {
                Ok(small) => assert_eq!(decode_u32(&bytes).unwrap(), (small, bytes.len())),
                Err(_) => assert_eq!(decode_u32(&bytes), Err(DecodeError::Varint)),
            }
            for cut in 0..bytes.len() {
                assert_eq!(decode_u64(&bytes[..cut]), Err(DecodeError::CutOff));
            }
        }
    }

    #[test]
    fn longer_forms_and_overflow_are_refused() {
        assert_eq!(decode_u32(&[0x80, 0x00]), Err(DecodeError::Varint));
        assert_eq!(decode_u64(&[0xff, 0x80, 0x00]), Err(DecodeError::Varint));
        assert_eq!(decode_u32(&[0xff, 0xff, 0xff, 0xff, 0x10]), Err(DecodeError::Varint));
        assert_eq!(decode_u32(&[0xff; 9]), Err(DecodeError::Varint));
        assert_eq!(decode_u64(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), Err(DecodeError::Varint));
        assert_eq!(decode_u64(&[0xff; 11]), Err(DecodeError::Varint));
    }
}
