//! What is known of the past that is to be kept, when the segments before it are cleaned.
//!
//! A record before the pin is needed for a state behind it only if it is its key's newest there, or what that one is based on. The index
//! tells that of keys that were not written since. Of those that were, it takes a later record before the pin, with a value of its own or a
//! tombstone; that is looked for in the footers of the segments being cleaned, and of so many behind them as the past that is kept is
//! long. A key that is written so seldom that its next record lies farther away is decided once it is older than the pin altogether.
//!
//! Invariants:
//! - What is not known is kept: a filter that claims too much, or a list that is full, costs space and no history.
//! - Nothing is dropped for what lies behind the pin.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::budget::Pace;
use super::filter::Filter;
use crate::codec::evicted::Evicted;
use crate::codec::op::{OpCode, OpView};
use crate::error::{Result, StorageError};
use crate::history::{Controls, TableIds, tables_at};
use crate::index::Index;
use crate::log::{Frames, Log, Segment};
use crate::segment::footer::{Footer, key_hash};
use crate::segment::{FooterView, SEGMENT_HEADER};
use crate::types::{Generation, KeyHash, Location, Lsn, SegmentId, TableId, UnixMillis};

/// Keys for which a later record is looked for, at most.
const KEYS: usize = 1 << 20;
/// Keys with deltas that are noted of one segment, at most.
const DELTAS: usize = 1 << 14;
/// Entries looked at between two reads.
const WINDOW: usize = 256;

/// What stays known from job to job.
#[derive(Default)]
pub(super) struct Known {
    /// Keys of which a segment holds deltas; none: too many.
    deltas: HashMap<Generation, Option<Arc<HashSet<u64>>>>,
    controls: Controls,
}

/// See the module.
pub(super) struct Evidence {
    /// What was superseded behind this LSN stays. A segment ends with it.
    pub(super) pin: Lsn,
    /// A clock that is not behind that of any state to be kept.
    pub(super) time: UnixMillis,
    /// The databases' tables at the pin.
    tables: TableIds,
    /// Keys that were written behind the pin.
    touched: Filter,
    /// Keys with deltas before the pin; too many: all may have some.
    deltas: Vec<Arc<HashSet<u64>>>,
    many_deltas: bool,
    /// Of keys that were touched, or have deltas: where the last record is that is no delta.
    latest: HashMap<u64, Order>,
    /// Places of segments in `last`.
    ordinals: HashMap<SegmentId, u32>,
    /// The last LSNs of the segments that were read.
    last: Vec<Lsn>,
    /// How far segments behind the pin were read.
    read: HashMap<Generation, usize>,
    /// All of the log up to here was.
    up_to: Lsn,
    /// The LSNs of the segments being cleaned, and what was evicted of them behind the pin.
    range: (Lsn, Lsn),
    evicted: Vec<Evicted>,
    /// Keys of which a record stays for the sake of the past.
    held: HashSet<u64>,
}

/// Where a record is in the log: the segment's ordinal, and the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Order(u32, u32);

