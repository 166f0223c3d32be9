//! Gathers footers: in memory, or with little of it: hints leave in pieces while the entries are counted, what precedes them comes last.
//!
//! Invariants of the latter:
//! - Nothing is written where the footer begins before all else is: cut short, there is no frame, and the segment is sealed again.
//! - Memory is bounded by [`PIECE`] and the hints of one entry, whatever the size of the segment.

use super::footer::{Footer, HEAD, Hint, segment_digest};
use crate::codec::checksum::{RestSum, ShardSeed};
use crate::codec::entry::EntryView;
use crate::codec::frame::LENGTH_OFFSET;
use crate::codec::op::OpCode;
use crate::codec::set_u32;
use crate::error::Result;
use crate::types::Lsn;

/// Bytes of hints written at a time.
const PIECE: usize = 64 << 10;

/// Gathers a footer from the entries of a segment, in memory: 24 bytes an op. See [`FooterWriter`].
#[derive(Debug)]
pub struct FooterBuilder {
    key_hash_seed: u64,
    footer: Footer,
}

impl FooterBuilder {
    /// A footer of no entries, for a segment that begins at `base`.
    #[must_use]
    pub fn new(base: Lsn, key_hash_seed: u64) -> Self {
        Self { key_hash_seed, footer: Footer::empty(base) }
    }

    /// Counts the entry that begins at `offset` of the segment.
    pub fn add(&mut self, offset: u32, entry: &EntryView<'_>) {
        self.footer.count(entry);
        self.footer.hints.extend(Hint::of_entry(entry, offset, self.key_hash_seed));
    }

    /// The footer. `bytes` is the segment up to where the footer goes; `seen` the highest LSN consulted to drop records.
    #[must_use]
    pub fn finish(mut self, bytes: &[u8], seen: Lsn) -> Footer {
        self.footer.digest = segment_digest(bytes);
        self.footer.seen = seen;
        self.footer
    }
}

/// Gathers a footer from the entries of a segment and hands it on in pieces.
pub struct FooterWriter<W> {
    key_hash_seed: u64,
    footer: Footer,
    /// Where the footer begins.
    offset: u64,
    hints: usize,
    tombstones: u64,
    piece: Vec<u8>,
    /// Where the piece begins.
    at: u64,
    sum: RestSum,
    write: W,
}

impl<W: FnMut(u64, &[u8]) -> Result<()>> FooterWriter<W> {
    /// A footer of no entries, for a segment that begins at `base`; it goes to `offset`. `write` gets offsets and bytes.
    pub fn new(base: Lsn, key_hash_seed: u64, offset: u64, write: W) -> Self {
        let at = offset + HEAD as u64;
        let piece = Vec::with_capacity(PIECE);
        Self { key_hash_seed, footer: Footer::empty(base), offset, hints: 0, tombstones: 0, piece, at, sum: RestSum::default(), write }
    }

    /// Counts the entry that begins at `offset` of the segment.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn add(&mut self, offset: u32, entry: &EntryView<'_>) -> Result<()> {
        self.footer.count(entry);
        for hint in Hint::of_entry(entry, offset, self.key_hash_seed) {
            hint.encode(&mut self.piece);
            self.tombstones += u64::from(hint.code == OpCode::Tombstone);
            self.hints += 1;
        }
        if self.piece.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    /// Ops counted so far, and how many of them give a key a value.
    pub fn counts(&self) -> (u64, u64) {
        (self.footer.ops, self.hints as u64 - self.tombstones)
    }

    fn flush(&mut self) -> Result<()> {
        self.sum.update(&self.piece);
        (self.write)(self.at, &self.piece)?;
        self.at += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    /// Writes what is missing and returns the end of the file. `bytes` is the segment up to the footer; `seen` the highest LSN
    /// consulted to drop records.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn finish(mut self, bytes: &[u8], seen: Lsn, seed: ShardSeed) -> Result<u64> {
        debug_assert_eq!(bytes.len() as u64, self.offset);
        self.piece.extend(self.offset.to_le_bytes());
        self.flush()?;
        self.footer.digest = segment_digest(bytes);
        self.footer.seen = seen;
        let mut head = self.footer.head(self.hints);
        let crc = seed.crc_with_rest(&head[LENGTH_OFFSET..], &self.sum);
        set_u32(&mut head, 0, crc);
        (self.write)(self.offset, &head)?;
        Ok(self.at)
    }
}
