//! Why the past cannot be told.

use crate::error::StorageError;
use crate::types::{Lsn, UnixMillis};

/// What keeps a question about the past from being answered.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It is not in the log any more.
    #[error(
        "the state at LSN {asked} is not in the log any more: records were dropped that LSNs up to {horizon} made dead; {horizon} is the oldest that can be had"
    )]
    BelowHorizon {
        /// What was asked for.
        asked: Lsn,
        /// The oldest LSN whose state the log holds.
        horizon: Lsn,
    },
    /// It is not in the log yet.
    #[error("the log ends with LSN {last}: there is no LSN {asked}")]
    BehindTheEnd {
        /// What was asked for.
        asked: Lsn,
        /// The last LSN.
        last: Lsn,
    },
    /// It is before the first entry.
    #[error("the log begins at {first} (Unix ms), after the time that was asked for")]
    BeforeTheBeginning {
        /// When the log begins.
        first: UnixMillis,
    },
    /// A large value that nothing names any more was given back.
    #[error("the value as of LSN {lsn} was a large one whose file is gone: it was superseded longer ago than history-retention keeps")]
    ValueGone {
        /// The LSN of its record.
        lsn: Lsn,
    },
    /// Too many questions wait.
    #[error("too many questions about the past wait for an answer: try again")]
    Busy,
    /// The answer took too long to find.
    #[error("the answer was not found within {0} seconds: ask for less of the past")]
    TooLong(u64),
    /// The shard stops.
    #[error("the shard stops")]
    Stopping,
    /// The data is damaged or cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Between which LSNs states can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest.
    pub horizon: Lsn,
    /// The newest.
    pub last: Lsn,
}

impl Bounds {
    /// Whether the state at this LSN can be told.
    ///
    /// # Errors
    /// Which bound is in the way.
    pub fn check(&self, asked: Lsn) -> Result<(), HistoryError> {
        let Self { horizon, last } = *self;
        match asked {
            _ if asked > last => Err(HistoryError::BehindTheEnd { asked, last }),
            _ if asked < horizon => Err(HistoryError::BelowHorizon { asked, horizon }),
            _ => Ok(()),
        }
    }
}
