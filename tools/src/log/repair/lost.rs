//! Which keys a hole concerns, and what becomes of them.
//!
//! What was in a hole is known from the hints of the segment's footer (hashes of keys), from what of the damaged bytes can still be read,
//! and from the rest of the log, which has the names to the hashes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use esker_storage::codec::delta::Delta;
use esker_storage::codec::entry::{EntryView, SINGLE_HEADER};
use esker_storage::codec::op::OpCode;
use esker_storage::manifest::Manifest;
use esker_storage::segment::footer::key_hash;
use esker_storage::segment::{Continuity, Frame, SegmentReader};
use esker_storage::types::{Db, Generation, Lsn, TableId};

use super::super::LogError;
use super::super::scan::{Record, visit_entry};
use super::walk::{Hole, Walked, load};
use esker_storage::history::Tables;

/// A key that was written in a hole.
#[derive(Debug, Clone, Default)]
pub(super) struct Concerned {
    pub(super) name: Option<Vec<u8>>,
    /// The highest LSN at which a record of it may have been lost.
    lost: Lsn,
    /// Whether it is known, or only read from damaged bytes.
    certain: bool,
    /// Its newest record before that, and since.
    before: Option<(Lsn, u32, OpCode)>,
    after: Option<Lsn>,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was written again since: nothing.
    Unharmed,
    /// It goes back to its value of this LSN.
    GoesBack(Lsn),
    /// There is nothing of it any more.
    Gone,
}

impl Concerned {
    pub(super) fn fate(&self) -> Fate {
        match (self.after, self.before) {
            (Some(_), _) => Fate::Unharmed,
            (None, Some((lsn, _, OpCode::Put | OpCode::Delta))) => Fate::GoesBack(lsn),
            (None, _) => Fate::Gone,
        }
    }

    /// Whether its newest record so far is the base of a delta.
    fn stands_on(&self, delta: &Delta<'_>) -> bool {
        self.before.is_some_and(|(lsn, op, _)| (lsn, op) == (delta.base_lsn, delta.base_op))
    }

    pub(super) fn is_certain(&self) -> bool {
        self.certain
    }
}

/// All that is lost, and what has to go with it.
pub(super) struct Lost {
    /// By table and hash.
    pub(super) keys: BTreeMap<(u32, u64), Concerned>,
    /// Whether keys may be missing in that list.
    pub(super) incomplete: bool,
    /// Ops that change what was lost, and so mean nothing: by segment and offset of the entry.
    pub(super) dependents: HashMap<Generation, BTreeMap<u32, Vec<u32>>>,
    /// Tables that are written to and were given to a database nowhere: that was lost.
    pub(super) unknown_tables: HashSet<u32>,
    /// Where a change of whole databases is among what is damaged.
    pub(super) control: Option<Lsn>,
    /// Entries of which nothing can be read.
    pub(super) unreadable: u64,
    pub(super) tables: Tables,
    seed: u64,
    /// LSNs that are lost.
    holes: Vec<(Lsn, Lsn)>,
    /// Deltas on what is lost.
    records: HashSet<(Lsn, u32)>,
    /// Tables that a database has or had.
    pub(super) given: HashSet<u32>,
}

impl Lost {
    /// Reads the damaged bytes, then the whole log.
    pub(super) fn find(walked: &[Walked], manifest: &Manifest) -> Result<Self, LogError> {
        let mut lost = Self {
            keys: BTreeMap::new(),
            incomplete: false,
            dependents: HashMap::new(),
            unknown_tables: HashSet::new(),
            control: None,
            unreadable: 0,
            tables: Tables::of(manifest),
            seed: manifest.identity.key_hash_seed,
            holes: Vec::new(),
            records: HashSet::new(),
            given: (0..u32::from(esker_storage::types::DATABASES)).chain(manifest.tables.databases.map(|table| table.0)).collect(),
        };
        for segment in walked.iter().filter(|segment| !segment.holes.is_empty()) {
            let (bytes, ..) = load(&segment.file, manifest)?;
            segment.holes.iter().filter(|hole| hole.missing() > 0).for_each(|hole| lost.read_hole(segment, hole, &bytes));
        }
        // Only the first pass tells which keys have deltas on what is lost, only the second what else there is of those.
        for _ in 0..if lost.holes.is_empty() { 0 } else { 2 } {
            lost.dependents.clear();
            lost.keys.values_mut().for_each(|key| (key.before, key.after) = (None, None));
            let mut tables = Tables::of(manifest);
            for segment in walked {
                lost.read_segment(segment, manifest, &mut tables)?;
            }
            tables.at_end();
            lost.tables = tables;
        }
        Ok(lost)
    }

    /// The database of a key.
    pub(super) fn db_of(&self, table: u32) -> Option<Db> {
        self.tables.db_of(TableId(table))
    }

