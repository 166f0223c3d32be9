//! What can be asked about the past, and the answers.

use crate::types::{Db, Lsn, UnixMillis};

/// A moment of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After the entry of this LSN.
    Lsn(Lsn),
    /// After the last entry that was written by then.
    Time(UnixMillis),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// What a key held then.
    Value {
        /// The database, by the number that it had then.
        db: Db,
        /// The key.
        key: Vec<u8>,
        /// When.
        at: Moment,
    },
    /// All that the log still holds of a key, newest first.
    Versions {
        /// The database, by the number that it has now.
        db: Db,
        /// The key.
        key: Vec<u8>,
        /// So many at most.
        count: usize,
    },
    /// Which keys were changed above an LSN.
    Changed {
        /// The database, by the number that it has now.
        db: Db,
        /// The keys.
        keys: Vec<Vec<u8>>,
        /// The LSN.
        since: Lsn,
    },
}

/// What a key held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastValue {
    /// The LSN of its record.
    pub lsn: Lsn,
    /// The string.
    pub value: Vec<u8>,
    /// When it was to expire.
    pub expire_at: Option<UnixMillis>,
}

/// What was done to a key, or to its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was given a value.
    Set,
    /// A part of its string was written.
    Write,
    /// Only its expiry was changed.
    Expire,
    /// It was deleted, or had expired and was cleaned away.
    Delete,
    /// Its database was emptied.
    Flush,
    /// Its database was exchanged with another.
    Swap,
}

impl Change {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Write => "write",
            Self::Expire => "expire",
            Self::Delete => "delete",
            Self::Flush => "flush",
            Self::Swap => "swap",
        }
    }
}

/// Whether a key was changed, written, deleted, or its database emptied or swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It was not.
    No,
    /// At this LSN, the newest.
    At(Lsn),
    /// The log holds no change, and may have dropped one.
    Unknown,
}

/// One thing that happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The entry.
    pub lsn: Lsn,
    /// The op's number in it.
    pub number: u32,
    /// The entry's clock.
    pub time: UnixMillis,
    /// What was done.
    pub change: Change,
    /// Length of the string that resulted; none: no key resulted.
    pub len: Option<u64>,
    /// When it was to expire.
    pub expire_at: Option<UnixMillis>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To what a key held: none, if there was no such key.
    Value(Option<PastValue>),
    /// What happened to it.
    Versions(Vec<Version>),
    /// For each key.
    Changed(Vec<Changed>),
}
