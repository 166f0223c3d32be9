//! What was written, entry by entry, so that the state after any prefix of it can be told.

use std::collections::{BTreeMap, BTreeSet};

use esker_storage::shard::{Shard, StorageError, Transaction};
use esker_storage::types::{Db, Lsn, UnixMillis};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

/// Databases in use.
pub const DBS: u8 = 3;

/// A change, as a command makes it.
#[derive(Debug, Clone)]
pub enum Op {
    Put {
        db: u8,
        key: String,
        value: Vec<u8>,
        expire: Option<i64>,
    },
    Delete {
        db: u8,
        key: String,
    },
    Write {
        db: u8,
        key: String,
        offset: usize,
        bytes: Vec<u8>,
    },
    Expire {
        db: u8,
        key: String,
        expire: Option<i64>,
    },
    Flush {
        db: u8,
    },
    Swap {
        a: u8,
        b: u8,
    },
    /// Keys whose newest record was written by one of these entries, of one op each, made room for others; and these keys.
    Evict {
        entries: BTreeSet<Lsn>,
        keys: Vec<(u8, String)>,
    },
}

/// Keys with value and expiry.
pub type State = BTreeMap<(u8, String), (Vec<u8>, Option<i64>)>;

impl Op {
    /// A random change of one of `keys` keys, most of them small; with `large`, seldom of one that takes a value segment.
    pub fn random(rng: &mut StdRng, keys: u32, large: bool) -> Self {
        let db = rng.random_range(0..10_u8).saturating_sub(10 - DBS);
        let key = format!("key:{}", rng.random_range(0..keys));
        match rng.random_range(0..100) {
            0..60 => {
                let len = if large && rng.random_bool(0.01) { 300_000 } else { rng.random_range(0..1500) };
                Self::Put { db, key, value: noise(rng, len), expire: rng.random_bool(0.2).then_some(far_away(rng)) }
            }
            60..75 => Self::Delete { db, key },
            75..95 => {
                let bytes = noise(rng, 40);
                Self::Write { db, key, offset: rng.random_range(0..2500), bytes }
            }
            _ => Self::Expire { db, key, expire: rng.random_bool(0.7).then_some(far_away(rng)) },
        }
    }

    pub fn apply(&self, txn: &mut Transaction<'_>, shard: &Shard) -> Result<(), StorageError> {
        match self {
            Self::Put { db, key, value, expire } => txn.put(Db(*db), &shard.key(key.as_bytes()), value, expire.map(UnixMillis)),
            Self::Delete { db, key } => txn.delete(Db(*db), &shard.key(key.as_bytes())).map(drop),
            Self::Write { db, key, offset, bytes } => txn.write_range(Db(*db), &shard.key(key.as_bytes()), *offset as u64, bytes).map(drop),
            Self::Expire { db, key, expire } => txn.set_expire(Db(*db), &shard.key(key.as_bytes()), expire.map(UnixMillis)).map(drop),
            Self::Flush { db } => txn.flush(Db(*db)),
            Self::Swap { a, b } => txn.swap(Db(*a), Db(*b)),
            Self::Evict { .. } => unreachable!("the shard evicts by itself"),
        }
    }

    /// The key that has to be locked; none: all.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Write { key, .. } | Self::Expire { key, .. } => Some(key),
            Self::Flush { .. } | Self::Swap { .. } | Self::Evict { .. } => None,
        }
    }

    /// To an op its key is not there if its time had come. Other keys' ops may have been of an earlier time.
    fn forget_expired(&self, now: i64, state: &mut State) {
        if let Self::Put { db, key, .. } | Self::Delete { db, key } | Self::Write { db, key, .. } | Self::Expire { db, key, .. } = self {
            let id = (*db, key.clone());
            if state.get(&id).is_some_and(|(_, expire)| expire.is_some_and(|at| at <= now)) {
                state.remove(&id);
            }
        }
    }

    fn apply_to(&self, state: &mut State) {
        match self.clone() {
            Self::Put { db, key, value, expire } => drop(state.insert((db, key), (value, expire))),
            Self::Delete { db, key } => drop(state.remove(&(db, key))),
            Self::Write { db, key, offset, bytes } => {
                let (value, _) = state.entry((db, key)).or_default();
                let end = offset + bytes.len();
                value.resize(value.len().max(end), 0);
                value[offset..end].copy_from_slice(&bytes);
            }
            Self::Expire { db, key, expire } => {
                if let Some(found) = state.get_mut(&(db, key)) {
                    found.1 = expire;
                }
            }
            Self::Flush { db } => state.retain(|(of, _), _| *of != db),
            Self::Swap { a, b } => {
                let other = |db| match db {
                    db if db == a => b,
                    db if db == b => a,
                    db => db,
                };
                *state = std::mem::take(state).into_iter().map(|((db, key), found)| ((other(db), key), found)).collect();
            }
            // Which keys these are, who replays the history knows.
            Self::Evict { .. } => {}
        }
    }
}