    fn read_hole(&mut self, segment: &Walked, hole: &Hole, bytes: &[u8]) {
        self.holes.push((hole.first, hole.last));
        let hinted = segment.footer.is_some();
        for hint in segment.hints.iter().filter(|hint| (hole.from..hole.to).contains(&(hint.offset as usize))) {
            match hint.table {
                Some(table) => self.concern(table, hint.key_hash.0, hole.last, None, true),
                None => self.incomplete = true,
            }
        }
        self.incomplete |= !hinted;
        let damaged = &bytes[hole.from..hole.to.min(bytes.len())];
        // The code of an entry's first op stands at a fixed place, whatever is wrong elsewhere.
        let is_control = |code: u8| [OpCode::FlushTables, OpCode::SwapDatabases].iter().any(|control| control.to_byte() == code);
        if damaged.get(SINGLE_HEADER + 4).is_some_and(|code| is_control(*code)) {
            self.control = Some(hole.first);
        }
        let (mut at, mut read) = (0, 0);
        while let Some(entry) = damaged.get(at..).and_then(|rest| EntryView::trusted(rest).ok()) {
            read += 1;
            for (_, op) in entry.ops() {
                if is_control(op.header.code.to_byte()) {
                    self.control = Some(entry.head().lsn);
                }
                if !op.header.code.has_key() {
                    continue;
                }
                let (table, hash) = (op.header.table, key_hash(op.key, self.seed).0);
                let seed = segment.header.seed().lsn(entry.head().lsn).op(op.header.op_number());
                let known = self.keys.contains_key(&(table.0, hash));
                // With hints, whatever they do not name was misread.
                if known || !hinted {
                    self.concern(table, hash, hole.last, Some(op.key), known || op.verify(seed).is_ok());
                }
            }
            at += (entry.header().len as usize).max(1);
        }
        self.unreadable += hole.missing().saturating_sub(read);
    }

    fn concern(&mut self, table: TableId, hash: u64, lost: Lsn, name: Option<&[u8]>, certain: bool) {
        let key = self.keys.entry((table.0, hash)).or_default();
        key.lost = key.lost.max(lost);
        key.certain |= certain;
        if let Some(name) = name {
            key.name = Some(name.to_vec());
        }
    }

    fn read_segment(&mut self, segment: &Walked, manifest: &Manifest, tables: &mut Tables) -> Result<(), LogError> {
        let (bytes, header, _) = load(&segment.file, manifest)?;
        let mut from = esker_storage::segment::SEGMENT_HEADER;
        for to in segment.holes.iter().map(|hole| (hole.from, hole.to)).chain([(segment.end, segment.end)]) {
            let part = &bytes[..to.0.min(bytes.len())];
            let reader = SegmentReader::resume(part, header.seed(), Continuity::Any, from, Lsn(0), Default::default());
            for (offset, frame) in reader.flatten() {
                if let Frame::Entry(entry) = frame {
                    let _flow = visit_entry(&segment.file, offset, &entry, tables, Lsn(0), &mut |record| {
                        self.apply(record, offset);
                        Ok(ControlFlow::Continue(()))
                    })?;
                }
            }
            from = to.1;
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record<'_>, entry_offset: u32) {
        let (lsn, header) = (record.entry.head().lsn, &record.op.header);
        if header.code == OpCode::FlushTables {
            use esker_storage::codec::control::FlushedTable;
            self.given.extend(FlushedTable::decode_all(record.op.body).unwrap_or_default().iter().map(|flushed| flushed.new.0));
        }
        if !header.code.has_key() {
            return;
        }
        if !self.given.contains(&header.table.0) {
            self.unknown_tables.insert(header.table.0);
        }
        let id = (header.table.0, key_hash(record.op.key, self.seed).0);
        let number = header.op_number();
        if self.is_dependent(record, id) {
            self.records.insert((lsn, number));
            self.dependents.entry(record.segment.generation).or_default().entry(entry_offset).or_default().push(number);
            self.concern(header.table, id.1, lsn, Some(record.op.key), true);
            return;
        }
        if let Some(key) = self.keys.get_mut(&id) {
            key.name.get_or_insert_with(|| record.op.key.to_vec());
            if lsn > key.lost {
                key.after = Some(lsn);
            } else {
                key.before = Some((lsn, number, header.code));
            }
        }
    }

    /// Whether it changes a record that is lost.
    fn is_dependent(&self, record: &Record<'_>, id: (u32, u64)) -> bool {
        if record.op.header.code != OpCode::Delta {
            return false;
        }
        Delta::decode(record.op.body).is_ok_and(|delta| {
            self.holes.iter().any(|(first, last)| (*first..=*last).contains(&delta.base_lsn))
                || self.records.contains(&(delta.base_lsn, delta.base_op))
                // Cleaning drops what a dead delta is based on: the key cannot go back to that one.
                || self.keys.get(&id).is_some_and(|key| key.lost >= record.entry.head().lsn && !key.stands_on(&delta))
        })
    }
}
