//! A serialized value on its own: type, encoded value, version, CRC-64.

use std::borrow::Cow;

use crc::{CRC_64_REDIS, Crc, Table};

use super::{RdbError, VERSION, string};

/// Version (2 bytes) and checksum (8 bytes) end every payload.
const FOOTER_LEN: usize = 2 + CHECKSUM_LEN;
const CHECKSUM_LEN: usize = 8;
/// The type byte of a string.
const TYPE_STRING: u8 = 0;

static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The payload of a string.
#[must_use]
pub fn encode_string(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + string::MAX_HEAD_LEN + value.len() + FOOTER_LEN);
    out.push(TYPE_STRING);
    string::encode(value, &mut out);
    out.extend_from_slice(&VERSION.to_le_bytes());
    let checksum = CHECKSUM.checksum(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// Checks the footer and returns what stands before it.
///
/// # Errors
/// [`RdbError::Footer`].
pub fn verify(payload: &[u8]) -> Result<&[u8], RdbError> {
    let Some((covered, checksum)) = payload.split_last_chunk::<CHECKSUM_LEN>() else { return Err(RdbError::Footer) };
    let Some((body, version)) = covered.split_last_chunk::<2>() else { return Err(RdbError::Footer) };
    if u16::from_le_bytes(*version) > VERSION || CHECKSUM.checksum(covered) != u64::from_le_bytes(*checksum) {
        return Err(RdbError::Footer);
    }
    Ok(body)
}

/// The string in a body that [`verify`] returned. Bytes behind the value are ignored, as in Redis.
///
/// # Errors
/// [`RdbError::Type`] for other types, [`RdbError::Malformed`].
pub fn decode_string(body: &[u8]) -> Result<Cow<'_, [u8]>, RdbError> {
    match body.split_first() {
        Some((&TYPE_STRING, rest)) => string::decode(rest),
        Some((&other, _)) => Err(RdbError::Type(other)),
        None => Err(RdbError::Malformed),
    }
}
