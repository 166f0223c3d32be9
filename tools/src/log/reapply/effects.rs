//! What the entries of a divergent file come to, key by key.
//!
//! Invariants:
//! - Places are in the order of the log: a value is that of the last one, folded over those before it.
//! - A database is the one whose table a record's was before the first entry. Flushes give tables to the databases of the ones that they
//!   empty; swaps change nothing, as they are not applied again.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use esker_storage::codec::DecodeError;
use esker_storage::codec::control::{FlushedTable, SwappedDatabases};
use esker_storage::codec::delta::Delta;
use esker_storage::codec::entry::EntryView;
use esker_storage::codec::op::{OpCode, OpView, ValueType};
use esker_storage::codec::value_ref::ValueRef;
use esker_storage::types::{Db, Lsn, TableId, UnixMillis};

use super::super::LogError;
use super::super::divergent::{DivergentFile, tables_beside};

/// One op where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) lsn: Lsn,
    pub(super) op: u32,
}

/// A value that results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    /// The records that it is made of, the newest last.
    pub(super) chain: Vec<Place>,
    /// What the first of them is based on, if it is a delta: a record of before the file.
    pub(super) base: Option<(Lsn, u32)>,
    pub(super) expire_at: Option<UnixMillis>,
    pub(super) len: u64,
    pub(super) hash: u64,
}

/// What becomes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Net {
    Set(Set),
    Deleted,
    /// It cannot be told.
    Unknown(String),
}

/// A key of the file.
pub(super) struct Effect {
    pub(super) db: Db,
    pub(super) table: TableId,
    pub(super) key: Vec<u8>,
    /// Its last op.
    pub(super) lsn: Lsn,
    pub(super) net: Net,
}

/// What happened to whole databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfDatabases {
    pub(super) lsn: Lsn,
    pub(super) command: String,
}

/// All of it.
pub(super) struct Effects {
    /// By the LSN of their last op.
    pub(super) keys: Vec<Effect>,
    pub(super) of_databases: Vec<OfDatabases>,
    /// The last LSN.
    pub(super) last: Lsn,
}

/// The effects while the file is read.
struct Reading {
    keys: HashMap<(TableId, Vec<u8>), (Lsn, Net)>,
    of_databases: Vec<OfDatabases>,
    /// The database that each table was of before the file began.
    origin: BTreeMap<TableId, Db>,
    flushed: BTreeMap<TableId, Lsn>,
    last: Lsn,
}

impl Effects {
    /// Reads the file. Nothing of one with damage counts.
    pub(super) fn of(file: &DivergentFile) -> Result<Self, LogError> {
        let tables = tables_beside(&file.path)?;
        let origin = tables.databases.iter().zip(0..).map(|(table, db)| (*table, Db(db))).collect();
        let mut reading = Reading { keys: HashMap::new(), of_databases: Vec::new(), origin, flushed: BTreeMap::new(), last: file.common() };
        file.each_entry(&mut |offset, entry| reading.entry(offset, entry).map_err(|error| file.bad(offset, entry.head().lsn, error)))?;
        Ok(reading.finish())
    }
}

impl Reading {
    fn entry(&mut self, offset: u64, entry: &EntryView<'_>) -> Result<(), DecodeError> {
        self.last = entry.head().lsn;
        for (distance, op) in entry.ops() {
            let (len, number) = (op.bytes.len() as u32, op.header.op_number());
            self.op(Place { offset: offset + u64::from(distance), len, lsn: self.last, op: number }, &op)?;
        }
        Ok(())
    }

