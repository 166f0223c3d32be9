//! What the commands of one batch share.

use std::cell::RefCell;
use std::sync::Arc;

use super::fetch::FetchedRecord;
use super::record::Fetched;
use crate::types::{Location, UnixMillis};

/// The clock of a batch of commands, read once, and the cold records that were fetched for it.
#[derive(Debug)]
pub struct Batch {
    now: UnixMillis,
    fetched: RefCell<Vec<FetchedRecord>>,
}

impl Batch {
    /// A batch at a time of the caller's choosing: for tests and replays.
    #[must_use]
    pub fn at(now: UnixMillis) -> Self {
        Self { now, fetched: RefCell::new(Vec::new()) }
    }

    /// The batch's time.
    #[inline]
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    /// Gives the batch a record that one of its commands found cold; the command is then run again.
    pub fn add_fetched(&self, record: FetchedRecord) {
        self.fetched.borrow_mut().push(record);
    }

    pub(super) fn fetched(&self, location: Location) -> Option<Fetched> {
        self.fetched.borrow().iter().find(|f| f.record.location == location).map(|f| f.record.clone())
    }

    pub(super) fn fetched_value(&self, location: Location) -> Option<Arc<[u8]>> {
        self.fetched.borrow().iter().find(|f| f.record.location == location).and_then(|f| f.value.clone())
    }
}
