//! The file header: whether the index may be trusted, which tables exist, from where the log is replayed, and what counts as expired.
//!
//! ```text
//! 0 magic `ESKERIDX` | 8 version 4 | 12 state 4: 0 being built, 1 complete | 16 clean 8 | 64 tables, 2 x 192
//! 512 trust, 2 x 128 | 768 replay position, 2 x 64 | 896 expired up to, 2 x 64 | 1024 last eviction, 2 x 64
//! record copy: 0 sequence 8 | 8 words | CRC-32 of both, bit 63 set
//! ```
//!
//! Invariants:
//! - A record of several words has two copies; a new one overwrites the older, whose check is cleared first and set last. A kill
//!   at any store leaves the old record or the new.

use super::pages::{Pages, order_point};
use crate::fs::FileIdentity;
use crate::types::{Lsn, SegmentId, UnixMillis};

use super::tables::TableMap;

/// First bytes of the file.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"ESKERIDX");
/// Version of the index's format; it is derived data, so another version is simply built again.
pub(super) const VERSION: u32 = 1;

const VERSION_AT: usize = 8;
const STATE_AT: usize = 12;
const CLEAN_AT: usize = 16;
const TABLES: Record<{ TableMap::WORDS }> = Record { at: 64, stride: 192 };
const TRUST: Record<{ Trust::WORDS }> = Record { at: 512, stride: 128 };
const REPLAY: Record<3> = Record { at: 768, stride: 64 };
const EXPIRED: Record<2> = Record { at: 896, stride: 64 };
const EVICTED: Record<1> = Record { at: 1024, stride: 64 };

const COMPLETE: u32 = 1;
const CHECKED: u64 = 1 << 63;

const _: () = assert!(8 * (TableMap::WORDS + 2) <= TABLES.stride && TABLES.at + 2 * TABLES.stride <= TRUST.at);
const _: () = assert!(8 * (Trust::WORDS + 2) <= TRUST.stride && TRUST.at + 2 * TRUST.stride <= REPLAY.at);
const _: () = assert!(8 * (3 + 2) <= REPLAY.stride && REPLAY.at + 2 * REPLAY.stride <= EXPIRED.at);
const _: () = assert!(8 * (2 + 2) <= EXPIRED.stride && EXPIRED.at + 2 * EXPIRED.stride <= EVICTED.at);
const _: () = assert!(8 * (1 + 2) <= EVICTED.stride && EVICTED.at + 2 * EVICTED.stride <= super::layout::HEADER);

/// What an index must agree with to be used as it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// The kernel's boot id: after a restart of the machine, pages may be missing.
    pub boot_id: [u8; 16],
    /// Identity of the index file.
    pub index: FileIdentity,
    /// Identity of the manifest, and of the one before it or about to replace it.
    pub manifests: [FileIdentity; 2],
    /// Seed of the key hashes.
    pub key_hash_seed: u64,
}

/// From where the log is replayed: every stripe has applied all entries before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayPosition {
    /// LSN of the first entry to look at.
    pub lsn: Lsn,
    /// The segment that holds it.
    pub segment: SegmentId,
    /// Its offset there.
    pub offset: u32,
}

/// What the last `expired up to` entry says: records that expire at `at` or before may leave the index. An index of before there were such
/// entries holds none, which is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpiredMark {
    /// T of that entry.
    pub at: UnixMillis,
    /// Its LSN; 0: there was none.
    pub lsn: Lsn,
}

impl Trust {
    const WORDS: usize = 12;

    fn to_words(self) -> [u64; Self::WORDS] {
        let boot = u128::from_le_bytes(self.boot_id);
        let [a, b] = self.manifests;
        let identity = |file: FileIdentity| [file.device, file.inode, file.birth_ns];
        let ([i, j, k], [l, m, n], [o, p, q]) = (identity(self.index), identity(a), identity(b));
        [boot as u64, (boot >> 64) as u64, i, j, k, l, m, n, o, p, q, self.key_hash_seed]
    }

    fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [boot_low, boot_high, i, j, k, l, m, n, o, p, q, key_hash_seed] = words;
        let identity = |device, inode, birth_ns| FileIdentity { device, inode, birth_ns };
        Self {
            boot_id: (u128::from(boot_high) << 64 | u128::from(boot_low)).to_le_bytes(),
            index: identity(i, j, k),
            manifests: [identity(l, m, n), identity(o, p, q)],
            key_hash_seed,
        }
    }
}

