//! Strings that are an image and deltas: reading through the chain, and writing the next delta.
//!
//! Invariants:
//! - A delta's base has a lower LSN; a chain ends at a put.
//! - The content hash of a delta is that of the whole string, so nobody need materialise it to compare.

use std::borrow::Cow;

use super::fetch::Wanted;
use super::pending::PendingOp;
use super::record::Record;
use super::transaction::{Table, Transaction};
use super::write::Written;
use super::{Key, locate};
use crate::codec::content_hash::content_hash_after_write;
use crate::codec::delta::{Delta, DeltaChange};
use crate::codec::op::{OpCode, OpHeader, ValueType};
use crate::codec::value_ref::ValueRef;
use crate::error::{Result, StorageError};
use crate::types::{Db, Location, Lsn, SegmentId, UnixMillis};

/// Strings up to this length are always written whole.
const DELTA_FROM: u64 = 1 << 10;
/// A chain this deep is read through the cache of materialised strings only.
const DEEP: u32 = 32;
/// What a delta costs in the log beside the bytes written, roughly.
const DELTA_OVERHEAD: u64 = 96;

/// Where a chain's records come from: the mappings, or the medium.
pub(super) trait Source {
    /// The record at a location.
    fn record(&self, location: Location) -> Result<Record<'_>>;
    /// Where the op of this LSN and number lies.
    fn locate(&self, lsn: Lsn, number: u32) -> Result<Location>;
    /// Fills `buf` from a value segment.
    fn read_value(&self, reference: &ValueRef, offset: u64, buf: &mut [u8]) -> Result<()>;
}

impl Source for Transaction<'_> {
    fn record(&self, location: Location) -> Result<Record<'_>> {
        Transaction::record(self, location)
    }

    fn locate(&self, lsn: Lsn, number: u32) -> Result<Location> {
        locate::in_mappings(&self.segments, lsn, number)
    }

    fn read_value(&self, reference: &ValueRef, offset: u64, buf: &mut [u8]) -> Result<()> {
        // Cold as what names it, whose location the caller knows.
        let there = self.shard.values.read_cached(reference, offset, buf)?;
        if there { Ok(()) } else { Err(StorageError::Cold(Location::new(SegmentId(0), 0))) }
    }
}

/// The length of a record's string.
#[inline]
pub(super) fn value_len(record: &Record<'_>) -> Result<u64> {
    op_value_len(&record.header, record.body())
}

/// The length of the string that an op results in.
#[inline]
pub(super) fn op_value_len(header: &OpHeader, body: &[u8]) -> Result<u64> {
    Ok(match header.code {
        OpCode::Put if header.value_segment => value_ref(body)?.len,
        OpCode::Put => u64::from(header.body_len),
        OpCode::Delta => delta(body)?.total_len,
        _ => 0,
    })
}

fn undecodable(error: crate::codec::DecodeError) -> StorageError {
    StorageError::Corrupt { path: "a record".into(), offset: 0, lsn: Lsn(0), reason: error.to_string() }
}

pub(super) fn value_ref(body: &[u8]) -> Result<ValueRef> {
    ValueRef::decode(body).map_err(undecodable)
}

fn delta(body: &[u8]) -> Result<Delta<'_>> {
    Delta::decode(body).map_err(undecodable)
}

/// Whether a delta changes nothing but the expiry.
pub(super) fn is_expiry_only(body: &[u8]) -> Result<bool> {
    Ok(delta(body)?.change == DeltaChange::Expiry)
}

/// Fills `buf` with a string's bytes from `start` on; the string reaches at least to the buffer's end.
pub(super) fn read_range(source: &impl Source, record: &Record<'_>, start: u64, buf: &mut [u8]) -> Result<()> {
    match record.header.code {
        OpCode::Put if record.header.value_segment => source.read_value(&value_ref(record.body())?, start, buf),
        OpCode::Delta => read_chain(source, delta(record.body())?, start, buf),
        _ => {
            fill_from(record.body(), start, buf);
            Ok(())
        }
    }
}

