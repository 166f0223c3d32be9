//! Answering questions about the past.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::controls::Controls;
use super::past::Past;
use super::{Answer, Bounds, Change, HistoryError, Moment, PastValue, Question, Version};
use crate::error::StorageError;
use crate::index::Index;
use crate::log::Log;
use crate::shard::{Values, value_at};
use crate::types::{Db, Lsn, TableId, UnixMillis};

/// How long an answer may take to find.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a question is asked again because cleaning took away what was about to be read.
const ATTEMPTS: u32 = 5;

type Result<T> = std::result::Result<T, HistoryError>;

/// Who answers.
pub(super) struct Historian {
    pub(super) log: Arc<Log>,
    pub(super) index: Arc<Index>,
    pub(super) values: Arc<Values>,
    pub(super) controls: Controls,
}

impl Historian {
    pub(super) fn answer(&mut self, question: &Question) -> Result<Answer> {
        let deadline = Instant::now() + PATIENCE;
        let mut attempt = 1;
        loop {
            let table = self.log.table.load_full();
            let segments = table.in_order();
            self.controls.retain(&segments);
            let (log, index, controls) = (self.log.as_ref(), self.index.as_ref(), &mut self.controls);
            let mut past = Past { log, index, table, segments: segments.clone(), controls, deadline, seconds: PATIENCE.as_secs() };
            let answer = match question {
                Question::Value { db, key, at } => past.value(&self.values, *db, key, *at).map(Answer::Value),
                Question::Versions { db, key, count } => past.versions(*db, key, *count).map(Answer::Versions),
                Question::Changed { db, keys, since } => past.changed(*db, keys, *since).map(Answer::Changed),
            };
            let changed = segments.iter().any(|segment| segment.is_retired());
            match answer {
                Err(HistoryError::Storage(_)) if changed && attempt < ATTEMPTS => attempt += 1,
                answer => return answer,
            }
        }
    }
}

impl Past<'_> {
    pub(super) fn bounds(&self) -> Bounds {
        let first = self.segments.first().and_then(|segment| segment.base_lsn()).unwrap_or_default();
        let cleaned = self.log.manifest.lock().cleaned;
        let last = self.log.durability().written();
        Bounds { horizon: cleaned.horizon.max(Lsn(first.0.saturating_sub(1))), last }
    }

    fn value(&mut self, values: &Values, db: Db, key: &[u8], at: Moment) -> Result<Option<PastValue>> {
        // Before the reading, and again after it: what is dropped meanwhile is not missed.
        let bounds = self.bounds();
        let (lsn, time) = self.moment(at, bounds)?;
        bounds.check(lsn)?;
        let found = self.value_at(values, db, key, lsn, time);
        let horizon = self.bounds().horizon;
        if lsn < horizon {
            return Err(HistoryError::BelowHorizon { asked: lsn, horizon });
        }
        found
    }

    /// The LSN of a moment, and the clock at it.
    fn moment(&self, at: Moment, bounds: Bounds) -> Result<(Lsn, UnixMillis)> {
        match at {
            Moment::Lsn(lsn) => {
                bounds.check(lsn)?;
                let last = self.last_entry(|entry, _| entry <= lsn)?;
                Ok((lsn, last.map_or(UnixMillis(0), |(_, time)| time)))
            }
            Moment::Time(time) => match self.last_entry(|_, entry| entry <= time)? {
                Some((lsn, _)) => Ok((lsn, time)),
                None => match self.segments.iter().find_map(|segment| segment.first_time()) {
                    Some(first) => Err(HistoryError::BeforeTheBeginning { first }),
                    None => Ok((bounds.last, time)),
                },
            },
        }
    }

    fn value_at(&mut self, values: &Values, db: Db, key: &[u8], lsn: Lsn, time: UnixMillis) -> Result<Option<PastValue>> {
        let table = self.tables_at(lsn)?[usize::from(db.0)];
        let wanted = self.wanted(key, vec![table]);
        let Some((at, record)) = self.newest(&wanted, lsn)? else { return Ok(None) };
        if record.change == Change::Delete || record.expire_at.is_some_and(|at| at <= time) {
            return Ok(None);
        }
        if self.is_evicted(&record, lsn)? {
            return Ok(None);
        }
        let value = value_at(&self.table, values, at).map_err(|error| match error {
            StorageError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => HistoryError::ValueGone { lsn: record.lsn },
            error => error.into(),
        })?;
        Ok(Some(PastValue { lsn: record.lsn, value, expire_at: record.expire_at }))
    }

    fn versions(&mut self, db: Db, key: &[u8], count: usize) -> Result<Vec<Version>> {
        let last = self.log.durability().written();
        let map = self.index.tables();
        let mut ids = std::array::from_fn(|db| map.id(Db(db as u8)));
        let mut tables: Vec<TableId> = vec![ids[usize::from(db.0)]];
        let mut versions = Vec::new();
        let segments = self.segments.clone();
        for segment in segments.iter().rev() {
            if versions.len() >= count {
                break;
            }
            let mut here = Vec::new();
            if segment.base_lsn().is_some_and(|base| base <= map.lsn) {
                for control in self.controls_of(segment)?.iter().rev().filter(|control| control.lsn <= map.lsn) {
                    control.undo(&mut ids);
                    let before = ids[usize::from(db.0)];
                    if !tables.contains(&before) {
                        tables.push(before);
                    }
                    if control.concerns(db) {
                        let change = if control.is_flush() { Change::Flush } else { Change::Swap };
                        here.push(Version { lsn: control.lsn, number: 0, time: control.time, change, len: None, expire_at: None });
                    }
                }
            }
            let wanted = self.wanted(key, tables.clone());
            let mut records = 0;
            for at in self.places(segment, &wanted)?.iter().rev() {
                // What is left of the segment is older than all that will be shown.
                if records == count {
                    break;
                }
                if let Some(record) = self.record(segment, *at, &wanted)?.filter(|record| record.lsn <= last) {
                    here.push(record.version());
                    records += 1;
                }
            }
            here.sort_unstable_by_key(|version| std::cmp::Reverse((version.lsn, version.number)));
            versions.extend(here);
        }
        versions.truncate(count);
        Ok(versions)
    }
}
