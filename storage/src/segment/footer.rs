//! Footers: what a sealed segment holds, and hints from which an index is rebuilt without reading values.
//!
//! ```text
//! 0       10      18     26     34        42    50       66           74          82      86
//! ┌───────┬───────┬──────┬──────┬─────────┬─────┬────────┬────────────┬───────────┬───────┬───────┬────────┐
//! │ frame │ first │ last │ seen │ entries │ ops │ digest │ first time │ last time │ count │ hints │ offset │
//! └───────┴───────┴──────┴──────┴─────────┴─────┴────────┴────────────┴───────────┴───────┴───────┴────────┘
//! ```

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::SEGMENT_HEADER;
use crate::codec::checksum::ShardSeed;
use crate::codec::entry::EntryView;
use crate::codec::frame::{FRAME_START, FrameKind, FrameStart, LENGTH_OFFSET};
use crate::codec::op::OpCode;
use crate::codec::{DecodeError, Input, set_u32};
use crate::error::StorageError;
use crate::fs::File;
use crate::types::{KeyHash, Lsn, TableId, UnixMillis};

/// Bytes before the hints.
pub(super) const HEAD: usize = FRAME_START + 5 * 8 + 16 + 2 * 8 + 4;
const _: () = assert!(HEAD == 86);
/// Offset of the number of ops.
const OPS_AT: u64 = 42;
/// Bytes of a hint.
const HINT: usize = 8 + 4 + 3 + 1;
const _: () = assert!(HINT == 16);
/// Bytes of the footer's own offset, at the very end of the file.
pub const FOOTER_OFFSET_LEN: usize = 8;

/// The greatest table id that fits in a hint.
const LAST_HINTED_TABLE: u32 = (1 << 24) - 2;
/// Stands for any greater one: the op must be asked.
const TABLE_IN_OP: u32 = (1 << 24) - 1;

/// Where the op of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// Hash of the key.
    pub key_hash: KeyHash,
    /// Offset of the op in the segment.
    pub offset: u32,
    /// The table; `None`: its id is too great for a hint, the op has it.
    pub table: Option<TableId>,
    /// What the op does.
    pub code: OpCode,
}

/// The last frame of a sealed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// First LSN, the base if there are no entries.
    pub first: Lsn,
    /// Last LSN, the one before the base if there are no entries.
    pub last: Lsn,
    /// The highest LSN consulted when records were dropped; 0: none were.
    pub seen: Lsn,
    /// Number of entries.
    pub entries: u64,
    /// Number of ops.
    pub ops: u64,
    /// Digest of the bytes between header and footer.
    pub digest: u128,
    /// Time of the first entry.
    pub first_time: UnixMillis,
    /// Time of the last entry.
    pub last_time: UnixMillis,
    /// One an op with a key, in log order.
    pub hints: Vec<Hint>,
}

/// The digest of a segment of which `bytes` is everything up to its footer.
#[must_use]
pub fn segment_digest(bytes: &[u8]) -> u128 {
    xxh3_128(bytes.get(SEGMENT_HEADER..).unwrap_or_default())
}

/// The hash of a key under the shard's key hash seed.
#[inline]
#[must_use]
pub fn key_hash(key: &[u8], seed: u64) -> KeyHash {
    KeyHash(xxh3_64_with_seed(key, seed))
}

impl Footer {
    /// Bytes of a footer with this many hints.
    #[must_use]
    pub fn encoded_len(hints: usize) -> usize {
        HEAD + hints * HINT + FOOTER_OFFSET_LEN
    }

