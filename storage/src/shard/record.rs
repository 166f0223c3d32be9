//! Reading one record by its location.
//!
//! Invariants:
//! - A record that is handed out passed its CRC, or lies in a segment that is hot: written by this process or verified when it was warmed.
//! - Nothing here waits for the medium: what is not in memory is [`StorageError::Cold`].

use std::borrow::Cow;
use std::sync::Arc;

use crate::codec::checksum::ShardSeed;
use crate::codec::entry::SINGLE_HEADER;
use crate::codec::op::{OP_HEADER_MAX, OpCode, OpHeader};
use crate::error::{Result, StorageError};
use crate::log::Segment;
use crate::types::{Location, Lsn};

/// Bytes read at first of a record that is not hot: most are shorter.
const FIRST_READ: usize = 1024;
/// Offset of the LSN in an entry header.
const LSN_OFFSET: u32 = 14;

/// A record and where it lies.
#[derive(Debug)]
pub(crate) struct Record<'t> {
    bytes: Bytes<'t>,
    pub(crate) header: OpHeader,
    pub(crate) location: Location,
    lsn: EntryLsn<'t>,
}

/// The LSN of a record's entry. In a mapping it lies before the record, maybe in a cache line of its own, so it is read when asked for.
#[derive(Debug)]
enum EntryLsn<'t> {
    Mapped(Option<&'t [u8; 8]>),
    Known(Lsn),
}

#[derive(Debug)]
enum Bytes<'t> {
    Mapped(&'t [u8]),
    Owned(Vec<u8>),
    Shared(Arc<[u8]>),
}

/// A record that was fetched from disk: its op's bytes, and the LSN of its entry.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub(crate) location: Location,
    pub(crate) lsn: Lsn,
    pub(crate) bytes: Arc<[u8]>,
}

impl<'t> Record<'t> {
    /// The record at a location in a hot segment; none when the segment is not hot.
    #[inline]
    pub(crate) fn hot(segment: &'t Segment, location: Location) -> Option<Result<Self>> {
        let bytes = segment.hot_bytes(location.offset())?;
        Some(Self::in_mapping(segment, location, bytes))
    }

    #[inline]
    fn in_mapping(segment: &'t Segment, location: Location, bytes: &'t [u8]) -> Result<Self> {
        let header = OpHeader::parse(bytes).map_err(|e| corrupt(segment, location, &e.to_string()))?;
        let Some(op) = bytes.get(..header.op_len() as usize) else {
            return Err(corrupt(segment, location, "the record reaches beyond the written end"));
        };
        let lsn = lsn_bytes(segment, location, &header);
        Ok(Self { bytes: Bytes::Mapped(op), header, location, lsn: EntryLsn::Mapped(lsn) })
    }

    /// The record at a location, waiting for the medium if need be: never on a worker.
    pub(crate) fn wait(segment: &Segment, location: Location) -> Result<Fetched> {
        let mut read = |offset: u64, buf: &mut [u8]| segment.read_waiting(offset, buf).map(|()| Some(buf.len()));
        let (lsn, bytes) = read_verified(segment, location, &mut read)?.ok_or(StorageError::Cold(location))?;
        Ok(Fetched { location, lsn, bytes: bytes.into() })
    }

    /// The record at a location whose segment is not hot, if the page cache holds it.
    pub(crate) fn cached(segment: &Segment, location: Location) -> Result<Self> {
        if !segment.may_be_cached() {
            return Err(StorageError::Cold(location));
        }
        let mut read = |offset: u64, buf: &mut [u8]| {
            segment.file().read_at_nowait(offset, buf).map_err(StorageError::io("read", segment.file().path()))
        };
        let (lsn, bytes) = read_verified(segment, location, &mut read)?.ok_or(StorageError::Cold(location))?;
        let header = OpHeader::parse(&bytes).map_err(|e| corrupt(segment, location, &e.to_string()))?;
        Ok(Self { bytes: Bytes::Owned(bytes), header, location, lsn: EntryLsn::Known(lsn) })
    }

    /// A record that there is a copy of: its op's bytes, and the LSN of its entry.
    pub(crate) fn copied(location: Location, lsn: Lsn, bytes: Vec<u8>) -> Result<Self> {
        let header = OpHeader::parse(&bytes).map_err(|_| StorageError::Cold(location))?;
        Ok(Self { bytes: Bytes::Owned(bytes), header, location, lsn: EntryLsn::Known(lsn) })
    }

    /// Its op as it is in the log, if a copy of it will do: a string that is all there.
    pub(crate) fn to_copy(&self) -> Option<&[u8]> {
        (self.header.code == OpCode::Put && !self.header.value_segment).then(|| self.all())
    }

    /// A record that was fetched before.
    pub(crate) fn fetched(fetched: &Fetched) -> Result<Self> {
        let header = OpHeader::parse(&fetched.bytes).map_err(|_| StorageError::Cold(fetched.location))?;
        Ok(Self { bytes: Bytes::Shared(Arc::clone(&fetched.bytes)), header, location: fetched.location, lsn: EntryLsn::Known(fetched.lsn) })
    }

