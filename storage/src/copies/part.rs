//! The copies of one part of the keys.

use super::ring::{Block, Ring, RingPlace};
use super::table::Table;
use super::{CopyFigures, CopyOf};
use crate::types::{Generation, Location, Lsn};

/// The tag's place in the hash: the low bits choose the part.
const TAG_SHIFT: u32 = 32;
/// The bit of a place that tells the queues apart.
const LONG: u32 = 1 << 31;
/// Of the blocks, so many are the short queue's: one in …
const SHORT_SHARE: usize = 10;
/// Blocks of a budget: at least so many, or else copies come and go by too large a part of them, …
const LEAST_BLOCKS: usize = 4;
/// … as a rule …
const BLOCKS: usize = 8;
/// … and at most so many: the kernel keeps a list of mappings.
const MOST_BLOCKS: usize = 128;
/// Bytes of a block.
const LEAST_BLOCK: usize = 4 << 10;
const MOST_BLOCK: usize = 4 << 20;
/// What a copy takes on the average, for the size of the table.
const AVERAGE: usize = 160;
/// Uses that are counted.
const MOST_USES: u8 = 3;

/// Before each op: location, LSN, generation, tag, length, uses.
const HEADER: usize = 32;
const LSN_AT: usize = 8;
const GENERATION_AT: usize = 16;
const TAG_AT: usize = 20;
const LEN_AT: usize = 24;
const USES_AT: usize = 28;

struct Header {
    location: u64,
    lsn: u64,
    generation: u32,
    tag: u32,
    len: u32,
    uses: u8,
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..LSN_AT].copy_from_slice(&self.location.to_le_bytes());
        bytes[LSN_AT..GENERATION_AT].copy_from_slice(&self.lsn.to_le_bytes());
        bytes[GENERATION_AT..TAG_AT].copy_from_slice(&self.generation.to_le_bytes());
        bytes[TAG_AT..LEN_AT].copy_from_slice(&self.tag.to_le_bytes());
        bytes[LEN_AT..USES_AT].copy_from_slice(&self.len.to_le_bytes());
        bytes[USES_AT] = self.uses;
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let u64_at = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let u32_at = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        Some(Self {
            location: u64_at(0),
            lsn: u64_at(LSN_AT),
            generation: u32_at(GENERATION_AT),
            tag: u32_at(TAG_AT),
            len: u32_at(LEN_AT),
            uses: bytes[USES_AT],
        })
    }

    fn is_of(&self, of: CopyOf) -> bool {
        self.location == of.location.bits() && self.generation == of.generation.0
    }
}

/// Two queues and a table over both.
pub(super) struct Part {
    block: usize,
    short: Ring,
    long: Ring,
    /// Blocks that both may have; 0: there are no copies.
    blocks: usize,
    spare: Option<Block>,
    table: Table,
    hits: u64,
    dropped: u64,
}

impl Default for Part {
    fn default() -> Self {
        let block = LEAST_BLOCK;
        let (short, long) = (Ring::new(block), Ring::new(block));
        Self { block, short, long, blocks: 0, spare: None, table: Table::new(0), hits: 0, dropped: 0 }
    }
}

fn tag(of: CopyOf) -> u32 {
    (of.hash.0 >> TAG_SHIFT) as u32
}

impl Part {
    /// Nothing, in blocks of this size from now on.
    fn with_blocks_of(&self, block: usize) -> Self {
        Self { block, short: Ring::new(block), long: Ring::new(block), hits: self.hits, dropped: self.dropped, ..Self::default() }
    }

    pub(super) fn figures(&self) -> CopyFigures {
        let blocks = self.short.blocks() + self.long.blocks() + usize::from(self.spare.is_some());
        let bytes = blocks * self.block + self.table.bytes();
        CopyFigures { records: self.table.len() as u64, bytes: bytes as u64, hits: self.hits, dropped: self.dropped }
    }

    pub(super) fn set_budget(&mut self, bytes: usize) {
        let entries = bytes / AVERAGE;
        let table = Table::new(entries);
        let for_blocks = bytes.saturating_sub(table.bytes());
        if self.blocks == 0 || !(LEAST_BLOCKS..=MOST_BLOCKS).contains(&(for_blocks / self.block)) {
            let block = (for_blocks / BLOCKS).clamp(LEAST_BLOCK, MOST_BLOCK);
            let block = if block.is_power_of_two() { block } else { block.next_power_of_two() / 2 };
            if block != self.block || for_blocks < LEAST_BLOCKS * block {
                *self = self.with_blocks_of(block);
            }
        }
        self.blocks = for_blocks / self.block;
        if self.blocks < LEAST_BLOCKS {
            self.blocks = 0;
            return;
        }
        while self.short.blocks() + self.long.blocks() >= self.blocks || self.table.len() > entries {
            if !self.drop_oldest() {
                break;
            }
        }
        self.spare = None;
        let old = std::mem::replace(&mut self.table, table);
        for (tag, place) in old.entries() {
            self.table.insert(tag, place);
        }
    }

    /// Drops the oldest block of the long queue, or of the short one; false if there is none.
    fn drop_oldest(&mut self) -> bool {
        let (block, queue) = match self.long.pop_block() {
            Some(block) => (Some(block), LONG),
            None => (self.short.pop_block(), 0),
        };
        let Some(block) = block else { return false };
        each(&block, |place, header, _| {
            self.dropped += u64::from(self.table.remove(header.tag, place.0 | queue));
        });
        true
    }

