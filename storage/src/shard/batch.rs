//! What the commands of one batch share.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::fetch::{FetchedRecord, FetchedValue, Wanted};
use super::record::Fetched;
use crate::error::StorageError;
use crate::types::{Location, UnixMillis};

/// The clock of a batch of commands, read once, and the cold records that were fetched for it.
#[derive(Debug)]
pub struct Batch {
    now: UnixMillis,
    fetched: RefCell<Vec<FetchedRecord>>,
    /// What of a large value was looked for in vain.
    wanted: Cell<Option<Wanted>>,
}

impl Batch {
    /// A batch at a time of the caller's choosing: for tests and replays.
    #[must_use]
    pub fn at(now: UnixMillis) -> Self {
        Self { now, fetched: RefCell::new(Vec::new()), wanted: Cell::new(None) }
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

    /// Takes back what was fetched: a command that lacks another record needs all of it again.
    #[must_use]
    pub fn take_fetched(&self) -> Vec<FetchedRecord> {
        self.fetched.take()
    }

    /// Forgets what was fetched: the command that needed it has run.
    #[inline]
    pub fn forget_fetched(&self) {
        let mut fetched = self.fetched.borrow_mut();
        if !fetched.is_empty() {
            fetched.clear();
        }
    }

    /// What has to be fetched for a command that found the record at `location` cold: the record, or what it asked for of a large value.
    #[must_use]
    pub fn wanted(&self, location: Location) -> Wanted {
        self.wanted.take().filter(|wanted| wanted.location == location).unwrap_or_else(|| Wanted::range(location, 0, 0))
    }

    pub(super) fn want(&self, wanted: Wanted) {
        self.wanted.set(Some(wanted));
    }

    /// The record, if it was fetched.
    ///
    /// # Errors
    /// Why it could not be.
    pub(super) fn fetched(&self, location: Location) -> Result<Option<Fetched>, StorageError> {
        let all = self.fetched.borrow();
        match all.iter().rev().find(|fetched| fetched.location == location).map(|fetched| &fetched.outcome) {
            None => Ok(None),
            Some(Ok((record, _))) => Ok(Some(record.clone())),
            Some(Err(error)) => Err(StorageError::Unreadable(Arc::clone(error))),
        }
    }

    /// The bytes `start..start + len` of the record's string, or what there is of them, if they were fetched.
    pub(super) fn fetched_value(&self, location: Location, start: u64, len: u64) -> Option<FetchedValue> {
        let all = self.fetched.borrow();
        let mut values =
            all.iter().filter(|fetched| fetched.location == location).filter_map(|fetched| fetched.outcome.as_ref().ok()?.1.as_ref());
        values.rfind(|value| value.covers(start, len)).cloned()
    }
}