/// The header of a mapped index.
pub(super) struct Header<'a>(pub &'a Pages);

impl Header<'_> {
    /// Makes a file an index that is being built.
    pub fn initialise(&self) {
        self.0.set_half(STATE_AT, 0);
        self.0.set_half(VERSION_AT, VERSION);
        self.0.set_word(0, MAGIC);
    }

    pub fn magic(&self) -> u64 {
        self.0.word(0)
    }

    pub fn version(&self) -> u32 {
        self.0.half(VERSION_AT)
    }

    pub fn is_complete(&self) -> bool {
        self.0.half(STATE_AT) == COMPLETE
    }

    pub fn set_complete(&self, complete: bool) {
        order_point();
        self.0.set_half(STATE_AT, if complete { COMPLETE } else { 0 });
        order_point();
    }

    pub fn is_clean(&self) -> bool {
        self.0.word(CLEAN_AT) == 1
    }

    pub fn set_clean(&self, clean: bool) {
        order_point();
        self.0.set_word(CLEAN_AT, clean.into());
        order_point();
    }

    pub fn trust(&self) -> Option<Trust> {
        TRUST.load(self.0).map(Trust::from_words)
    }

    pub fn set_trust(&self, trust: &Trust) {
        TRUST.store(self.0, trust.to_words());
    }

    pub fn tables(&self) -> Option<TableMap> {
        TABLES.load(self.0).and_then(TableMap::from_words)
    }

    pub fn set_tables(&self, tables: &TableMap) {
        TABLES.store(self.0, tables.to_words());
    }

    pub fn replay(&self) -> Option<ReplayPosition> {
        let [lsn, segment, offset] = REPLAY.load(self.0)?;
        Some(ReplayPosition { lsn: Lsn(lsn), segment: SegmentId(segment as u32), offset: offset as u32 })
    }

    pub fn set_replay(&self, position: ReplayPosition) {
        REPLAY.store(self.0, [position.lsn.0, position.segment.0.into(), position.offset.into()]);
    }
}

impl Header<'_> {
    pub fn expired(&self) -> Option<ExpiredMark> {
        let [at, lsn] = EXPIRED.load(self.0)?;
        Some(ExpiredMark { at: UnixMillis(at as i64), lsn: Lsn(lsn) })
    }

    pub fn set_expired(&self, mark: ExpiredMark) {
        EXPIRED.store(self.0, [mark.at.0 as u64, mark.lsn.0]);
    }

    pub fn evicted(&self) -> Option<Lsn> {
        EVICTED.load(self.0).map(|[lsn]| Lsn(lsn))
    }

    pub fn set_evicted(&self, lsn: Lsn) {
        EVICTED.store(self.0, [lsn.0]);
    }
}

/// A record of `N` words in two copies.
struct Record<const N: usize> {
    at: usize,
    stride: usize,
}

impl<const N: usize> Record<N> {
    fn load(&self, pages: &Pages) -> Option<[u64; N]> {
        self.newest(pages).map(|(_, _, words)| words)
    }

    fn store(&self, pages: &Pages, words: [u64; N]) {
        let (copy, sequence) = self.newest(pages).map_or((0, 1), |(copy, sequence, _)| (1 - copy, sequence + 1));
        let at = self.at + self.stride * copy;
        let check_at = at + 8 + 8 * N;
        pages.set_word(check_at, 0);
        order_point();
        pages.set_word(at, sequence);
        for (number, word) in words.into_iter().enumerate() {
            pages.set_word(at + 8 + 8 * number, word);
        }
        order_point();
        pages.set_word(check_at, check(sequence, &words));
        order_point();
    }

    fn newest(&self, pages: &Pages) -> Option<(usize, u64, [u64; N])> {
        let copy = |copy: usize| {
            let at = self.at + self.stride * copy;
            let words = std::array::from_fn(|word| pages.word(at + 8 + 8 * word));
            let sequence = pages.word(at);
            (pages.word(at + 8 + 8 * N) == check(sequence, &words)).then_some((copy, sequence, words))
        };
        [copy(0), copy(1)].into_iter().flatten().max_by_key(|(_, sequence, _)| *sequence)
    }
}

fn check(sequence: u64, words: &[u64]) -> u64 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&sequence.to_le_bytes());
    for word in words {
        crc.update(&word.to_le_bytes());
    }
    u64::from(crc.finalize()) | CHECKED
}
