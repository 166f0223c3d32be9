//! Which of many keys were changed since an LSN: one pass over what the log holds above it, whatever is below.

use std::collections::HashMap;

use super::Changed;
use super::past::Past;
use crate::error::StorageError;
use crate::log::{Frames, Segment};
use crate::segment::FooterView;
use crate::segment::footer::{Footer, key_hash};
use crate::shard::inspect;
use crate::types::{Db, KeyHash, Location, Lsn, TableId};

/// Entries looked at between two reads.
const WINDOW: usize = 256;

type Result<T> = std::result::Result<T, super::HistoryError>;

/// The keys that are asked for, and the newest change of each.
struct Asked<'k> {
    keys: &'k [Vec<u8>],
    by_hash: HashMap<KeyHash, Vec<usize>>,
    by_name: HashMap<&'k [u8], Vec<usize>>,
    table: TableId,
    newest: Vec<Option<Lsn>>,
}

impl Past<'_> {
    pub(super) fn changed(&mut self, db: Db, keys: &[Vec<u8>], since: Lsn) -> Result<Vec<Changed>> {
        let map = self.index.tables();
        let segments = self.segments.clone();
        let above = || segments.iter().rev().filter(|segment| segment.last_lsn() > since);
        for segment in above() {
            let controls = self.controls_of(segment)?;
            let mut of_db = controls.iter().rev().filter(|control| control.lsn > since && control.lsn <= map.lsn && control.concerns(db));
            if let Some(control) = of_db.next() {
                return Ok(vec![Changed::At(control.lsn); keys.len()]);
            }
        }
        let mut asked = Asked::new(keys, map.id(db), self.log.key_hash_seed);
        for segment in above() {
            self.check_time()?;
            if segment.is_sealed() { asked.look_into_sealed(segment)? } else { asked.look_into_frames(segment)? }
        }
        // Read last: what was dropped while we looked is not missed.
        let dropped = self.bounds().horizon > since;
        let told = |newest: Option<Lsn>| match newest {
            Some(lsn) if lsn > since => Changed::At(lsn),
            _ if dropped => Changed::Unknown,
            _ => Changed::No,
        };
        Ok(asked.newest.into_iter().map(told).collect())
    }
}

impl<'k> Asked<'k> {
    fn new(keys: &'k [Vec<u8>], table: TableId, seed: u64) -> Self {
        let (mut by_hash, mut by_name) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, key) in keys.iter().enumerate() {
            by_hash.entry(key_hash(key, seed)).or_default().push(at);
            by_name.entry(key.as_slice()).or_default().push(at);
        }
        Self { keys, by_hash, by_name, table, newest: vec![None; keys.len()] }
    }

    fn note(&mut self, at: usize, lsn: Lsn) {
        self.newest[at] = self.newest[at].max(Some(lsn));
    }

    fn look_into_sealed(&mut self, segment: &Segment) -> Result<()> {
        let (offset, bytes) = Footer::read(segment.file())?;
        let footer = FooterView::parse(&bytes, offset, segment.seed()).map_err(|error| {
            let (path, lsn) = (segment.file().path().to_owned(), segment.last_lsn());
            StorageError::Corrupt { path, offset, lsn, reason: error.to_string() }
        })?;
        let of = self.table;
        for hint in footer.hints().filter(|hint| hint.table.is_none_or(|table| table == of)) {
            for at in self.by_hash.get(&hint.key_hash).cloned().unwrap_or_default() {
                let record = inspect(segment, Location::new(segment.id(), hint.offset), &self.keys[at])?;
                if let Some(record) = record.filter(|record| record.table == of) {
                    self.note(at, record.lsn);
                }
            }
        }
        Ok(())
    }

    fn look_into_frames(&mut self, segment: &Segment) -> Result<()> {
        let (mut frames, of) = (Frames::new(segment), self.table);
        loop {
            let window = frames.window(WINDOW)?;
            if window.is_empty() {
                return Ok(());
            }
            for (_, entry) in window {
                let of_table = entry.ops().filter(|(_, op)| op.header.code.has_key() && op.header.table == of);
                for (_, op) in of_table {
                    for at in self.by_name.get(op.key).cloned().unwrap_or_default() {
                        self.note(at, entry.head().lsn);
                    }
                }
            }
        }
    }
}