    fn op(&mut self, place: Place, op: &OpView<'_>) -> Result<(), DecodeError> {
        let net = match op.header.code {
            code if code.has_key() && op.header.value_type != ValueType::String => {
                Net::Unknown(format!("a {:?}, which this version does not know", op.header.value_type))
            }
            OpCode::Put => Net::Set(Set {
                chain: vec![place],
                base: None,
                expire_at: op.header.expire_at,
                len: if op.header.value_segment { ValueRef::decode(op.body)?.len } else { op.body.len() as u64 },
                hash: op.header.content_hash,
            }),
            OpCode::Delta => return self.delta(place, op),
            OpCode::Tombstone => Net::Deleted,
            OpCode::FlushTables => return self.flush(place.lsn, op),
            OpCode::SwapDatabases => {
                let swapped = SwappedDatabases::decode(op.body)?;
                self.of_databases.push(OfDatabases { lsn: place.lsn, command: format!("SWAPDB {} {}", swapped.a, swapped.b) });
                return Ok(());
            }
            // Room and time are matters of the server that it goes to.
            OpCode::EpochStart | OpCode::Evict | OpCode::ExpiredUpTo => return Ok(()),
        };
        self.keys.insert((op.header.table, op.key.to_vec()), (place.lsn, net));
        Ok(())
    }

    fn delta(&mut self, place: Place, op: &OpView<'_>) -> Result<(), DecodeError> {
        let delta = Delta::decode(op.body)?;
        let base = (delta.base_lsn, delta.base_op);
        let of_file = |set: &Set| set.chain.last().is_some_and(|last| (last.lsn, last.op) == base);
        let header = &op.header;
        let begun =
            Set { chain: vec![place], base: Some(base), expire_at: header.expire_at, len: delta.total_len, hash: header.content_hash };
        let net = match self.keys.remove(&(header.table, op.key.to_vec())) {
            None => Net::Set(begun),
            Some((_, Net::Set(mut set))) if of_file(&set) => {
                set.chain.push(place);
                Net::Set(Set { chain: set.chain, base: set.base, ..begun })
            }
            // Cleaning drops the base of a delta that is dead itself.
            Some(_) => Net::Unknown(format!("it is based on the record {}.{}, which the file does not have", base.0, base.1)),
        };
        self.keys.insert((header.table, op.key.to_vec()), (place.lsn, net));
        Ok(())
    }

    fn flush(&mut self, lsn: Lsn, op: &OpView<'_>) -> Result<(), DecodeError> {
        let flushed = FlushedTable::decode_all(op.body)?;
        let mut databases = Vec::new();
        for one in &flushed {
            if let Some(origin) = self.origin.get(&one.old).copied() {
                self.origin.insert(one.new, origin);
            }
            self.flushed.insert(one.old, lsn);
            databases.push(one.db.to_string());
        }
        self.of_databases.push(OfDatabases { lsn, command: format!("FLUSHDB of database {}", databases.join(", ")) });
        Ok(())
    }

    fn finish(self) -> Effects {
        let Self { keys, origin, flushed, .. } = self;
        // What a flush was followed by counts, and not what it removed.
        let mut last: HashMap<(Option<Db>, Vec<u8>), Effect> = HashMap::new();
        for ((table, key), (lsn, net)) in keys {
            let db = origin.get(&table).copied();
            let net = match (flushed.get(&table), db) {
                (Some(at), _) => Net::Unknown(format!("its database was emptied afterwards, at LSN {at}")),
                (None, None) => Net::Unknown(format!("it is of table {table}, of which no database is known")),
                (None, Some(_)) => net,
            };
            let effect = Effect { db: db.unwrap_or_default(), table, key: key.clone(), lsn, net };
            match last.entry((db, key)) {
                Entry::Occupied(mut known) if known.get().lsn < lsn => drop(known.insert(effect)),
                Entry::Occupied(_) => {}
                Entry::Vacant(none) => {
                    none.insert(effect);
                }
            }
        }
        let mut keys: Vec<Effect> = last.into_values().collect();
        keys.sort_by(|a, b| (a.lsn, a.db, &a.key).cmp(&(b.lsn, b.db, &b.key)));
        Effects { keys, of_databases: self.of_databases, last: self.last }
    }
}