    /// The frame, to be written at `offset` of the segment, the file's last.
    #[must_use]
    pub fn encode(&self, seed: ShardSeed, offset: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::encoded_len(self.hints.len()));
        bytes.extend(self.head(self.hints.len()));
        for hint in &self.hints {
            hint.encode(&mut bytes);
        }
        bytes.extend(offset.to_le_bytes());
        let crc = seed.crc(&bytes[LENGTH_OFFSET..]);
        set_u32(&mut bytes, 0, crc);
        bytes
    }

    /// What precedes the hints, without the CRC.
    pub(super) fn head(&self, hints: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD);
        let frame_len =
            u32::try_from(Self::encoded_len(hints)).expect("a segment is below 1 GiB, and an op takes more bytes than its hint");
        bytes.extend(FrameStart::encode(FrameKind::Footer, 0, frame_len));
        for field in [self.first.0, self.last.0, self.seen.0, self.entries, self.ops] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(self.digest.to_le_bytes());
        bytes.extend(self.first_time.0.to_le_bytes());
        bytes.extend(self.last_time.0.to_le_bytes());
        bytes.extend((hints as u32).to_le_bytes());
        debug_assert_eq!(bytes.len(), HEAD);
        bytes
    }

    /// Of no entries, for a segment that begins at `base`.
    pub(super) fn empty(base: Lsn) -> Self {
        Self {
            first: base,
            last: Lsn(base.0.saturating_sub(1)),
            seen: Lsn(0),
            entries: 0,
            ops: 0,
            digest: 0,
            first_time: UnixMillis(0),
            last_time: UnixMillis(0),
            hints: Vec::new(),
        }
    }

    /// Counts an entry; its hints are the caller's.
    pub(super) fn count(&mut self, entry: &EntryView<'_>) {
        let head = entry.head();
        if self.entries == 0 {
            self.first = head.lsn;
            self.first_time = head.time;
        }
        self.last = head.lsn;
        self.last_time = head.time;
        self.entries += 1;
        self.ops += u64::from(entry.header().ops);
    }

    /// Where the footer begins, as the last bytes of a sealed file state it. To be believed only if [`Footer::parse`] does.
    #[must_use]
    pub fn offset_at_end(file: &[u8]) -> Option<u64> {
        file.last_chunk::<FOOTER_OFFSET_LEN>().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Where the footer of a sealed file begins, and its bytes: for [`FooterView::parse`].
    pub(crate) fn read(file: &dyn File) -> Result<(u64, Vec<u8>), StorageError> {
        let io = |action| StorageError::io(action, file.path());
        let end = file.len().map_err(io("measure"))?;
        let mut word = [0; FOOTER_OFFSET_LEN];
        let at = end.saturating_sub(FOOTER_OFFSET_LEN as u64);
        file.read_at(at, &mut word).map_err(io("read"))?;
        let offset = u64::from_le_bytes(word);
        if !(SEGMENT_HEADER as u64..at).contains(&offset) {
            let reason = format!("a footer at {offset} cannot be");
            return Err(StorageError::Corrupt { path: file.path().to_owned(), offset: at, lsn: Lsn(0), reason });
        }
        let mut bytes = vec![0; (end - offset) as usize];
        file.read_at(offset, &mut bytes).map_err(io("read"))?;
        Ok((offset, bytes))
    }

    /// The number of ops that the footer of a sealed file states, without a check: a hint.
    pub(crate) fn ops_of(file: &dyn File) -> Option<u64> {
        let end = file.len().ok()?;
        let mut word = [0; 8];
        file.read_at(end.checked_sub(FOOTER_OFFSET_LEN as u64)?, &mut word).ok()?;
        let offset = u64::from_le_bytes(word);
        file.read_at(offset.checked_add(OPS_AT)?, &mut word).ok()?;
        // More than one op in two bytes cannot be.
        Some(u64::from_le_bytes(word)).filter(|ops| *ops < end)
    }

    /// Checks and decodes the footer at the front of `bytes`, which begin at `offset` of the segment.
    pub fn parse(bytes: &[u8], offset: u64, seed: ShardSeed) -> Result<Self, DecodeError> {
        FooterView::parse(bytes, offset, seed).map(|view| view.to_footer())
    }
}

/// A footer that passed its checks; its hints stay where they are, so that reading a segment takes no memory for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FooterView<'a> {
    /// All but the hints.
    footer: Footer,
    hints: &'a [u8],
}