fn id(hash: KeyHash, table: TableId) -> u64 {
    hash.0 ^ u64::from(table.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The footer of a sealed segment, read and checked.
fn with_footer<R>(segment: &Segment, pace: &mut dyn Pace, show: impl FnOnce(&FooterView<'_>) -> R) -> Result<Option<R>> {
    let (offset, bytes) = Footer::read(segment.file())?;
    if !pace.spent(bytes.len()) {
        return Ok(None);
    }
    let footer = FooterView::parse(&bytes, offset, segment.seed()).map_err(|error| StorageError::Corrupt {
        path: segment.file().path().to_owned(),
        offset,
        lsn: segment.last_lsn(),
        reason: error.to_string(),
    })?;
    Ok(Some(show(&footer)))
}

impl Evidence {
    /// Gathers it for the segments `range` of the log; none if that was told to stop.
    pub(super) fn gather(
        log: &Log,
        index: &Index,
        known: &mut Known,
        segments: &[Arc<Segment>],
        range: std::ops::Range<usize>,
        pin: Lsn,
        pace: &mut dyn Pace,
    ) -> Result<Option<Self>> {
        let all = log.segments().in_order();
        let window: Vec<_> = all.iter().filter(|segment| segment.last_lsn() > pin).collect();
        known.deltas.retain(|generation, _| all.iter().any(|segment| segment.generation() == *generation));
        let pinned = segments.iter().rev().find(|segment| segment.last_lsn() <= pin);
        let mut evidence = Self {
            pin,
            time: pinned.and_then(|segment| segment.first_time()).unwrap_or(UnixMillis(0)),
            tables: tables_at(index, &all, &mut known.controls, pin)?,
            touched: Filter::new(window.iter().map(|segment| ops_of(segment)).sum()),
            deltas: Vec::new(),
            many_deltas: false,
            latest: HashMap::new(),
            ordinals: HashMap::new(),
            last: Vec::new(),
            read: HashMap::new(),
            up_to: Lsn(0),
            range: (segments[range.start].base_lsn().unwrap_or_default(), segments[range.end - 1].last_lsn()),
            evicted: Vec::new(),
            held: HashSet::new(),
        };
        for segment in window.iter().filter(|segment| segment.is_sealed()) {
            let touched = &mut evidence.touched;
            let read = with_footer(segment, pace, |footer| {
                footer.hints().for_each(|hint| {
                    // Whose table is not in the hint is put in whatever the table.
                    touched.add(hint.table.map_or(hint.key_hash.0, |table| id(hint.key_hash, table)));
                });
            })?;
            if read.is_none() {
                return Ok(None);
            }
            evidence.read.insert(segment.generation(), usize::MAX);
            if index.evicted() > pin {
                let (first, last) = evidence.range;
                let controls = known.controls.of(segment)?;
                let behind = controls.iter().filter(|control| control.lsn > pin);
                evidence.evicted.extend(behind.filter_map(|control| control.evicts(first, last)));
            }
        }
        evidence.catch_up(log)?;
        let far: u64 = window.iter().map(|segment| segment.map().written() as u64).sum();
        let mut behind = 0;
        for (number, segment) in segments.iter().enumerate().skip(range.start).filter(|(_, segment)| segment.last_lsn() <= pin) {
            if !evidence.note_deltas(known, segment, pace)? {
                return Ok(None);
            }
            if number >= range.end {
                behind += segment.map().written() as u64;
            }
            if behind <= far.max(1) && !evidence.read_hints(segment, number < range.end, pace)? {
                return Ok(None);
            }
        }
        Ok(Some(evidence))
    }

    /// Notes the keys of a segment that have deltas.
    fn note_deltas(&mut self, known: &mut Known, segment: &Segment, pace: &mut dyn Pace) -> Result<bool> {
        let found = match known.deltas.get(&segment.generation()) {
            Some(found) => found.clone(),
            None => {
                let found = with_footer(segment, pace, |footer| {
                    let of_delta = footer.hints().filter(|hint| hint.code == OpCode::Delta);
                    let keys: HashSet<u64> =
                        of_delta.map(|hint| hint.table.map_or(0, |table| id(hint.key_hash, table))).take(DELTAS + 1).collect();
                    (keys.len() <= DELTAS && !keys.contains(&0)).then(|| Arc::new(keys))
                })?;
                let Some(found) = found else { return Ok(false) };
                known.deltas.insert(segment.generation(), found.clone());
                found
            }
        };
        match found {
            Some(keys) if keys.is_empty() => {}
            Some(keys) => self.deltas.push(keys),
            None => self.many_deltas = true,
        }
        Ok(true)
    }

    /// Looks for records that are no deltas, of keys for which that matters. `cleaned`: also those keys are noted that are not known yet.
    fn read_hints(&mut self, segment: &Segment, cleaned: bool, pace: &mut dyn Pace) -> Result<bool> {
        let ordinal = self.last.len() as u32;
        self.ordinals.insert(segment.id(), ordinal);
        self.last.push(segment.last_lsn());
        let read = with_footer(segment, pace, |footer| {
            for hint in footer.hints().filter(|hint| hint.code != OpCode::Delta) {
                let Some(key) = hint.table.map(|table| id(hint.key_hash, table)) else { continue };
                let order = Order(ordinal, hint.offset);
                if let Some(latest) = self.latest.get_mut(&key) {
                    *latest = order;
                } else if cleaned && self.latest.len() < KEYS && self.takes_evidence(key, hint.key_hash) {
                    self.latest.insert(key, order);
                }
            }
        })?;
        Ok(read.is_some())
    }

    /// Whether the index alone does not tell if an older record of the key is needed.
    fn takes_evidence(&self, key: u64, hash: KeyHash) -> bool {
        self.many_deltas
            || self.touched.may_have(key)
            || self.touched.may_have(hash.0)
            || self.deltas.iter().any(|keys| keys.contains(&key))
    }

    /// Reads what was appended since.
    fn catch_up(&mut self, log: &Log) -> Result<()> {
        let written = log.durability().written();
        for segment in log.segments().in_order().iter().filter(|segment| segment.last_lsn() > self.pin) {
            let from = self.read.entry(segment.generation()).or_insert(SEGMENT_HEADER);
            if *from == usize::MAX {
                continue;
            }
            let mut frames = Frames::resume(segment, *from);
            loop {
                let entries = frames.window(WINDOW)?;
                if entries.is_empty() {
                    break;
                }
                for (_, op) in entries.iter().flat_map(|(_, entry)| entry.ops()) {
                    if op.header.code.has_key() {
                        self.touched.add(id(key_hash(op.key, log.key_hash_seed), op.header.table));
                    } else if op.header.code == OpCode::Evict
                        && let Ok(evicted) = Evicted::decode(op.body)
                        && evicted.range().0 <= self.range.1
                        && evicted.range().1 >= self.range.0
                    {
                        self.evicted.push(evicted);
                    }
                }
            }
            *from = frames.offset();
        }
        self.up_to = written;
        Ok(())
    }

    /// Whether the key may have been written behind the pin. Asked after its cells were looked up, so that what was written until then counts.
    pub(super) fn is_touched(&mut self, log: &Log, last_delete: Lsn, hash: KeyHash, table: TableId) -> Result<bool> {
        let touched = |filter: &Filter| filter.may_have(id(hash, table)) || filter.may_have(hash.0);
        if !touched(&self.touched) && last_delete > self.up_to {
            self.catch_up(log)?;
        }
        Ok(touched(&self.touched))
    }

    /// Whether the op's key was evicted behind the pin. Asked after [`is_touched`](Self::is_touched).
    pub(super) fn is_evicted(&self, lsn: Lsn, number: u32) -> bool {
        self.evicted.iter().any(|evicted| evicted.contains(lsn, number))
    }

    /// Whether a delta before the pin may be based on a record of the key.
    pub(super) fn may_have_deltas(&self, hash: KeyHash, table: TableId) -> bool {
        self.many_deltas || self.deltas.iter().any(|keys| keys.contains(&id(hash, table)))
    }

    /// Whether a later record before the pin makes this one needless, and an LSN that is not before that record's.
    pub(super) fn superseded(&self, hash: KeyHash, table: TableId, at: Location) -> Option<Lsn> {
        let latest = *self.latest.get(&id(hash, table))?;
        let order = Order(*self.ordinals.get(&at.segment())?, at.offset());
        (latest > order).then(|| self.last[latest.0 as usize])
    }

    /// Notes that a record stays: the tombstone that hides it has to stay too.
    pub(super) fn hold(&mut self, hash: KeyHash, op: &OpView<'_>) {
        if op.header.code != OpCode::Tombstone && self.held.len() < KEYS {
            self.held.insert(id(hash, op.header.table));
        }
    }

    /// Whether an older record of the key may stay.
    pub(super) fn holds(&self, hash: KeyHash, table: TableId) -> bool {
        self.held.len() == KEYS || self.held.contains(&id(hash, table))
    }

    /// Whether no database had this table at the pin.
    pub(super) fn is_flushed(&self, table: TableId) -> bool {
        !self.tables.contains(&table)
    }
}

fn ops_of(segment: &Segment) -> u64 {
    // Of one that is not sealed: as many as fit.
    if segment.is_sealed() { Footer::ops_of(segment.file()).unwrap_or(0) } else { segment.map().capacity() as u64 / 64 }
}
