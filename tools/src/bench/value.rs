//! Values that say what they are.
//!
//! ```text
//! 0          8         16    24
//! ┌──────────┬─────────┬─────┬────────┐
//! │ checksum │ version │ key │ filler │
//! └──────────┴─────────┴─────┴────────┘
//! ```
//! The checksum is xxh3_64 of all that follows, with the hash of the key's name as its seed. All numbers are little-endian.

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::keys::Names;

/// Bytes of a value that can be checked.
pub(super) const CHECKED: usize = 24;
/// Longest value of the protocol.
pub(super) const LONGEST: usize = 512 << 20;
const CHECKSUM: usize = 8;
const FILLER: usize = 64 << 10;

/// What is wrong with a value that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is sound, and belongs to another key.
    OtherKey(u64),
    /// It is no value that was ever written: torn, cut off, changed.
    Corrupt,
}

/// Makes and checks values.
#[derive(Debug, Clone)]
pub(super) struct Values {
    names: Names,
    filler: Vec<u8>,
    checked: bool,
}

impl Values {
    pub(super) fn new(names: Names, seed: u64, checked: bool) -> Self {
        let mut filler = vec![0; FILLER];
        SmallRng::seed_from_u64(seed).fill_bytes(&mut filler);
        Self { names, filler, checked }
    }

    fn seed(&self, key: u64) -> u64 {
        xxh3_64(&self.names.name(key))
    }

    /// Appends the value of a key at a version.
    pub(super) fn write(&self, key: u64, version: u64, len: usize, out: &mut Vec<u8>) {
        let start = out.len();
        if self.checked {
            out.extend_from_slice(&[0; CHECKSUM]);
            out.extend_from_slice(&version.to_le_bytes());
            out.extend_from_slice(&key.to_le_bytes());
        }
        // Each version has its own filler: halves of two versions do not make a third.
        let mut from = (version as usize).wrapping_mul(31) % FILLER;
        while out.len() - start < len {
            let piece = &self.filler[from..];
            let piece = &piece[..piece.len().min(len - (out.len() - start))];
            out.extend_from_slice(piece);
            from = 0;
        }
        if self.checked {
            let checksum = xxh3_64_with_seed(&out[start + CHECKSUM..], self.seed(key));
            out[start..start + CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        }
    }

    /// The version of a value that was read under a key; 0 if values are not checked.
    pub(super) fn check(&self, key: u64, value: &[u8]) -> Result<u64, Fault> {
        if !self.checked {
            return Ok(0);
        }
        let number = |at: usize| value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let (Some(checksum), Some(version), Some(of)) = (number(0), number(CHECKSUM), number(2 * CHECKSUM)) else {
            return Err(Fault::Corrupt);
        };
        if checksum != xxh3_64_with_seed(&value[CHECKSUM..], self.seed(of)) {
            return Err(Fault::Corrupt);
        }
        if of == key { Ok(version) } else { Err(Fault::OtherKey(of)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values::new(Names::new("key:", None, 1000), 1, true)
    }

    fn value(key: u64, version: u64, len: usize) -> Vec<u8> {
        let mut out = b"before".to_vec();
        values().write(key, version, len, &mut out);
        out.split_off(6)
    }

    #[test]
    fn values_pass_under_their_key_alone() {
        for len in [CHECKED, 25, 100, 200_000] {
            let written = value(5, 77, len);
            assert_eq!(written.len(), len);
            assert_eq!(values().check(5, &written), Ok(77));
            assert_eq!(values().check(6, &written), Err(Fault::OtherKey(5)));
        }
        let elsewhere = Values::new(Names::new("other:", None, 1000), 1, true);
        assert_eq!(elsewhere.check(5, &value(5, 77, 100)), Err(Fault::Corrupt), "a name that only shares the number");
    }

    #[test]
    fn torn_and_changed_values_do_not_pass() {
        let (old, new) = (value(5, 77, 1000), value(5, 78, 1000));
        for at in [1, 8, 16, 24, 500, 999] {
            assert_eq!(values().check(5, &[&new[..at], &old[at..]].concat()), Err(Fault::Corrupt), "torn at {at}");
            assert_eq!(values().check(5, &new[..at]), Err(Fault::Corrupt), "cut at {at}");
            let mut flipped = new.clone();
            flipped[at] ^= 4;
            assert_eq!(values().check(5, &flipped), Err(Fault::Corrupt), "flipped at {at}");
        }
    }
}
