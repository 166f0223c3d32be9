//! What happened to whole databases: looked for in a segment once, as such ops have no hints.

use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::control::{FlushedTable, SwappedDatabases};
use crate::codec::entry::EntryView;
use crate::codec::evicted::Evicted;
use crate::codec::op::OpCode;
use crate::error::{Result, StorageError};
use crate::index::Index;
use crate::log::{Frames, Segment};
use crate::segment::FooterView;
use crate::segment::footer::Footer;
use crate::types::{DATABASES, Db, Generation, Lsn, TableId, UnixMillis};

/// Entries looked at between two reads.
const WINDOW: usize = 256;

/// A flush, a swap or an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) lsn: Lsn,
    pub(super) time: UnixMillis,
    change: TableChange,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TableChange {
    Flush(Vec<FlushedTable>),
    Swap(SwappedDatabases),
    /// First and last LSN, and the body: few are asked for, and there may be many ops in one.
    Evict(Lsn, Lsn, Box<[u8]>),
}

/// The tables of all databases.
pub(crate) type TableIds = [TableId; DATABASES as usize];

impl Control {
    /// What the tables were before it.
    pub(super) fn undo(&self, tables: &mut TableIds) {
        match &self.change {
            TableChange::Flush(flushed) => {
                for one in flushed {
                    tables[usize::from(one.db.0)] = one.old;
                }
            }
            TableChange::Swap(swapped) => tables.swap(usize::from(swapped.a.0), usize::from(swapped.b.0)),
            TableChange::Evict(..) => {}
        }
    }

    pub(super) fn concerns(&self, db: Db) -> bool {
        match &self.change {
            TableChange::Flush(flushed) => flushed.iter().any(|one| one.db == db),
            TableChange::Swap(swapped) => swapped.a == db || swapped.b == db,
            TableChange::Evict(..) => false,
        }
    }

    /// What it evicts, if something of this range of LSNs.
    pub(crate) fn evicts(&self, first: Lsn, last: Lsn) -> Option<Evicted> {
        match &self.change {
            TableChange::Evict(from, to, body) if *from <= last && *to >= first => Evicted::decode(body).ok(),
            _ => None,
        }
    }

    pub(super) fn is_flush(&self) -> bool {
        matches!(self.change, TableChange::Flush(_))
    }
}

/// Those of the segments that were looked at.
#[derive(Default)]
pub(crate) struct Controls {
    known: HashMap<Generation, Arc<[Control]>>,
}

impl Controls {
    /// Those of a segment, in the order of the log.
    pub(crate) fn of(&mut self, segment: &Segment) -> Result<Arc<[Control]>> {
        if let Some(known) = self.known.get(&segment.generation()) {
            return Ok(Arc::clone(known));
        }
        let found: Arc<[Control]> = if has_only_keys(segment)? { Arc::new([]) } else { find(segment)?.into() };
        if segment.is_sealed() {
            self.known.insert(segment.generation(), Arc::clone(&found));
        }
        Ok(found)
    }

    /// Forgets segments that are not there any more.
    pub(super) fn retain(&mut self, segments: &[Arc<Segment>]) {
        self.known.retain(|generation, _| segments.iter().any(|segment| segment.generation() == *generation));
    }
}

/// The tables of all databases after the entry of an LSN. `segments`: those that hold the log, in order.
pub(crate) fn tables_at(index: &Index, segments: &[Arc<Segment>], controls: &mut Controls, lsn: Lsn) -> Result<TableIds> {
    let map = index.tables();
    let mut tables = std::array::from_fn(|db| map.id(Db(db as u8)));
    for segment in segments.iter().rev().filter(|segment| segment.base_lsn().is_some_and(|base| base <= map.lsn)) {
        if map.lsn <= lsn || segment.last_lsn() <= lsn {
            break;
        }
        // Those behind the map came after it was looked at.
        for control in controls.of(segment)?.iter().rev().filter(|control| control.lsn > lsn && control.lsn <= map.lsn) {
            control.undo(&mut tables);
        }
    }
    Ok(tables)
}

/// Whether the footer says that all ops have keys.
fn has_only_keys(segment: &Segment) -> Result<bool> {
    if !segment.is_sealed() {
        return Ok(false);
    }
    let (offset, bytes) = Footer::read(segment.file())?;
    // What does not pass is told of when the frames are read.
    Ok(FooterView::parse(&bytes, offset, segment.seed()).is_ok_and(|footer| footer.ops() == footer.hint_count()))
}

fn find(segment: &Segment) -> Result<Vec<Control>> {
    let mut found = Vec::new();
    let mut frames = Frames::new(segment);
    loop {
        let window = frames.window(WINDOW)?;
        if window.is_empty() {
            return Ok(found);
        }
        for (offset, entry) in window {
            of_entry(&entry, &mut found).map_err(|reason| StorageError::Corrupt {
                path: segment.file().path().to_owned(),
                offset: offset.into(),
                lsn: entry.head().lsn,
                reason,
            })?;
        }
    }
}

fn of_entry(entry: &EntryView<'_>, found: &mut Vec<Control>) -> Result<(), String> {
    let (lsn, time) = (entry.head().lsn, entry.head().time);
    for (_, op) in entry.ops() {
        let change = match op.header.code {
            OpCode::FlushTables => TableChange::Flush(FlushedTable::decode_all(op.body).map_err(|error| error.to_string())?),
            OpCode::SwapDatabases => TableChange::Swap(SwappedDatabases::decode(op.body).map_err(|error| error.to_string())?),
            OpCode::Evict => {
                let (first, last) = Evicted::decode(op.body).map_err(|error| error.to_string())?.range();
                TableChange::Evict(first, last, op.body.into())
            }
            _ => continue,
        };
        found.push(Control { lsn, time, change });
    }
    Ok(())
}
