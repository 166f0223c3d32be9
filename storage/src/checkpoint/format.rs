//! The bytes of a checkpoint file. Derived data: a version that is not ours is ignored and the log is replayed from its start.
//!
//! ```text
//! head      magic 8 | version 4 | 0 4 | replay from LSN 8 | key hash seed 8 | tables: LSN 8, next id 4, 16 × (id 4, slot 1) | CRC 4
//! section   kind 1 | table slot 1 | stripe 2 | count 4 | LSN 8 | payload | CRC 4      as often as needed
//!             kind 1: count cells of 12 bytes      kind 2: count × (slot in stripe 4, keys 4, expires 4, bytes 8, digest 16)
//!             kind 3: the end, count = number of sections before it      kind 4: about count cells of this table follow
//!             kind 5: T 8, of the `expired up to` entry with this LSN; not there if there was none
//!             kind 6: the last `evict` entry has this LSN; not there if there was none
//! ```

use crate::codec::checksum::crc;
use crate::index::{SlotCounters, StoredCell, TableMap, TableSlot};
use crate::types::{DATABASES, Db, Lsn};

pub(super) const MAGIC: [u8; 8] = *b"ESKERCKP";
pub(super) const VERSION: u32 = 1;
pub(super) const HEAD: usize = 8 + 4 + 4 + 8 + 8 + 8 + 4 + DATABASES as usize * 5 + 4;
pub(super) const SECTION_HEAD: usize = 16;
pub(super) const CELL: usize = 12;
pub(super) const COUNTERS: usize = 36;

pub(super) const CELLS: u8 = 1;
pub(super) const SLOT_COUNTERS: u8 = 2;
pub(super) const END: u8 = 3;
pub(super) const EXPECT: u8 = 4;
pub(super) const EXPIRED: u8 = 5;
pub(super) const EVICTED: u8 = 6;

/// What the head of a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) replay_from: Lsn,
    pub(super) key_hash_seed: u64,
    pub(super) tables: TableMap,
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.replay_from.0.to_le_bytes());
        out.extend(self.key_hash_seed.to_le_bytes());
        out.extend(self.tables.lsn.0.to_le_bytes());
        out.extend(self.tables.next_id().0.to_le_bytes());
        for db in (0..DATABASES).map(Db) {
            out.extend(self.tables.id(db).0.to_le_bytes());
            out.push(self.tables.slot(db).number() as u8);
        }
        out.extend(crc(0, &out).to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; HEAD]) -> Option<Self> {
        let (body, stored) = bytes.split_at(HEAD - 4);
        let u32_at = |at: usize| body.get(at..at + 4).and_then(|b| b.first_chunk()).map(|b| u32::from_le_bytes(*b));
        let u64_at = |at: usize| body.get(at..at + 8).and_then(|b| b.first_chunk()).map(|b| u64::from_le_bytes(*b));
        if body[..8] != MAGIC || u32_at(8)? != VERSION || stored != crc(0, body).to_le_bytes() {
            return None;
        }
        let mut entries = Vec::new();
        for db in 0..usize::from(DATABASES) {
            let at = 44 + db * 5;
            entries.push((u32_at(at)?, *body.get(at + 4)?));
        }
        let tables = TableMap::from_parts(&entries, u32_at(40)?, Lsn(u64_at(32)?))?;
        Some(Self { replay_from: Lsn(u64_at(16)?), key_hash_seed: u64_at(24)?, tables })
    }
}

/// The head of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) kind: u8,
    pub(super) table: u8,
    pub(super) stripe: u16,
    pub(super) count: u32,
    pub(super) lsn: Lsn,
}

impl Section {
    pub(super) fn payload_len(&self) -> Option<usize> {
        match self.kind {
            CELLS => Some(self.count as usize * CELL),
            SLOT_COUNTERS if self.count <= 64 => Some(self.count as usize * COUNTERS),
            END | EXPECT | EVICTED => Some(0),
            EXPIRED => Some(8),
            _ => None,
        }
    }

    /// Appends the section with the payload that `fill` appends.
    pub(super) fn encode(&self, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.push(self.kind);
        out.push(self.table);
        out.extend(self.stripe.to_le_bytes());
        out.extend(self.count.to_le_bytes());
        out.extend(self.lsn.0.to_le_bytes());
        fill(out);
        let crc = crc(0, &out[start..]);
        out.extend(crc.to_le_bytes());
    }

    pub(super) fn decode(bytes: &[u8; SECTION_HEAD]) -> Self {
        let [kind, table, s0, s1, c0, c1, c2, c3, lsn @ ..] = *bytes;
        Self {
            kind,
            table,
            stripe: u16::from_le_bytes([s0, s1]),
            count: u32::from_le_bytes([c0, c1, c2, c3]),
            lsn: Lsn(u64::from_le_bytes(lsn)),
        }
    }
}

pub(super) fn put_cell(out: &mut Vec<u8>, cell: &StoredCell) {
    out.extend(cell.word.to_le_bytes());
    out.extend(cell.extra.to_le_bytes());
}

pub(super) fn cell(bytes: &[u8; CELL]) -> StoredCell {
    let [w @ .., e0, e1, e2, e3] = *bytes;
    StoredCell { word: u64::from_le_bytes(w), extra: u32::from_le_bytes([e0, e1, e2, e3]) }
}

pub(super) fn put_counters(out: &mut Vec<u8>, slot_in_stripe: u32, counters: &SlotCounters) {
    out.extend(slot_in_stripe.to_le_bytes());
    out.extend(counters.keys.to_le_bytes());
    out.extend(counters.expires.to_le_bytes());
    out.extend(counters.bytes.to_le_bytes());
    out.extend(counters.digest.to_le_bytes());
}

pub(super) fn counters(bytes: &[u8; COUNTERS]) -> Option<(u32, SlotCounters)> {
    let (slot, rest) = bytes.split_first_chunk()?;
    let (keys, rest) = rest.split_first_chunk()?;
    let (expires, rest) = rest.split_first_chunk()?;
    let (bytes, rest) = rest.split_first_chunk()?;
    let counters = SlotCounters {
        keys: u32::from_le_bytes(*keys),
        expires: u32::from_le_bytes(*expires),
        bytes: u64::from_le_bytes(*bytes),
        digest: u128::from_le_bytes(*rest.first_chunk()?),
    };
    Some((u32::from_le_bytes(*slot), counters))
}

pub(super) fn table_slot(number: u8) -> Option<TableSlot> {
    TableSlot::new(number)
}