/// Copies what `image` has from `start` on; the rest of `buf` stays zero.
fn fill_from(image: &[u8], start: u64, buf: &mut [u8]) {
    let from = image.get(start as usize..).unwrap_or(&[]);
    let len = from.len().min(buf.len());
    buf[..len].copy_from_slice(&from[..len]);
}

fn read_chain(source: &impl Source, head: Delta<'_>, start: u64, buf: &mut [u8]) -> Result<()> {
    // Newest first on the way down to the image, applied oldest first on the way back.
    let mut writes = Vec::new();
    let mut next = note_write(&mut writes, &head);
    loop {
        let record = source.record(source.locate(next.0, next.1)?)?;
        if record.header.code != OpCode::Delta {
            let len = value_len(&record)?;
            let within = len.saturating_sub(start).min(buf.len() as u64) as usize;
            read_range(source, &record, start, &mut buf[..within])?;
            break;
        }
        next = note_write(&mut writes, &delta(record.body())?);
    }
    for (offset, bytes) in writes.iter().rev() {
        overlay(buf, start, *offset, bytes);
    }
    Ok(())
}

fn note_write(writes: &mut Vec<(u64, Vec<u8>)>, delta: &Delta<'_>) -> (Lsn, u32) {
    if let DeltaChange::Write { offset, bytes } = delta.change {
        writes.push((offset, bytes.to_vec()));
    }
    (delta.base_lsn, delta.base_op)
}

/// Puts the part of `bytes` (at `offset` of the string) that falls into `buf` (at `start` of the string) there.
fn overlay(buf: &mut [u8], start: u64, offset: u64, bytes: &[u8]) {
    let from = start.max(offset);
    let to = (start + buf.len() as u64).min(offset + bytes.len() as u64);
    if from < to {
        let len = (to - from) as usize;
        buf[(from - start) as usize..][..len].copy_from_slice(&bytes[(from - offset) as usize..][..len]);
    }
}

