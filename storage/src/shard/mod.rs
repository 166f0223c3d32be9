//! One shard: the engine behind which the log and the index stand, and the transactions that commands run in.

mod key;
mod memory_backend;
mod plan;

pub use key::Key;
pub use memory_backend::{Batch, Savepoint, Shard, StorageError, Transaction};
pub use plan::LockPlan;

use std::borrow::Cow;

use crate::types::{Lsn, UnixMillis};

/// The type of a value, as the op's flags store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ValueType {
    /// A byte string.
    String = 0,
}

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