impl<'a> FooterView<'a> {
    /// Checks the footer at the front of `bytes`, which begin at `offset` of the segment.
    pub fn parse(bytes: &'a [u8], offset: u64, seed: ShardSeed) -> Result<Self, DecodeError> {
        let start = FrameStart::parse(bytes)?;
        if start.kind != FrameKind::Footer {
            return Err(DecodeError::FrameKind(start.kind.to_byte()));
        }
        let frame = bytes.get(..start.len as usize).ok_or(DecodeError::CutOff)?;
        if seed.crc(&frame[LENGTH_OFFSET..]) != start.crc {
            return Err(DecodeError::Checksum);
        }
        if start.flags != 0 {
            return Err(DecodeError::Flags(start.flags));
        }
        Self::parse_fields(Input::new(&frame[FRAME_START..]), offset)
    }

    fn parse_fields(mut input: Input<'a>, offset: u64) -> Result<Self, DecodeError> {
        let mut footer = Footer::empty(Lsn(0));
        (footer.first, footer.last, footer.seen) = (Lsn(input.u64()?), Lsn(input.u64()?), Lsn(input.u64()?));
        (footer.entries, footer.ops, footer.digest) = (input.u64()?, input.u64()?, input.u128()?);
        (footer.first_time, footer.last_time) = (UnixMillis(input.i64()?), UnixMillis(input.i64()?));
        let count = input.u32()? as usize;
        if input.rest().len() as u64 != count as u64 * HINT as u64 + FOOTER_OFFSET_LEN as u64 {
            return Err(DecodeError::Length);
        }
        let hints = input.take(count * HINT)?;
        hints.as_chunks().0.iter().try_for_each(|bytes| Hint::parse(bytes).map(drop))?;
        if input.u64()? != offset {
            return Err(DecodeError::Field("footer offset"));
        }
        Ok(Self { footer, hints })
    }

    /// Ops of all kinds.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.footer.ops
    }

    /// Ops with a key: each has a hint.
    #[must_use]
    pub fn hint_count(&self) -> u64 {
        (self.hints.len() / HINT) as u64
    }

    /// Digest of the bytes between header and footer.
    #[must_use]
    pub fn digest(&self) -> u128 {
        self.footer.digest
    }

    /// The hints, one an op with a key, in log order.
    pub fn hints(&self) -> impl Iterator<Item = Hint> + 'a {
        self.hints.as_chunks().0.iter().filter_map(|bytes| Hint::parse(bytes).ok())
    }

    /// The same with the hints in memory of its own.
    #[must_use]
    pub fn to_footer(&self) -> Footer {
        Footer { hints: self.hints().collect(), ..self.footer.clone() }
    }
}

impl Hint {
    /// The hints of the entry that begins at `offset` of the segment.
    pub(super) fn of_entry<'e>(entry: &'e EntryView<'_>, offset: u32, key_hash_seed: u64) -> impl Iterator<Item = Self> + 'e {
        entry.ops().filter(|(_, op)| op.header.code.has_key()).map(move |(distance, op)| Self {
            key_hash: key_hash(op.key, key_hash_seed),
            offset: offset + distance,
            table: (op.header.table.0 <= LAST_HINTED_TABLE).then_some(op.header.table),
            code: op.header.code,
        })
    }

    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        to.extend(self.key_hash.0.to_le_bytes());
        to.extend(self.offset.to_le_bytes());
        let table = self.table.map_or(TABLE_IN_OP, |table| table.0.min(TABLE_IN_OP));
        to.extend(&table.to_le_bytes()[..3]);
        to.push(self.code.to_byte());
    }

    fn parse(bytes: &[u8; HINT]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let (key_hash, offset) = (KeyHash(input.u64()?), input.u32()?);
        let table_and_code = input.u32()?;
        let table = table_and_code & TABLE_IN_OP;
        let code = OpCode::from_byte((table_and_code >> 24) as u8)?;
        if !code.has_key() {
            return Err(DecodeError::Field("op code of a hint"));
        }
        Ok(Self { key_hash, offset, table: (table <= LAST_HINTED_TABLE).then_some(TableId(table)), code })
    }
}
