//! The log as it was when a question was asked: records of a key, newest first.
//!
//! Invariants:
//! - The segments are pinned for as long as the question is being answered.
//! - Files are read, not mappings: nothing cold is made hot, and a medium that fails gives an error.

use std::sync::Arc;
use std::time::Instant;

use super::HistoryError;
use super::controls::{Control, Controls, TableIds, tables_at};
use crate::index::Index;
use crate::log::{Frames, Log, Segment, SegmentTable};
use crate::segment::FooterView;
use crate::segment::footer::{Footer, key_hash};
use crate::shard::{Inspected, inspect};
use crate::types::{KeyHash, Location, Lsn, TableId, UnixMillis};

/// Entries looked at between two reads.
const WINDOW: usize = 256;

/// The log.
pub(super) struct Past<'a> {
    pub(super) log: &'a Log,
    pub(super) index: &'a Index,
    pub(super) table: Arc<SegmentTable>,
    /// Those that hold the log, by base LSN.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) controls: &'a mut Controls,
    pub(super) deadline: Instant,
    pub(super) seconds: u64,
}

/// Which key is looked for.
pub(super) struct Wanted<'k> {
    pub(super) key: &'k [u8],
    pub(super) hash: KeyHash,
    pub(super) tables: Vec<TableId>,
}

type Result<T> = std::result::Result<T, HistoryError>;

impl<'a> Past<'a> {
    pub(super) fn wanted<'k>(&self, key: &'k [u8], tables: Vec<TableId>) -> Wanted<'k> {
        Wanted { key, hash: key_hash(key, self.log.key_hash_seed), tables }
    }

    pub(super) fn check_time(&self) -> Result<()> {
        if Instant::now() > self.deadline { Err(HistoryError::TooLong(self.seconds)) } else { Ok(()) }
    }

    /// The tables of all databases after the entry of an LSN.
    pub(super) fn tables_at(&mut self, lsn: Lsn) -> Result<TableIds> {
        self.check_time()?;
        Ok(tables_at(self.index, &self.segments, self.controls, lsn)?)
    }

    pub(super) fn controls_of(&mut self, segment: &Segment) -> Result<Arc<[Control]>> {
        self.check_time()?;
        Ok(self.controls.of(segment)?)
    }

    /// Where in a segment the ops are that may be of a key, in the order of the log.
    pub(super) fn places(&self, segment: &Segment, wanted: &Wanted<'_>) -> Result<Vec<Location>> {
        self.check_time()?;
        if !segment.is_sealed() {
            return self.places_in_frames(segment, wanted);
        }
        let (offset, bytes) = Footer::read(segment.file())?;
        let footer = parse(segment, &bytes, offset)?;
        let may_be =
            |hint: &crate::segment::Hint| hint.key_hash == wanted.hash && hint.table.is_none_or(|table| wanted.tables.contains(&table));
        Ok(footer.hints().filter(may_be).map(|hint| Location::new(segment.id(), hint.offset)).collect())
    }

    fn places_in_frames(&self, segment: &Segment, wanted: &Wanted<'_>) -> Result<Vec<Location>> {
        let mut found = Vec::new();
        let mut frames = Frames::new(segment);
        loop {
            let window = frames.window(WINDOW)?;
            if window.is_empty() {
                return Ok(found);
            }
            for (offset, entry) in window {
                let of_key = entry.ops().filter(|(_, op)| op.header.code.has_key() && op.key == wanted.key);
                found.extend(of_key.map(|(distance, _)| Location::new(segment.id(), offset + distance)));
            }
        }
    }

    /// The record at a place, if it is of the key.
    pub(super) fn record(&self, segment: &Segment, at: Location, wanted: &Wanted<'_>) -> Result<Option<Inspected>> {
        let record = inspect(segment, at, wanted.key)?;
        Ok(record.filter(|record| wanted.tables.contains(&record.table)))
    }

    /// The newest record of a key that is not behind `lsn`, and where it is.
    pub(super) fn newest(&self, wanted: &Wanted<'_>, lsn: Lsn) -> Result<Option<(Location, Inspected)>> {
        for segment in self.up_to(lsn) {
            let places = self.places(segment, wanted)?;
            let known = if segment.last_lsn() <= lsn { places.len() } else { self.count_up_to(segment, &places, lsn)? };
            for at in places[..known].iter().rev() {
                if let Some(record) = self.record(segment, *at, wanted)? {
                    return Ok(Some((*at, record)));
                }
            }
        }
        Ok(None)
    }

    /// Whether the key of a record made room for others, by `lsn`.
    pub(super) fn is_evicted(&mut self, record: &Inspected, lsn: Lsn) -> Result<bool> {
        if record.lsn >= self.index.evicted() {
            return Ok(false);
        }
        let segments = self.segments.clone();
        for segment in segments.iter().filter(|s| s.last_lsn() > record.lsn && s.base_lsn().is_some_and(|base| base <= lsn)) {
            let controls = self.controls_of(segment)?;
            let mut evicting = controls.iter().filter(|control| control.lsn > record.lsn && control.lsn <= lsn);
            if evicting.any(|control| control.evicts(record.lsn, record.lsn).is_some_and(|e| e.contains(record.lsn, record.number))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Segments that may hold entries up to an LSN, newest first.
    pub(super) fn up_to(&self, lsn: Lsn) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter().rev().filter(move |segment| segment.base_lsn().is_some_and(|base| base <= lsn))
    }

    /// How many of the places, which are in the order of the log, are not behind `lsn`.
    fn count_up_to(&self, segment: &Segment, places: &[Location], lsn: Lsn) -> Result<usize> {
        let (mut low, mut high) = (0, places.len());
        while low < high {
            let middle = low.midpoint(high);
            if crate::shard::lsn_at(segment, places[middle])? <= lsn {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The LSN and the clock of the last entry that is left and for which `counts` is true, which it is up to some entry.
    pub(super) fn last_entry(&self, counts: impl Fn(Lsn, UnixMillis) -> bool) -> Result<Option<(Lsn, UnixMillis)>> {
        for segment in self.segments.iter().rev() {
            let begins = segment.first_time().zip(segment.base_lsn());
            if !begins.is_some_and(|(time, base)| counts(base, time)) {
                continue;
            }
            self.check_time()?;
            let mut last = None;
            let mut frames = Frames::new(segment);
            'frames: loop {
                let window = frames.window(WINDOW)?;
                if window.is_empty() {
                    break;
                }
                for (_, entry) in window {
                    let head = entry.head();
                    if !counts(head.lsn, head.time) {
                        break 'frames;
                    }
                    last = Some((head.lsn, head.time));
                }
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(None)
    }
}

fn parse<'b>(segment: &Segment, bytes: &'b [u8], offset: u64) -> Result<FooterView<'b>> {
    FooterView::parse(bytes, offset, segment.seed()).map_err(|error| {
        let lsn = segment.last_lsn();
        crate::error::StorageError::Corrupt { path: segment.file().path().to_owned(), offset, lsn, reason: error.to_string() }.into()
    })
}
