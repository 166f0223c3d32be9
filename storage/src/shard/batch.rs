//! What the commands of one batch share: the clock, cold records that were fetched for it, and how much of the log its replies tell of.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::fetch::{FetchedRecord, FetchedValue, Wanted};
use super::record::Fetched;
use crate::error::StorageError;
use crate::types::{Location, Lsn, UnixMillis};

/// The clock of a batch of commands, read once, and the cold records that were fetched for it.
#[derive(Debug)]
pub struct Batch {
    now: UnixMillis,
    fetched: RefCell<Vec<FetchedRecord>>,
    /// What of a large value was looked for in vain.
    wanted: Cell<Option<Wanted>>,
    /// Whether `shown` is kept: only who waits for it wants it.
    notes: bool,
    shown: Cell<Lsn>,
}

impl Batch {
    /// A batch at a time of the caller's choosing: for tests and replays.
    #[must_use]
    pub fn at(now: UnixMillis) -> Self {
        Self { now, fetched: RefCell::new(Vec::new()), wanted: Cell::new(None), notes: false, shown: Cell::new(Lsn(0)) }
    }

    /// The same batch, which notes what it shows, if `notes`.
    #[must_use]
    pub fn noting(self, notes: bool) -> Self {
        Self { notes, ..self }
    }

    /// Whether it notes what it shows.
    #[inline]
    #[must_use]
    pub fn notes(&self) -> bool {
        self.notes
    }

    /// The last entry that anything shown so far tells of, of a batch that notes that: were the log to end there, all of it would be seen
    /// as it was.
    #[inline]
    #[must_use]
    pub fn shown(&self) -> Lsn {
        self.shown.get()
    }

    /// Something that is shown tells of this entry.
    pub(super) fn show(&self, lsn: Lsn) {
        self.shown.set(self.shown.get().max(lsn));
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
