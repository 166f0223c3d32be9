//! A queue of short byte strings in blocks of anonymous memory: first in, first out, a block at a time.
//!
//! Invariants:
//! - A place names 8 bytes that do not move until their block is taken out at the front.
//! - Blocks are mapped by themselves, so that what is taken out goes back to the kernel.

use std::collections::VecDeque;

use memmap2::MmapMut;

/// Bytes that a place counts by.
const UNIT: usize = 8;
/// Bits of a place.
const PLACE_BITS: u32 = 31;

/// Where in a ring something lies; places come round again, long after what lay there is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RingPlace(pub(super) u32);

/// A block that was taken out, with the place of its first byte.
pub(super) struct Block {
    memory: MmapMut,
    used: usize,
    first: u32,
}

/// The queue.
pub(super) struct Ring {
    block: usize,
    blocks: VecDeque<Block>,
    /// Place of the first byte of the next block.
    next: u32,
}

impl Block {
    /// The bytes at `at`, and the place they had.
    pub(super) fn at(&self, at: usize) -> Option<(RingPlace, &[u8])> {
        (at < self.used).then(|| (RingPlace(wrap(self.first + (at / UNIT) as u32)), &self.memory[at..self.used]))
    }
}

impl Ring {
    /// An empty queue of blocks of `block` bytes.
    pub(super) fn new(block: usize) -> Self {
        Self { block, blocks: VecDeque::new(), next: 0 }
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Whether `len` bytes fit without another block.
    pub(super) fn fits(&self, len: usize) -> bool {
        self.blocks.back().is_some_and(|last| last.used + len <= self.block)
    }

    /// Adds a block at the end, in the memory of an old one if there is one; false without memory.
    pub(super) fn add_block(&mut self, old: Option<Block>) -> bool {
        let memory = match old {
            Some(old) => Some(old.memory),
            None => MmapMut::map_anon(self.block).ok(),
        };
        let Some(memory) = memory else { return false };
        self.blocks.push_back(Block { memory, used: 0, first: self.next });
        self.next = wrap(self.next + (self.block / UNIT) as u32);
        true
    }

    /// Appends `parts`, which [fit](Self::fits), one after the other.
    pub(super) fn push(&mut self, parts: [&[u8]; 2]) -> RingPlace {
        let last = self.blocks.back_mut().expect("who pushes has seen that it fits");
        let place = RingPlace(wrap(last.first + (last.used / UNIT) as u32));
        let mut at = last.used;
        for part in parts {
            last.memory[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        last.used = at.next_multiple_of(UNIT).min(self.block);
        place
    }

    /// The bytes from a place on.
    pub(super) fn at(&self, place: RingPlace) -> Option<&[u8]> {
        let (block, at) = self.find(place)?;
        let block = &self.blocks[block];
        block.memory.get(at..block.used)
    }

    /// The byte at `distance` behind a place.
    pub(super) fn byte_mut(&mut self, place: RingPlace, distance: usize) -> Option<&mut [u8]> {
        let (block, at) = self.find(place)?;
        let block = self.blocks.get_mut(block)?;
        block.memory.get_mut(at + distance..block.used)
    }

    fn find(&self, place: RingPlace) -> Option<(usize, usize)> {
        let distance = wrap(place.0.wrapping_sub(self.blocks.front()?.first)) as usize * UNIT;
        let block = distance / self.block;
        (block < self.blocks.len()).then_some((block, distance % self.block))
    }

    /// Takes out the oldest block.
    pub(super) fn pop_block(&mut self) -> Option<Block> {
        self.blocks.pop_front()
    }
}

fn wrap(place: u32) -> u32 {
    place & ((1 << PLACE_BITS) - 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn strings_stay_until_their_block_is_taken_out() {
        let mut ring = Ring::new(64);
        // Places near the end of their range come round meanwhile.
        ring.next = wrap(u32::MAX) - 15;
        let mut places = VecDeque::new();
        for n in 0..100_u8 {
            if !ring.fits(20) {
                let old = if ring.blocks() == 3 { ring.pop_block() } else { None };
                if let Some(old) = &old {
                    let (place, bytes) = old.at(0).unwrap();
                    let (first, value) = places.pop_front().unwrap();
                    assert_eq!((place, bytes[0]), (first, value));
                    places.pop_front();
                }
                assert!(ring.add_block(old));
            }
            places.push_back((ring.push([&[n; 10], &[n; 7]]), n));
            for (place, value) in &places {
                assert_eq!(ring.at(*place).unwrap()[..17], [*value; 17]);
            }
        }
        assert!(ring.at(RingPlace(12_345)).is_none());
    }
}
