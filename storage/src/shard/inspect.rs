//! Looking at records without a transaction and without a lock: for background work, which may wait for the medium.

use super::record::{Fetched, Record};
use super::{Values, chain, locate};
use crate::codec::entry::TIME_OFFSET;
use crate::codec::op::OpCode;
use crate::error::{Result, StorageError};
use crate::history::{Change, Version};
use crate::log::{Segment, SegmentTable};
use crate::types::{Location, Lsn, TableId, UnixMillis};

/// What a location holds of a key.
pub(crate) struct Newest {
    pub(crate) lsn: Lsn,
    /// Number of the op in its entry.
    pub(crate) number: u32,
    pub(crate) code: OpCode,
    /// Whether its key had no record in the index before.
    pub(crate) fresh: bool,
    /// The value segment that it names.
    pub(crate) value: Option<u128>,
    /// The body of a delta; empty for others, which nobody needs whole.
    pub(crate) body: Vec<u8>,
}

/// The record at a location, if it is of this key.
pub(crate) fn newest_at(segments: &SegmentTable, location: Location, key: &[u8]) -> Result<Option<Newest>> {
    let segment = segments.get(location.segment()).ok_or(StorageError::Cold(location))?;
    let fetched: Fetched;
    let record = match Record::hot(segment, location) {
        Some(record) => record?,
        None => {
            fetched = Record::wait(segment, location)?;
            Record::fetched(&fetched)?
        }
    };
    if record.key() != key {
        return Ok(None);
    }
    let code = record.header.code;
    let body = if code == OpCode::Delta { record.body().to_vec() } else { Vec::new() };
    let value = if record.header.value_segment { Some(chain::value_ref(record.body())?.value_id) } else { None };
    let fresh = record.header.fresh;
    Ok(Some(Newest { lsn: record.lsn(), number: record.header.op_number(), code, fresh, value, body }))
}

/// Where the op of this LSN and number lies.
pub(crate) fn locate_waiting(segments: &SegmentTable, lsn: Lsn, number: u32) -> Result<Location> {
    locate::waiting(segments, lsn, number)
}

/// The same, where it can be from memory.
pub(crate) fn locate_anyhow(segments: &SegmentTable, lsn: Lsn, number: u32) -> Result<Location> {
    match locate::in_mappings(segments, lsn, number) {
        Err(StorageError::Cold(_)) => locate::waiting(segments, lsn, number),
        found => found,
    }
}

/// A record as the log holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inspected {
    pub(crate) lsn: Lsn,
    pub(crate) number: u32,
    pub(crate) time: UnixMillis,
    pub(crate) table: TableId,
    pub(crate) change: Change,
    pub(crate) len: Option<u64>,
    pub(crate) expire_at: Option<UnixMillis>,
}

impl Inspected {
    pub(crate) fn version(&self) -> Version {
        let Self { lsn, number, time, change, len, expire_at, .. } = *self;
        Version { lsn, number, time, change, len, expire_at }
    }
}

/// The record at a location, read from the medium, if it is of this key.
pub(crate) fn inspect(segment: &Segment, location: Location, key: &[u8]) -> Result<Option<Inspected>> {
    let fetched = Record::wait(segment, location)?;
    let record = Record::fetched(&fetched)?;
    if record.key() != key {
        return Ok(None);
    }
    let header = record.header;
    let change = match header.code {
        OpCode::Tombstone => Change::Delete,
        OpCode::Delta if chain::is_expiry_only(record.body())? => Change::Expire,
        OpCode::Delta => Change::Write,
        _ => Change::Set,
    };
    let len = if change == Change::Delete { None } else { Some(chain::value_len(&record)?) };
    let mut millis = [0; 8];
    let entry = u64::from(location.offset() - header.entry_distance());
    segment.file().read_at(entry + TIME_OFFSET as u64, &mut millis[..6]).map_err(StorageError::io("read", segment.file().path()))?;
    Ok(Some(Inspected {
        lsn: record.lsn(),
        number: header.op_number(),
        time: UnixMillis(i64::from_le_bytes(millis)),
        table: header.table,
        change,
        len,
        expire_at: header.expire_at,
    }))
}

/// The LSN of the entry whose op is at a location.
pub(crate) fn lsn_at(segment: &Segment, location: Location) -> Result<Lsn> {
    Ok(Record::wait(segment, location)?.lsn)
}

/// The string that the record at a location results in, read from the medium.
pub(crate) fn value_at(segments: &SegmentTable, values: &Values, location: Location) -> Result<Vec<u8>> {
    super::fetch::whole_value(segments, values, location)
}