fn noise(rng: &mut StdRng, len: usize) -> Vec<u8> {
    let first: u8 = rng.random();
    (0..len).map(|n| first.wrapping_add((n / 7) as u8)).collect()
}

fn far_away(rng: &mut StdRng) -> i64 {
    i64::MAX / 2 + rng.random_range(0..1000)
}

/// Which entry wrote the newest record of each key.
#[derive(Default)]
struct Newest(BTreeMap<(u8, String), Lsn>);

impl Newest {
    /// Follows an op of an entry, and returns the keys that it evicts.
    fn follow(&mut self, entry: Lsn, op: &Op) -> Vec<(u8, String)> {
        match op {
            Op::Put { db, key, .. } | Op::Write { db, key, .. } | Op::Expire { db, key, .. } => {
                self.0.insert((*db, key.clone()), entry);
            }
            Op::Delete { db, key } => drop(self.0.remove(&(*db, key.clone()))),
            Op::Flush { db } => self.0.retain(|(of, _), _| of != db),
            Op::Swap { a, b } => {
                let other = |db| {
                    if db == *a {
                        *b
                    } else if db == *b {
                        *a
                    } else {
                        db
                    }
                };
                self.0 = std::mem::take(&mut self.0).into_iter().map(|((db, key), lsn)| ((other(db), key), lsn)).collect();
            }
            Op::Evict { entries, keys } => {
                self.0.retain(|key, _| !keys.contains(key));
                let (gone, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
                    std::mem::take(&mut self.0).into_iter().partition(|(_, lsn)| entries.contains(lsn));
                self.0 = rest;
                return gone.into_keys().chain(keys.iter().cloned()).collect();
            }
        }
        Vec::new()
    }
}

/// What an entry did: its ops, and the time by which they judged expiry.
type Entry = (i64, Vec<Op>);

/// All that was ever committed, by LSN. Threads add to it after their commits, so it is complete once they have ended.
#[derive(Default)]
pub struct History(Mutex<BTreeMap<u64, Entry>>);

impl History {
    pub fn record(&self, lsn: Lsn, ops: Vec<Op>) {
        self.record_at(lsn, i64::MIN, ops);
    }

    /// The same of an entry before which keys may have expired.
    pub fn record_at(&self, lsn: Lsn, now: i64, ops: Vec<Op>) {
        let before = self.0.lock().insert(lsn.0, (now, ops));
        assert!(before.is_none(), "LSN {lsn} was given twice");
    }

    /// The state after all entries up to `lsn`.
    pub fn state_at(&self, lsn: Lsn) -> State {
        let mut state = State::new();
        let mut newest = Newest::default();
        for (entry, (now, ops)) in self.0.lock().range(..=lsn.0) {
            for op in ops {
                op.forget_expired(*now, &mut state);
                op.apply_to(&mut state);
                for evicted in newest.follow(Lsn(*entry), op) {
                    state.remove(&evicted);
                }
            }
        }
        state
    }

    /// Whether an entry is known.
    pub fn knows(&self, lsn: Lsn) -> bool {
        self.0.lock().contains_key(&lsn.0)
    }

    /// The same history up to `lsn`: what came after is lost.
    pub fn up_to(&self, lsn: Lsn) -> Self {
        Self(Mutex::new(self.0.lock().range(..=lsn.0).map(|(lsn, entry)| (*lsn, entry.clone())).collect()))
    }
}
