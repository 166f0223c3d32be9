//! One shard: log and index under one roof, and the transactions that commands run in.

mod ahead;
mod background;
mod batch;
mod buried;
mod chain;
mod commit;
mod copied;
mod digest;
mod engine;
mod evict;
mod expiry;
mod fetch;
mod fetch_figures;
mod inspect;
mod key;
mod locate;
mod materialised;
mod pending;
mod plan;
mod read;
mod record;
mod replicate;
mod scan;
mod set;
mod shown;
mod transaction;
mod value_copy;
mod values;
mod warm;
mod write;

pub use ahead::Expected;
pub(crate) use background::note_replay_position;
pub use batch::Batch;
pub(crate) use commit::counter_change;
pub use digest::SlotDigests;
pub use engine::Shard;
pub use expiry::{ExpiredListener, ExpiryFigures, Swept};
pub use fetch::{ColdReads, FetchDone, FetchedRecord, Wanted};
pub(crate) use inspect::{Inspected, Newest, inspect, locate_anyhow, locate_waiting, lsn_at, newest_at, value_at};
pub use key::Key;
pub use plan::LockPlan;
pub use transaction::{Savepoint, Transaction};
pub use value_copy::ValueReceiver;
pub use values::{StoredValue, ValueWriter};
pub(crate) use values::{VALUE_BLOCK, VALUE_MAGIC, VALUE_TRAILER, Values};
pub(crate) use write::counted_parts;

use std::borrow::Cow;

pub use crate::codec::op::ValueType;
pub use crate::error::StorageError;
use crate::types::{Lsn, UnixMillis};

/// A key's value as a transaction sees it; expired keys are never seen.
#[derive(Debug)]
pub struct Object<'a> {
    /// Its type.
    pub value_type: ValueType,
    /// A string's bytes.
    pub data: Cow<'a, [u8]>,
    /// When it expires.
    pub expire_at: Option<UnixMillis>,
}

/// What is known of a key without touching its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Its type.
    pub value_type: ValueType,
    /// Length of a string in bytes.
    pub len: u64,
    /// When it expires.
    pub expire_at: Option<UnixMillis>,
    /// The LSN of its newest record.
    pub lsn: Lsn,
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