    fn all(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
        }
    }

    /// The LSN of its entry.
    #[inline]
    pub(crate) fn lsn(&self) -> Lsn {
        match self.lsn {
            EntryLsn::Mapped(bytes) => Lsn(bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))),
            EntryLsn::Known(lsn) => lsn,
        }
    }

    /// Its key.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        let start = self.header.header_len as usize;
        &self.all()[start..start + self.header.key_len as usize]
    }

    /// Its body.
    #[inline]
    pub(crate) fn body(&self) -> &[u8] {
        &self.all()[(self.header.header_len + self.header.key_len) as usize..]
    }

    /// Its body, for as long as the transaction.
    #[inline]
    pub(crate) fn into_body(self) -> Cow<'t, [u8]> {
        let start = (self.header.header_len + self.header.key_len) as usize;
        match self.bytes {
            Bytes::Mapped(bytes) => Cow::Borrowed(&bytes[start..]),
            Bytes::Owned(mut bytes) => Cow::Owned(bytes.split_off(start)),
            Bytes::Shared(bytes) => Cow::Owned(bytes[start..].to_vec()),
        }
    }
}

#[inline]
fn lsn_bytes<'t>(segment: &'t Segment, location: Location, header: &OpHeader) -> Option<&'t [u8; 8]> {
    location.offset().checked_sub(header.entry_distance()).and_then(|entry| segment.bytes(entry + LSN_OFFSET)?.first_chunk())
}

/// The LSN of the entry of a record in a hot segment.
#[inline]
pub(super) fn lsn_of(segment: &Segment, location: Location, header: &OpHeader) -> Option<Lsn> {
    lsn_bytes(segment, location, header).map(|bytes| Lsn(u64::from_le_bytes(*bytes)))
}

type Read<'r> = &'r mut dyn FnMut(u64, &mut [u8]) -> Result<Option<usize>>;

/// Reads an op and the LSN of its entry and checks the op's CRC; none when the reader would have to wait.
fn read_verified(segment: &Segment, location: Location, read: Read<'_>) -> Result<Option<(Lsn, Vec<u8>)>> {
    let start = u64::from(location.offset()) - SINGLE_HEADER as u64;
    let end = segment.map().written() as u64;
    let mut bytes = vec![0; FIRST_READ.min((end - start) as usize)];
    if !fill(start, &mut bytes, 0, read)? {
        return Ok(None);
    }
    let mut head = [0; OP_HEADER_MAX];
    let available = (bytes.len() - SINGLE_HEADER).min(OP_HEADER_MAX);
    head[..available].copy_from_slice(&bytes[SINGLE_HEADER..SINGLE_HEADER + available]);
    let header = OpHeader::parse(&head[..available]).map_err(|e| corrupt(segment, location, &e.to_string()))?;
    let len = SINGLE_HEADER + header.op_len() as usize;
    if start + len as u64 > end {
        return Err(corrupt(segment, location, "the record reaches beyond the written end"));
    }
    let had = bytes.len().min(len);
    bytes.resize(len, 0);
    if !fill(start, &mut bytes, had, read)? {
        return Ok(None);
    }
    // Of an entry of one op it is there already: reading it by itself would cost as much as all the rest.
    let distance = header.entry_distance() as usize;
    let known = SINGLE_HEADER.checked_sub(distance).and_then(|at| bytes[at + LSN_OFFSET as usize..].first_chunk().copied());
    let mut lsn = known.unwrap_or_default();
    let entry = u64::from(location.offset() - header.entry_distance());
    if known.is_none() && !fill(entry + u64::from(LSN_OFFSET), &mut lsn, 0, read)? {
        return Ok(None);
    }
    let lsn = Lsn(u64::from_le_bytes(lsn));
    bytes.drain(..SINGLE_HEADER);
    verify(segment.seed(), lsn, &header, &bytes).map_err(|reason| corrupt(segment, location, &reason))?;
    Ok(Some((lsn, bytes)))
}

/// Fills `buf` from `had` on; false when the reader would have to wait.
fn fill(start: u64, buf: &mut [u8], had: usize, read: Read<'_>) -> Result<bool> {
    let mut at = had;
    while at < buf.len() {
        match read(start + at as u64, &mut buf[at..])? {
            None | Some(0) => return Ok(false),
            Some(n) => at += n,
        }
    }
    Ok(true)
}

fn verify(seed: ShardSeed, lsn: Lsn, header: &OpHeader, op: &[u8]) -> Result<(), String> {
    let crc = seed.lsn(lsn).op(header.op_number()).crc(&op[4..]);
    if crc == header.crc { Ok(()) } else { Err(format!("the record's CRC is {:08x}, its bytes have {crc:08x}", header.crc)) }
}

#[cold]
pub(crate) fn corrupt(segment: &Segment, location: Location, reason: &str) -> StorageError {
    StorageError::Corrupt {
        path: segment.file().path().to_owned(),
        offset: u64::from(location.offset()),
        lsn: segment.base_lsn().unwrap_or_default(),
        reason: reason.to_owned(),
    }
}
