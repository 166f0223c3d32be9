//! What of the log is live: the newest record of each key, and what it is based on.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use esker_storage::codec::control::ExpiredUpTo;
use esker_storage::codec::delta::Delta;
use esker_storage::codec::entry::SINGLE_HEADER;
use esker_storage::codec::evicted::{Evicted, OpId};
use esker_storage::codec::op::OpCode;
use esker_storage::codec::value_ref::ValueRef;
use esker_storage::manifest::Manifest;
use esker_storage::segment::footer::key_hash;
use esker_storage::types::{Generation, Lsn, Slot, TableId, UnixMillis};

use super::LogError;
use super::directory::{DataDirectory, Listing};
use super::scan::{ReadSegment, Record, each_op_of};
use esker_storage::history::Tables;

/// The newest record of a key.
#[derive(Debug, Clone)]
pub(super) struct Newest {
    pub(super) lsn: Lsn,
    pub(super) op: u32,
    pub(super) table: TableId,
    pub(super) slot: Slot,
    pub(super) key_len: u32,
    pub(super) value_len: u64,
    pub(super) expire_at: Option<UnixMillis>,
    part: Part,
    /// The records that a delta is based on, oldest first.
    chain: Vec<Part>,
    /// The first of them has a base that is not there: which is right only if something newer follows, as cleaning drops what is dead.
    broken: Option<Box<BrokenChain>>,
}

/// Bytes of one record.
#[derive(Debug, Clone, Copy)]
struct Part {
    segment: Generation,
    bytes: u32,
}

/// A delta whose base is not the newest record of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BrokenChain {
    pub(super) generation: Generation,
    pub(super) offset: u32,
    pub(super) lsn: Lsn,
    pub(super) base: Lsn,
}

/// Keys and their newest records after all of the log.
pub(super) struct Liveness {
    keys: HashMap<u64, Newest>,
    values: HashMap<u64, ValueRef>,
    tables: Tables,
    /// Records whose keys made room for others.
    evicted: HashSet<OpId>,
    /// What expires by this time was declared gone.
    expired: UnixMillis,
    /// What was read.
    pub(super) segments: Vec<ReadSegment>,
    pub(super) broken: Vec<BrokenChain>,
}

impl Liveness {
    /// Replays the log.
    pub(super) fn replay(directory: &DataDirectory, listing: &Listing) -> Result<Self, LogError> {
        let mut live = Self::new(&listing.manifest);
        live.segments = each_op_of(directory, listing, Lsn(0), &mut |record| {
            live.apply(record);
            Ok(ControlFlow::Continue(()))
        })?;
        live.finish();
        Ok(live)
    }

    /// Before the first record.
    pub(super) fn new(manifest: &Manifest) -> Self {
        Self {
            keys: HashMap::new(),
            values: HashMap::new(),
            tables: Tables::of(manifest),
            evicted: HashSet::new(),
            expired: UnixMillis(i64::MIN),
            segments: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// After the last record: what is in no database's table any more is dead, and what was evicted or declared expired, of which the index
    /// has let go and cleaning may have kept a part.
    pub(super) fn finish(&mut self) {
        let Self { keys, values, tables, evicted, expired, .. } = self;
        let tables = tables.at_end();
        keys.retain(|id, newest| {
            let gone = evicted.contains(&(newest.lsn, newest.op)) || newest.expire_at.is_some_and(|at| at <= *expired);
            let live = tables.db_of(newest.table).is_some() && !gone;
            if !live {
                values.remove(id);
            }
            live
        });
        self.broken = self.keys.values().filter_map(|newest| newest.broken.as_deref().cloned()).collect();
        self.broken.sort_by_key(|broken| broken.lsn);
    }

    /// Takes the next op of the log.
    pub(super) fn apply(&mut self, record: &Record<'_>) {
        let header = &record.op.header;
        // The seed tells the tables' keys apart.
        let id = key_hash(record.op.key, u64::from(header.table.0)).0;
        match header.code {
            OpCode::Put => self.put(id, record),
            OpCode::Tombstone => self.remove(id),
            OpCode::Delta => self.delta(id, record),
            OpCode::FlushTables | OpCode::SwapDatabases => self.tables.apply(record.entry.head().lsn, &record.op),
            OpCode::Evict => self.evicted.extend(Evicted::decode(record.op.body).iter().flat_map(|evicted| evicted.ops().iter().copied())),
            OpCode::ExpiredUpTo => {
                if let Ok(declared) = ExpiredUpTo::decode(record.op.body) {
                    self.expired = self.expired.max(declared.at);
                }
            }
            OpCode::EpochStart => {}
        }
    }

    fn remove(&mut self, id: u64) {
        self.keys.remove(&id);
        self.values.remove(&id);
    }

    fn put(&mut self, id: u64, record: &Record<'_>) {
        let value = record.op.header.value_segment.then(|| ValueRef::decode(record.op.body).ok()).flatten();
        match value {
            Some(value) => self.values.insert(id, value),
            None => self.values.remove(&id),
        };
        let len = value.map_or(record.op.body.len() as u64, |value| value.len);
        self.keys.insert(id, newest(record, len, Vec::new()));
    }

    fn delta(&mut self, id: u64, record: &Record<'_>) {
        let Ok(delta) = Delta::decode(record.op.body) else { return };
        let base = self.keys.remove(&id).filter(|base| (base.lsn, base.op) == (delta.base_lsn, delta.base_op));
        let mut found = newest(record, delta.total_len, Vec::new());
        if let Some(base) = base {
            found.chain = base.chain;
            found.chain.push(base.part);
            found.broken = base.broken;
        } else {
            let (generation, lsn) = (record.segment.generation, record.entry.head().lsn);
            found.broken = Some(Box::new(BrokenChain { generation, offset: record.offset, lsn, base: delta.base_lsn }));
        }
        self.keys.insert(id, found);
    }

    /// The live keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Newest> {
        self.keys.values()
    }

    /// The tables at the end of the log.
    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The values in segments of their own that live keys refer to, by id.
    pub(super) fn values(&self) -> HashMap<u128, ValueRef> {
        self.values.values().map(|value| (value.value_id, *value)).collect()
    }

    /// Live bytes, a segment.
    pub(super) fn bytes_by_segment(&self) -> HashMap<Generation, u64> {
        let mut bytes = HashMap::new();
        let parts = self.keys.values().flat_map(|newest| newest.chain.iter().chain([&newest.part]));
        for part in parts {
            *bytes.entry(part.segment).or_insert(0) += u64::from(part.bytes);
        }
        bytes
    }
}

fn newest(record: &Record<'_>, value_len: u64, chain: Vec<Part>) -> Newest {
    let header = &record.op.header;
    // The header of an entry with one op serves that op alone.
    let around = if header.place.is_none() { SINGLE_HEADER } else { 0 };
    Newest {
        lsn: record.entry.head().lsn,
        op: record.number,
        table: header.table,
        slot: record.slot().unwrap_or_default(),
        key_len: header.key_len,
        value_len,
        expire_at: header.expire_at,
        part: Part { segment: record.segment.generation, bytes: (record.op.bytes.len() + around) as u32 },
        chain,
        broken: None,
    }
}
