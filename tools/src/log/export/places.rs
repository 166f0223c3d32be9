//! Where the newest record of each key is, as of a place in the log.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use esker_storage::codec::delta::Delta;
use esker_storage::codec::entry::EntryView;
use esker_storage::codec::evicted::{Evicted, OpId};
use esker_storage::codec::op::{OpCode, OpView, ValueType};
use esker_storage::codec::value_ref::ValueRef;
use esker_storage::error::StorageError;
use esker_storage::segment::Frame;
use esker_storage::types::{Db, Lsn, TableId, UnixMillis};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::super::LogError;
use super::super::directory::{DataDirectory, SegmentFile};
use super::super::scan::read_segment;
use super::value::Sources;
use esker_storage::history::{Bounds, Tables};

/// Up to where the log counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum At {
    /// To its end.
    End,
    /// To this entry.
    Lsn(Lsn),
    /// To the last entry that was written by then.
    Time(UnixMillis),
}

/// One record where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the sources.
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) len: u32,
    pub(super) op: u32,
    pub(super) lsn: Lsn,
}

/// The newest record of a key. There is one in memory for every key: it is small.
#[derive(Debug)]
pub(in super::super) struct Newest {
    pub(super) place: Place,
    table: TableId,
    /// Unix ms; the greatest number: never.
    expire_at: i64,
    /// What few keys have.
    pub(super) rest: Option<Box<Rest>>,
}
const _: () = assert!(size_of::<Newest>() == 48);

/// What a record needs that is more than a whole value in its entry.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The records that a delta is based on, the image first.
    pub(super) chain: Vec<Place>,
    /// The first one's base is not in the log: which is right only if something newer follows.
    pub(super) broken: Option<Lsn>,
    /// The image's value, if it has a segment of its own.
    pub(super) value: Option<ValueRef>,
}

impl Newest {
    pub(super) fn expire_at(&self) -> Option<UnixMillis> {
        (self.expire_at != i64::MAX).then_some(UnixMillis(self.expire_at))
    }

    /// Whether its key is still there: its table was not flushed, nor the key evicted.
    fn is_in(&self, tables: &Tables, evicted: &HashSet<OpId>) -> bool {
        tables.db_of(self.table).is_some() && !evicted.contains(&(self.place.lsn, self.place.op))
    }
}

/// All keys.
pub(in super::super) struct Places {
    /// By table and key. 128 bits: among 2^40 keys two share a hash with a probability below 2^-48.
    keys: HashMap<u128, Newest>,
    tables: Tables,
    /// Records whose keys made room for others.
    evicted: HashSet<OpId>,
    last: Lsn,
    /// Clock of the last entry that counts.
    pub(super) time: UnixMillis,
}

impl Places {
    /// Reads the log. The segments that were read stay open.
    pub(super) fn find(directory: &DataDirectory, at: At) -> Result<(Self, Sources), LogError> {
        let listing = directory.listing()?;
        let tables = Tables::of(&listing.manifest);
        let mut places = Self { keys: HashMap::new(), tables, evicted: HashSet::new(), last: Lsn(0), time: UnixMillis(0) };
        let mut sources = Sources::default();
        let (mut horizon, mut passed, mut first) = (Lsn(0), false, true);
        for file in listing.log() {
            let mut segment = directory.load(file)?;
            if first {
                // What was before it is gone.
                horizon = listing.manifest.cleaned.horizon.max(Lsn(segment.header.base_lsn.0.saturating_sub(1)));
                places.last = Lsn(segment.header.base_lsn.0.saturating_sub(1));
            }
            let number = sources.add(&segment)?;
            let mut begun = false;
            let start = segment.start();
            let end = read_segment(&mut segment, start, &mut |file, offset, frame| {
                let Frame::Entry(entry) = frame else { return Ok(ControlFlow::Continue(())) };
                let head = entry.head();
                passed = match at {
                    At::End => false,
                    At::Lsn(lsn) => head.lsn > lsn,
                    At::Time(time) => head.time > time,
                };
                if passed {
                    if first && !begun && matches!(at, At::Time(_)) {
                        return Err(LogError::BeforeTheBeginning { first: head.time });
                    }
                    return Ok(ControlFlow::Break(()));
                }
                begun = true;
                places.apply_entry(file, number, offset, entry)?;
                Ok(ControlFlow::Continue(()))
            })?;
            first = false;
            if begun {
                horizon = horizon.max(segment.footer().map_or(Lsn(0), |footer| footer.seen));
            }
            if passed {
                break;
            }
            if let Some(bad) = end.bad.filter(|_| !segment.file.is_active()) {
                return Err(bad.in_file(&segment.file.path).into());
            }
        }
        places.check(at, passed, horizon)?;
        Ok((places, sources))
    }

