//! What is in a file of entries, counted.

use std::collections::{BTreeMap, HashMap};

use esker_storage::codec::control::EpochStart;
use esker_storage::codec::entry::EntryView;
use esker_storage::codec::op::OpCode;
use esker_storage::types::{EpochNumber, Lsn, UnixMillis, WriterId};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::super::args::OpKind;
use super::super::output::time;

/// The figures.
#[derive(Default)]
pub(super) struct Tally {
    lsns: Option<(Lsn, Lsn)>,
    times: Option<(UnixMillis, UnixMillis)>,
    entries: u64,
    bytes: u64,
    epochs: Vec<(EpochNumber, Option<WriterId>)>,
    ops: BTreeMap<&'static str, u64>,
    /// A bit for each kind of op that touched a key, by table and key.
    keys: HashMap<u128, u8>,
}

/// The kinds of ops that touch a key, by their bits.
const OF_KEYS: [OpCode; 3] = [OpCode::Put, OpCode::Delta, OpCode::Tombstone];

impl Tally {
    /// Of a file whose first entry is of this epoch.
    pub(super) fn new(epoch: EpochNumber, writer: WriterId) -> Self {
        Self { epochs: vec![(epoch, Some(writer))], ..Self::default() }
    }

    pub(super) fn add(&mut self, entry: &EntryView<'_>) {
        let head = entry.head();
        self.entries += 1;
        self.bytes += entry.bytes().len() as u64;
        self.lsns = Some((self.lsns.map_or(head.lsn, |(first, _)| first), head.lsn));
        self.times = Some((self.times.map_or(head.time, |(first, _)| first), head.time));
        if self.epochs.last().is_none_or(|(epoch, _)| *epoch != head.epoch) {
            self.epochs.push((head.epoch, None));
        }
        for (_, op) in entry.ops() {
            *self.ops.entry(OpKind::from(op.header.code).name()).or_default() += 1;
            if let Some(bit) = OF_KEYS.iter().position(|code| *code == op.header.code) {
                *self.keys.entry(xxh3_128_with_seed(op.key, u64::from(op.header.table.0))).or_default() |= 1 << bit;
            }
            if let (OpCode::EpochStart, Some((_, writer))) = (op.header.code, self.epochs.last_mut()) {
                *writer = EpochStart::decode(op.body).ok().map(|start| start.writer).or(*writer);
            }
        }
    }

    /// How many keys an op of each kind touched.
    fn keys(&self) -> impl Iterator<Item = (&'static str, usize)> {
        OF_KEYS.iter().enumerate().map(|(bit, code)| {
            let touched = self.keys.values().filter(|kinds| **kinds & 1 << bit != 0).count();
            (OpKind::from(*code).name(), touched)
        })
    }

    pub(super) fn json(&self) -> Value {
        let epoch = |(number, writer): &(EpochNumber, Option<WriterId>)| json!({"epoch": number.0, "writer": writer.map(shown)});
        let mut keys: BTreeMap<_, _> = self.keys().collect();
        keys.insert("all", self.keys.len());
        json!({
            "epochs": self.epochs.iter().map(epoch).collect::<Vec<_>>(),
            "first_lsn": self.lsns.map(|lsns| lsns.0.0), "last_lsn": self.lsns.map(|lsns| lsns.1.0),
            "from_ms": self.times.map(|times| times.0.0), "to_ms": self.times.map(|times| times.1.0),
            "entries": self.entries, "bytes": self.bytes, "keys": keys, "ops": self.ops,
        })
    }

    /// Lines for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let epoch = |(number, writer): &(EpochNumber, Option<WriterId>)| {
            format!("epoch {number}, writer {}", writer.map_or_else(|| "unknown".to_owned(), shown))
        };
        let mut lines: Vec<_> = self.epochs.iter().map(epoch).collect();
        let (Some((first, last)), Some((from, to))) = (self.lsns, self.times) else { return lines };
        lines.push(format!("LSN {first} to {last}: {} entries, {} bytes", self.entries, self.bytes));
        lines.push(format!("written {} to {}", time(from), time(to)));
        let keys: Vec<_> = self.keys().filter(|(_, keys)| *keys > 0).map(|(kind, keys)| format!("{keys} by {kind}")).collect();
        lines.push(format!("{} keys touched: {}", self.keys.len(), if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }));
        let others = self.ops.iter().filter(|(kind, _)| self.keys().all(|(of_keys, _)| of_keys != **kind));
        let others: Vec<_> = others.map(|(kind, ops)| format!("{ops} {kind}")).collect();
        if !others.is_empty() {
            lines.push(format!("of no key: {}", others.join(", ")));
        }
        lines
    }
}

fn shown(writer: WriterId) -> String {
    format!("{:016x}", writer.0)
}
