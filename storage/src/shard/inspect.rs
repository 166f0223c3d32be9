//! Looking at records without a transaction and without a lock: for background work, which may wait for the medium.

use super::record::{Fetched, Record};
use super::{chain, locate};
use crate::codec::op::OpCode;
use crate::error::{Result, StorageError};
use crate::log::SegmentTable;
use crate::types::{Location, Lsn};

/// What a location holds of a key.
pub(crate) struct Newest {
    pub(crate) lsn: Lsn,
    /// Number of the op in its entry.
    pub(crate) number: u32,
    pub(crate) code: OpCode,
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
    Ok(Some(Newest { lsn: record.lsn(), number: record.header.op_number(), code, value, body }))
}

/// Where the op of this LSN and number lies.
pub(crate) fn locate_waiting(segments: &SegmentTable, lsn: Lsn, number: u32) -> Result<Location> {
    locate::waiting(segments, lsn, number)
}