    fn at(&self, place: u32) -> Option<&[u8]> {
        let ring = if place & LONG == 0 { &self.short } else { &self.long };
        ring.at(RingPlace(place & !LONG))
    }

    fn bytes_mut(&mut self, place: u32, at: usize) -> Option<&mut [u8]> {
        let ring = if place & LONG == 0 { &mut self.short } else { &mut self.long };
        ring.byte_mut(RingPlace(place & !LONG), at)
    }

    fn find(&self, of: CopyOf) -> Option<u32> {
        let is_wanted = |place| self.at(place).and_then(Header::decode).is_some_and(|header| header.is_of(of));
        self.table.find(tag(of), is_wanted)
    }

    pub(super) fn show<R>(&mut self, of: CopyOf, show: impl FnOnce(Lsn, &[u8]) -> R) -> Option<R> {
        let place = self.find(of)?;
        let header = Header::decode(self.at(place)?)?;
        self.hits += 1;
        if header.uses < MOST_USES
            && let Some(uses) = self.bytes_mut(place, USES_AT).and_then(<[u8]>::first_mut)
        {
            *uses += 1;
        }
        let op = self.at(place)?.get(HEADER..HEADER + header.len as usize)?;
        Some(show(Lsn(header.lsn), op))
    }

    pub(super) fn insert(&mut self, of: CopyOf, lsn: Lsn, op: &[u8]) {
        // Longer ones would leave much of each block unused.
        if self.blocks == 0 || HEADER + op.len() > self.block / 2 || self.find(of).is_some() {
            return;
        }
        // A copy of an older record of the key, or of another key that has the tag: one of the two will do.
        if let Some(place) = self.table.find(tag(of), |_| true) {
            self.table.remove(tag(of), place);
        }
        let header =
            Header { location: of.location.bits(), lsn: lsn.0, generation: of.generation.0, tag: tag(of), len: op.len() as u32, uses: 0 };
        let encoded = header.encode();
        while self.table.is_full() || !self.short.fits(HEADER + op.len()) {
            if !self.make_room() {
                return;
            }
        }
        let place = self.short.push([&encoded, op]);
        self.table.insert(header.tag, place.0);
    }

    /// Makes room in the short queue, by a new block or by passing on its oldest; false without memory.
    fn make_room(&mut self) -> bool {
        let most_short = (self.blocks / SHORT_SHARE).max(1);
        if self.short.blocks() < most_short && !self.table.is_full() {
            return self.short.add_block(self.spare.take());
        }
        let Some(oldest) = self.short.pop_block() else { return self.drop_oldest() };
        let has_room = self.long.blocks() + most_short + 1 < self.blocks && !self.table.is_full();
        self.pass_on(&oldest, 0, usize::MAX, |uses| has_room || uses > 0);
        self.spare = Some(oldest);
        if self.table.is_full() { self.drop_oldest() } else { true }
    }

    /// Puts the records of a block of `queue` that are still wanted at the end of the long queue, up to `most` bytes of them.
    fn pass_on(&mut self, block: &Block, queue: u32, most: usize, stays: impl Fn(u8) -> bool) {
        let mut passed = 0;
        each(block, |place, header, op| {
            if !self.table.remove(header.tag, place.0 | queue) {
                return;
            }
            let len = HEADER + op.len();
            if !stays(header.uses) || passed + len > most || !self.has_room_in_long(len, queue == 0) {
                self.dropped += 1;
                return;
            }
            passed += len;
            let kept = Header { uses: header.uses.saturating_sub(1), ..header };
            let place = self.long.push([&kept.encode(), op]);
            self.table.insert(kept.tag, place.0 | LONG);
        });
    }

    /// Whether the long queue takes `len` bytes, if need be at the cost of its oldest block.
    fn has_room_in_long(&mut self, len: usize, may_drop: bool) -> bool {
        if self.long.fits(len) {
            return true;
        }
        let most = self.blocks - (self.blocks / SHORT_SHARE).max(1) - 1;
        if self.long.blocks() < most {
            return self.long.add_block(self.spare.take());
        }
        if !may_drop {
            return false;
        }
        let Some(oldest) = self.long.pop_block() else { return false };
        // No more than three quarters come round again, so that there is always room for what is new.
        if !self.long.add_block(self.spare.take()) {
            self.pass_on(&oldest, LONG, 0, |_| false);
            return false;
        }
        self.pass_on(&oldest, LONG, self.block / 4 * 3, |uses| uses > 0);
        self.spare = Some(oldest);
        self.long.fits(len)
    }

    pub(super) fn moved(&mut self, of: CopyOf, to: (Location, Generation)) {
        if let Some(place) = self.find(of)
            && let Some(header) = self.bytes_mut(place, 0)
        {
            header[..LSN_AT].copy_from_slice(&to.0.bits().to_le_bytes());
            header[GENERATION_AT..TAG_AT].copy_from_slice(&to.1.0.to_le_bytes());
        }
    }
}

/// Calls `visit` with each record of a block.
fn each(block: &Block, mut visit: impl FnMut(RingPlace, Header, &[u8])) {
    let mut at = 0;
    while let Some((place, bytes)) = block.at(at)
        && let Some(header) = Header::decode(bytes)
        && let Some(op) = bytes.get(HEADER..HEADER + header.len as usize)
    {
        at += (HEADER + op.len()).next_multiple_of(8);
        visit(place, header, op);
    }
}
