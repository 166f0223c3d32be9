//! Content hashes of strings, which a write updates from the blocks that it touches, and a record's part in its slot's digest.

use smallvec::SmallVec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

use super::op::ValueType;
use crate::types::UnixMillis;

/// Bytes of a block.
pub const BLOCK: usize = 1024;

/// The content hash of a whole string.
#[inline]
#[must_use]
pub fn content_hash(value: &[u8]) -> u64 {
    let blocks = value.chunks(BLOCK).zip(0..);
    blocks.fold(length_term(value.len() as u64), |sum, (block, number)| sum.wrapping_add(block_term(number, block)))
}

#[inline]
fn length_term(len: u64) -> u64 {
    xxh3_64(&len.to_le_bytes())
}

#[inline]
fn block_term(number: u64, block: &[u8]) -> u64 {
    xxh3_64_with_seed(block, number)
}

/// A content hash in the making, for values that arrive in pieces.
#[derive(Debug, Clone)]
pub struct ContentHasher {
    sum: u64,
    len: u64,
    block: Box<[u8; BLOCK]>,
    filled: usize,
}

impl Default for ContentHasher {
    fn default() -> Self {
        Self { sum: 0, len: 0, block: Box::new([0; BLOCK]), filled: 0 }
    }
}

impl ContentHasher {
    /// Takes the next bytes of the value.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let step = bytes.len().min(BLOCK - self.filled);
            self.block[self.filled..self.filled + step].copy_from_slice(&bytes[..step]);
            self.filled += step;
            self.len += step as u64;
            bytes = &bytes[step..];
            if self.filled == BLOCK {
                self.close_block();
            }
        }
    }

    fn close_block(&mut self) {
        let number = (self.len - 1) / BLOCK as u64;
        self.sum = self.sum.wrapping_add(block_term(number, &self.block[..self.filled]));
        self.filled = 0;
    }

    /// The hash of all bytes taken.
    #[must_use]
    pub fn finish(mut self) -> u64 {
        if self.filled > 0 {
            self.close_block();
        }
        self.sum.wrapping_add(length_term(self.len))
    }
}

/// The content hash after `data` is written at `offset` into a string of `old_len` bytes whose hash is `hash`.
///
/// `read_old(from, buf)` fills `buf` with the old string's bytes from `from` on; it is asked only for blocks that change.
pub fn content_hash_after_write<E>(
    hash: u64,
    old_len: u64,
    offset: u64,
    data: &[u8],
    mut read_old: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<u64, E> {
    if data.is_empty() {
        return Ok(hash);
    }
    let end = offset + data.len() as u64;
    let new_len = old_len.max(end);
    let mut hash = hash.wrapping_sub(length_term(old_len)).wrapping_add(length_term(new_len));
    let block_len = BLOCK as u64;
    // Zeros between the old end and the write belong to what changes.
    for number in offset.min(old_len) / block_len..end.div_ceil(block_len) {
        let mut block = [0; BLOCK];
        let start = number * block_len;
        let old = within_block(start, old_len);
        if old > 0 {
            read_old(start, &mut block[..old])?;
            hash = hash.wrapping_sub(block_term(number, &block[..old]));
        }
        overlay(&mut block, start, offset, data);
        hash = hash.wrapping_add(block_term(number, &block[..within_block(start, new_len)]));
    }
    Ok(hash)
}

/// Bytes of the block at `start` in a string of `len` bytes.
fn within_block(start: u64, len: u64) -> usize {
    len.saturating_sub(start).min(BLOCK as u64) as usize
}

/// Puts the part of `data`, which begins at `offset`, that falls into the block at `start` there.
fn overlay(block: &mut [u8; BLOCK], start: u64, offset: u64, data: &[u8]) {
    let skip = start.saturating_sub(offset) as usize;
    let Some(data) = data.get(skip..) else { return };
    let Some(at) = usize::try_from(offset.saturating_sub(start)).ok().filter(|at| *at < BLOCK) else { return };
    let len = data.len().min(BLOCK - at);
    block[at..at + len].copy_from_slice(&data[..len]);
}

/// What a live record adds to the digest of its slot.
#[inline]
#[must_use]
pub fn slot_digest_term(content_hash: u64, expire_at: Option<UnixMillis>, value_type: ValueType, key: &[u8]) -> u128 {
    let mut bytes = SmallVec::<[u8; 256]>::new();
    bytes.extend_from_slice(&content_hash.to_le_bytes());
    bytes.extend_from_slice(&expire_at.map_or(-1, |at| at.0).to_le_bytes());
    bytes.push(value_type.to_byte());
    bytes.extend_from_slice(key);
    xxh3_128(&bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn update_equals_hash_of_the_result_for_random_writes() {
        let mut random = StdRng::seed_from_u64(1);
        let mut value = Vec::new();
        let mut hash = content_hash(&value);
        for _ in 0..500 {
            let offset = random.random_range(0..value.len() + 2000);
            let data: Vec<u8> = (0..random.random_range(0..3000)).map(|_| random.random()).collect();
            let old = value.clone();
            hash = content_hash_after_write(hash, old.len() as u64, offset as u64, &data, |from, buf| {
                let from = usize::try_from(from).unwrap();
                buf.copy_from_slice(&old[from..from + buf.len()]);
                Ok::<_, ()>(())
            })
            .unwrap();
            if !data.is_empty() {
                value.resize(value.len().max(offset + data.len()), 0);
                value[offset..offset + data.len()].copy_from_slice(&data);
            }
            assert_eq!(hash, content_hash(&value));
            value.truncate(20_000);
            hash = content_hash(&value);
        }
    }

    #[test]
    fn pieces_hash_as_the_whole() {
        let mut random = StdRng::seed_from_u64(2);
        for len in [0, 1, 1023, 1024, 1025, 5000] {
            let value: Vec<u8> = (0..len).map(|_| random.random()).collect();
            let mut hasher = ContentHasher::default();
            let mut rest = &value[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.random_range(1..=rest.len()));
                hasher.update(piece);
                rest = after;
            }
            assert_eq!(hasher.finish(), content_hash(&value));
        }
    }

    #[test]
    fn only_touched_blocks_are_read() {
        let value = vec![5; 10 * BLOCK];
        let mut asked = Vec::new();
        let _ = content_hash_after_write(content_hash(&value), value.len() as u64, 3 * BLOCK as u64, &[1], |from, buf| {
            asked.push((from, buf.len()));
            buf.fill(5);
            Ok::<_, ()>(())
        });
        assert_eq!(asked, [(3 * BLOCK as u64, BLOCK)]);
    }

    #[test]
    fn swapped_blocks_and_other_lengths_hash_differently() {
        let (a, b) = ([1; BLOCK], [2; BLOCK]);
        assert_ne!(content_hash(&[a, b].concat()), content_hash(&[b, a].concat()));
        assert_ne!(content_hash(&[0; 5]), content_hash(&[0; 6]));
    }

    #[test]
    fn every_part_of_a_record_counts_in_the_digest() {
        let term = slot_digest_term(1, None, ValueType::String, b"key");
        assert_eq!(term, slot_digest_term(1, Some(UnixMillis(-1)), ValueType::String, b"key"));
        assert_ne!(term, slot_digest_term(2, None, ValueType::String, b"key"));
        assert_ne!(term, slot_digest_term(1, Some(UnixMillis(5)), ValueType::String, b"key"));
        assert_ne!(term, slot_digest_term(1, None, ValueType::Hash, b"key"));
        assert_ne!(term, slot_digest_term(1, None, ValueType::String, b"kez"));
    }
}