    /// Whether the log still holds, or already holds, what was asked for.
    fn check(&mut self, at: At, passed: bool, horizon: Lsn) -> Result<(), LogError> {
        // Where entries follow, there is what was asked for, dropped or not.
        let last = if passed { Lsn(u64::MAX) } else { self.last };
        match at {
            At::Lsn(asked) => Bounds { horizon, last }.check(asked)?,
            At::Time(_) if passed => Bounds { horizon, last }.check(self.last)?,
            At::Time(_) | At::End => {}
        }
        self.tables.after(if let At::Lsn(asked) = at { asked } else { self.last });
        Ok(())
    }

    fn apply_entry(&mut self, file: &SegmentFile, segment: u32, offset: u32, entry: &EntryView<'_>) -> Result<(), LogError> {
        let head = entry.head();
        (self.last, self.time) = (head.lsn, head.time);
        for (distance, op) in entry.ops() {
            self.tables.apply(head.lsn, &op);
            let (len, number) = (op.bytes.len() as u32, op.header.op_number());
            let place = Place { segment, offset: offset + distance, len, op: number, lsn: head.lsn };
            self.apply(file, place, &op)?;
        }
        Ok(())
    }

    fn apply(&mut self, file: &SegmentFile, place: Place, op: &OpView<'_>) -> Result<(), LogError> {
        let header = &op.header;
        let id = xxh3_128_with_seed(op.key, u64::from(header.table.0));
        let corrupt = |reason: String| {
            LogError::from(StorageError::Corrupt { path: file.path.clone(), offset: u64::from(place.offset), lsn: place.lsn, reason })
        };
        if header.code.has_key() && header.value_type != ValueType::String {
            return Err(LogError::Export(format!("LSN {} is of a {:?}, which this version cannot export", place.lsn, header.value_type)));
        }
        let rest = match header.code {
            OpCode::Put if header.value_segment => {
                let value = ValueRef::decode(op.body).map_err(|error| corrupt(error.to_string()))?;
                Some(Box::new(Rest { value: Some(value), ..Rest::default() }))
            }
            OpCode::Put => None,
            OpCode::Delta => {
                let delta = Delta::decode(op.body).map_err(|error| corrupt(error.to_string()))?;
                let based = |base: &Newest| (base.place.lsn, base.place.op) == (delta.base_lsn, delta.base_op);
                Some(match self.keys.remove(&id).filter(based) {
                    Some(base) => {
                        let mut rest = base.rest.unwrap_or_default();
                        rest.chain.push(base.place);
                        rest
                    }
                    // Cleaning drops the base of a delta that is dead itself.
                    None => Box::new(Rest { broken: Some(delta.base_lsn), ..Rest::default() }),
                })
            }
            OpCode::Tombstone => {
                self.keys.remove(&id);
                return Ok(());
            }
            OpCode::Evict => {
                let evicted = Evicted::decode(op.body).map_err(|error| corrupt(error.to_string()))?;
                self.evicted.extend(evicted.ops());
                return Ok(());
            }
            OpCode::FlushTables | OpCode::SwapDatabases | OpCode::EpochStart | OpCode::ExpiredUpTo => return Ok(()),
        };
        let expire_at = header.expire_at.map_or(i64::MAX, |at| at.0);
        self.keys.insert(id, Newest { place, table: header.table, expire_at, rest });
        Ok(())
    }

    /// The newest record of a key of a table.
    pub(in super::super) fn newest(&self, table: TableId, key: &[u8]) -> Option<&Newest> {
        self.keys.get(&xxh3_128_with_seed(key, u64::from(table.0)))
    }

    /// Values in segments of their own, of keys in a database.
    pub(super) fn values(&self) -> impl Iterator<Item = u128> {
        let live = self.keys.values().filter(|newest| newest.is_in(&self.tables, &self.evicted));
        live.filter_map(|newest| newest.rest.as_ref()?.value.map(|value| value.value_id))
    }

    /// The keys that have not expired by then, with their databases.
    pub(super) fn live(self, now: UnixMillis) -> Vec<(Db, Newest)> {
        let Self { keys, tables, evicted, .. } = self;
        let live = keys.into_values().filter(|newest| newest.expire_at().is_none_or(|at| at > now) && newest.is_in(&tables, &evicted));
        live.filter_map(|newest| Some((tables.db_of(newest.table)?, newest))).collect()
    }
}
