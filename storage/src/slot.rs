//! Which slot a key is in: CRC-16 (XMODEM) of the key, or of its hash tag, as in Redis Cluster.

use crate::types::{SLOTS, Slot};

const POLYNOMIAL: u16 = 0x1021;
/// Bytes that are looked up side by side: one chain of dependent loads a byte would take longer than hashing the key.
const WIDTH: usize = 8;

/// `TABLES[n][b]` is the CRC of byte `b` followed by `n` zero bytes.
static TABLES: [[u16; 256]; WIDTH] = tables();

const fn tables() -> [[u16; 256]; WIDTH] {
    let mut tables = [[0; 256]; WIDTH];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < WIDTH {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[zeros - 1][byte];
            tables[zeros][byte] = before << 8 ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// CRC-16 (XMODEM) of `bytes`.
#[inline]
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.chunks(WIDTH).fold(0, fold)
}

/// The CRC after up to eight more bytes.
#[inline]
fn fold(crc: u16, bytes: &[u8]) -> u16 {
    let [high, low] = crc.to_be_bytes();
    match bytes {
        [first, second, rest @ ..] => {
            let lookups = [first ^ high, second ^ low].into_iter().chain(rest.iter().copied());
            lookups.zip(TABLES[..bytes.len()].iter().rev()).fold(0, |sum, (byte, table)| sum ^ table[usize::from(byte)])
        }
        [last] => TABLES[0][usize::from(last ^ high)] ^ u16::from(low) << 8,
        [] => crc,
    }
}

/// The part of a key that decides its slot: what stands between the first `{` and the next `}`, unless that is nothing.
#[inline]
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let inner = &key[open + 1..];
    match inner.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => &inner[..close],
    }
}

/// The slot of a key.
#[inline]
#[must_use]
pub fn slot_of(key: &[u8]) -> Slot {
    Slot(crc16(hash_tag(key)) % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_bit_at_a_time(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, byte| {
            (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ POLYNOMIAL })
        })
    }

    #[test]
    fn crc_is_that_of_the_standard_at_every_length() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        let bytes: Vec<u8> = (0..100_u32).map(|number| (number * 37 + 11) as u8).collect();
        for len in 0..=bytes.len() {
            assert_eq!(crc16(&bytes[..len]), one_bit_at_a_time(&bytes[..len]));
        }
    }

    #[test]
    fn slots_are_those_of_redis() {
        for (key, slot) in [("foo", 12182), ("bar", 5061), ("hello", 866), ("", 0), ("{user1000}.following", 3443)] {
            assert_eq!(slot_of(key.as_bytes()), Slot(slot), "{key}");
        }
    }

    #[test]
    fn hash_tag_is_what_the_first_braces_hold_unless_nothing() {
        let tags = [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
            ("}foo{bar}", "bar"),
            ("", ""),
        ];
        for (key, tag) in tags {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }
}