impl Transaction<'_> {
    /// A record's whole string.
    #[inline]
    pub(super) fn string<'t>(&'t self, record: Record<'t>) -> Result<Cow<'t, [u8]>> {
        if record.header.code == OpCode::Put && !record.header.value_segment {
            return Ok(record.into_body());
        }
        let mut value = Vec::new();
        self.with_string(&record, |bytes| value.extend_from_slice(bytes))?;
        Ok(Cow::Owned(value))
    }

    /// Shows a chained or large string, from the cache where it is there.
    fn with_string(&self, record: &Record<'_>, show: impl FnOnce(&[u8])) -> Result<()> {
        let len = value_len(record)?;
        if let Some(value) = self.batch.fetched_value(record.location, 0, len) {
            show(value.from(0));
            return Ok(());
        }
        let cache = record.header.code == OpCode::Delta;
        if cache && let Some(value) = self.shard.materialised.take(record.location) {
            show(&value);
            self.shard.materialised.put(record.location, value);
            return Ok(());
        }
        let mut value = vec![0; len as usize];
        self.cold_as(Wanted::whole(record.location), read_range(self, record, 0, &mut value))?;
        show(&value);
        if cache {
            self.shard.materialised.put(record.location, value);
        }
        Ok(())
    }

    /// What a chain or a value segment lacks is fetched together with the record that points to it.
    fn cold_as<T>(&self, wanted: Wanted, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            if !matches!(error, StorageError::Cold(_)) {
                return error;
            }
            self.batch.want(wanted);
            StorageError::Cold(wanted.location)
        })
    }

    /// A range of a record's string, without materialising it where that is avoidable.
    fn range(&self, record: &Record<'_>, start: u64, buf: &mut [u8]) -> Result<()> {
        if let Some(value) = self.batch.fetched_value(record.location, start, buf.len() as u64) {
            fill_from(value.from(start), 0, buf);
            return Ok(());
        }
        if record.header.code == OpCode::Delta {
            if let Some(value) = self.shard.materialised.take(record.location) {
                fill_from(&value, start, buf);
                self.shard.materialised.put(record.location, value);
                return Ok(());
            }
            if delta(record.body())?.depth >= DEEP {
                return self.with_string(record, |value| fill_from(value, start, buf));
            }
        }
        self.cold_as(Wanted::range(record.location, start, buf.len() as u64), read_range(self, record, start, buf))
    }

    /// Up to `len` bytes of a string from `start` on; reads no more of it than that. None: no such key. Shorter or empty at the end.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_range(&self, db: Db, key: &Key<'_>, start: u64, len: u64) -> Result<Option<Cow<'_, [u8]>>> {
        let table = self.table(db);
        if self.pending.find(table, key).is_some() {
            let Some(object) = self.get(db, key)? else { return Ok(None) };
            let (start, end) = clip(object.data.len() as u64, start, len);
            return Ok(Some(match object.data {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[start..end]),
                Cow::Owned(bytes) => Cow::Owned(bytes[start..end].to_vec()),
            }));
        }
        let Some(record) = self.find_live(table, key)? else { return Ok(None) };
        let (start, end) = clip(value_len(&record)?, start, len);
        if record.header.code == OpCode::Put && !record.header.value_segment {
            return Ok(Some(match record.into_body() {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[start..end]),
                Cow::Owned(bytes) => Cow::Owned(bytes[start..end].to_vec()),
            }));
        }
        let mut bytes = vec![0; end - start];
        self.range(&record, start as u64, &mut bytes)?;
        Ok(Some(Cow::Owned(bytes)))
    }

    /// Writes bytes into a string at an offset, zero-filling up to it; creates the key if absent, keeps its expiry. Returns the new length.
    /// A string above 1 KiB gets a delta in the log instead of a new image, unless its deltas outweigh it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn write_range(&mut self, db: Db, key: &Key<'_>, offset: u64, bytes: &[u8]) -> Result<u64> {
        let table = self.table(db);
        if self.pending.find(table, key).is_none()
            && let Some(record) = self.find_live(table, key)?
        {
            let old_len = value_len(&record)?;
            let new_len = old_len.max(offset + bytes.len() as u64);
            if old_len > DELTA_FROM
                && let Some(delta) = self.next_delta(&record, DeltaChange::Write { offset, bytes }, new_len)?
            {
                return self.write_delta(table, key, &delta);
            }
        }
        let object = self.get(db, key)?;
        let (mut value, expire_at) = object.map_or((Vec::new(), None), |o| (o.data.into_owned(), o.expire_at));
        let end = offset as usize + bytes.len();
        value.resize(value.len().max(end), 0);
        value[offset as usize..end].copy_from_slice(bytes);
        self.put(db, key, &value, expire_at)?;
        Ok(value.len() as u64)
    }

    /// Sets or removes the expiry of an existing key; false if there is no such key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn set_expire(&mut self, db: Db, key: &Key<'_>, expire_at: Option<UnixMillis>) -> Result<bool> {
        let table = self.table(db);
        if self.pending.find(table, key).is_none() {
            let Some(record) = self.find_live(table, key)? else { return Ok(false) };
            if record.header.value_segment {
                let body = record.body().to_vec();
                let written = Written::reference(&record, expire_at, &body)?;
                self.write(table, key, &written)?;
                return Ok(true);
            }
            let len = value_len(&record)?;
            if len > DELTA_FROM
                && let Some(mut delta) = self.next_delta(&record, DeltaChange::Expiry, len)?
            {
                delta.expire_at = expire_at;
                self.write_delta(table, key, &delta)?;
                return Ok(true);
            }
        }
        let Some(object) = self.get(db, key)? else { return Ok(false) };
        let value = object.data.into_owned();
        self.put(db, key, &value, expire_at)?;
        Ok(true)
    }

    /// The delta that makes `change` on top of a record; none when a new image is the better record.
    fn next_delta<'c>(&self, record: &Record<'_>, change: DeltaChange<'c>, total_len: u64) -> Result<Option<NextDelta<'c>>> {
        let (depth, chain_bytes) = match record.header.code {
            OpCode::Delta => {
                let delta = delta(record.body())?;
                (delta.depth, delta.chain_bytes)
            }
            _ => (0, 0),
        };
        let written = if let DeltaChange::Write { bytes, .. } = change { bytes.len() as u64 } else { 0 };
        let chain_bytes = chain_bytes + written + DELTA_OVERHEAD;
        let too_deep = depth >= DEEP && !self.shard.materialised.has_room(total_len);
        if chain_bytes > total_len || too_deep {
            return Ok(None);
        }
        let mut content_hash = record.header.content_hash;
        if let DeltaChange::Write { offset, bytes } = change {
            let old_len = value_len(record)?;
            content_hash = content_hash_after_write(content_hash, old_len, offset, bytes, |from, buf| self.range(record, from, buf))?;
        }
        let delta = Delta { base_lsn: record.lsn(), base_op: record.header.op_number(), depth: depth + 1, total_len, chain_bytes, change };
        Ok(Some(NextDelta {
            delta,
            content_hash,
            expire_at: record.header.expire_at,
            value_type: record.header.value_type,
            base: record.location,
        }))
    }

    fn write_delta(&mut self, table: Table, key: &Key<'_>, next: &NextDelta<'_>) -> Result<u64> {
        let head = next.delta.encode_head();
        let written = Written {
            code: OpCode::Delta,
            value_type: next.value_type,
            value_segment: false,
            expire_at: next.expire_at,
            content_hash: next.content_hash,
            value_len: next.delta.total_len,
            body: [&head, next.delta.written()],
        };
        self.write(table, key, &written)?;
        self.pending.rebase(next.base);
        Ok(next.delta.total_len)
    }

    /// The string that a pending delta results in.
    pub(super) fn pending_chain(&self, op: &PendingOp) -> Result<Vec<u8>> {
        let base = self.record(op.base.expect("a pending delta knows where its base lies"))?;
        let mut value = Vec::with_capacity(op.value_len as usize);
        self.with_string(&base, |bytes| value.extend_from_slice(bytes))?;
        value.resize(op.value_len as usize, 0);
        if let DeltaChange::Write { offset, bytes } = delta(self.pending.body(op))?.change {
            value[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        }
        Ok(value)
    }

    /// Carries the materialised string of a delta's base over to the delta, now that it is in the log.
    pub(super) fn carry_materialised(&self, base: Location, op: &PendingOp, location: Location) {
        let Some(mut value) = self.shard.materialised.take(base) else { return };
        if let Ok(delta) = delta(self.pending.body(op))
            && let DeltaChange::Write { offset, bytes } = delta.change
        {
            value.resize(delta.total_len as usize, 0);
            value[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        }
        self.shard.materialised.put(location, value);
    }
}

impl<'a> Written<'a> {
    fn reference(record: &Record<'_>, expire_at: Option<UnixMillis>, body: &'a [u8]) -> Result<Self> {
        Ok(Self {
            code: OpCode::Put,
            value_type: ValueType::String,
            value_segment: true,
            expire_at,
            content_hash: record.header.content_hash,
            value_len: value_ref(body)?.len,
            body: [body, &[]],
        })
    }
}

/// A delta about to be written.
struct NextDelta<'c> {
    delta: Delta<'c>,
    content_hash: u64,
    expire_at: Option<UnixMillis>,
    value_type: ValueType,
    base: Location,
}

fn clip(total: u64, start: u64, len: u64) -> (usize, usize) {
    let start = start.min(total);
    (start as usize, start.saturating_add(len).min(total) as usize)
}
