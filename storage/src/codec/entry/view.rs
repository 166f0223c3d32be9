//! Reading entries.

use super::{EntryHead, EntryHeader};
use crate::codec::DecodeError;
use crate::codec::checksum::{LsnSeed, ShardSeed, crc};
use crate::codec::frame::LENGTH_OFFSET;
use crate::codec::op::{OpHeader, OpPlace, OpView};

/// A whole entry whose every byte has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryView<'a> {
    header: EntryHeader,
    bytes: &'a [u8],
}

impl<'a> EntryView<'a> {
    /// Checks and decodes the entry at the front of `bytes`.
    ///
    /// An entry that is sound but holds an op of a later version gives that op's error, which
    /// [`is_unsupported`](DecodeError::is_unsupported).
    pub fn parse(bytes: &'a [u8], seed: ShardSeed) -> Result<Self, DecodeError> {
        let header = EntryHeader::parse(bytes)?;
        let bytes = bytes.get(..header.len as usize).ok_or(DecodeError::CutOff)?;
        let entry = Self { header, bytes };
        entry.verify(seed.lsn(header.head.lsn))?;
        Ok(entry)
    }

    /// Decodes the entry at the front of bytes that were checked before, or that this process wrote: nothing is hashed again.
    pub fn trusted(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let header = EntryHeader::parse(bytes)?;
        let bytes = bytes.get(..header.len as usize).ok_or(DecodeError::CutOff)?;
        Ok(Self { header, bytes })
    }

    fn verify(&self, seed: LsnSeed) -> Result<(), DecodeError> {
        let mut frame_crc = seed.crc(&self.bytes[LENGTH_OFFSET..self.header.header_len as usize]);
        let mut at = self.header.header_len as usize;
        let mut count = 0;
        // The number that the next op has at least: a cleaned entry lacks some.
        let mut next_number = 0;
        let mut unsupported = None;
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            let place = OpHeader::place_of(rest)?;
            let number = place.map_or(0, |place| place.number);
            let (len, judged) = OpView::parse_verified(rest, seed.op(number))?;
            // The length of an entry is a u32.
            let expected = self.header.multi.then_some(OpPlace { distance: at as u32, number });
            if place != expected || number < next_number {
                return Err(DecodeError::OpsMismatch);
            }
            if let Err(error) = judged {
                if !error.is_unsupported() {
                    return Err(error);
                }
                // Said only when the whole entry has proved sound.
                unsupported = unsupported.or(Some(error));
            }
            frame_crc = crc(frame_crc, &rest[..4]);
            at += len;
            count += 1;
            next_number = number.checked_add(1).ok_or(DecodeError::OpsMismatch)?;
        }
        if frame_crc != self.header.crc {
            return Err(DecodeError::Checksum);
        }
        if count != self.header.ops {
            return Err(DecodeError::OpsMismatch);
        }
        unsupported.map_or(Ok(()), Err)
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &EntryHeader {
        &self.header
    }

    /// LSN, epoch, time.
    #[must_use]
    pub fn head(&self) -> EntryHead {
        self.header.head
    }

    /// All its bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its ops, each with its distance from the start of the entry.
    #[must_use]
    pub fn ops(&self) -> Ops<'a> {
        Ops { bytes: self.bytes, at: self.header.header_len }
    }
}

/// The ops of a checked entry.
#[derive(Debug, Clone)]
pub struct Ops<'a> {
    bytes: &'a [u8],
    at: u32,
}

impl<'a> Iterator for Ops<'a> {
    type Item = (u32, OpView<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        // The entry was checked as a whole: an op that does not decode can only be the end.
        let op = OpView::parse(self.bytes.get(at as usize..)?).ok()?;
        self.at += op.bytes.len() as u32;
        Some((at, op))
    }
}
