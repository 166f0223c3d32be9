//! Temporary in-memory backend behind the final API (to be replaced by the engine).
#![allow(missing_docs)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};

use super::{Key, LockPlan, Metadata, Object, ValueType};
pub use crate::error::StorageError;
use crate::types::{DATABASES, Db, KeyHash, Lsn, Slot, UnixMillis};

type Result<T> = std::result::Result<T, StorageError>;

#[derive(Clone)]
struct Stored {
    data: Vec<u8>,
    expire_at: Option<UnixMillis>,
    lsn: Lsn,
}
struct State {
    databases: Vec<BTreeMap<Vec<u8>, Stored>>,
    lsn: u64,
    last_delete: Lsn,
}

/// One shard.
pub struct Shard {
    state: Mutex<State>,
}

/// What commands of one batch share: the clock, the pinned segments, cold records that were fetched.
pub struct Batch {
    now: UnixMillis,
}

/// The access of one command, or of one MULTI/EXEC, to the data; its writes become one entry at `commit`.
pub struct Transaction<'s> {
    state: MutexGuard<'s, State>,
    now: UnixMillis,
    dirty: bool,
    undo: Vec<Undo>,
    before: (u64, Lsn),
}

enum Undo {
    Key(Db, Vec<u8>, Option<Stored>),
    Database(Db, BTreeMap<Vec<u8>, Stored>),
    Swap(Db, Db),
}

/// A place in a transaction to go back to.
#[derive(Debug, Clone, Copy)]
pub struct Savepoint(usize);

impl Shard {
    pub fn temporary() -> Self {
        Self { state: Mutex::new(State { databases: vec![BTreeMap::new(); usize::from(DATABASES)], lsn: 0, last_delete: Lsn(0) }) }
    }

    /// The key with its hash and slot.
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key::new(bytes, KeyHash(xxhash_rust::xxh3::xxh3_64(bytes)), Slot(0))
    }

    /// Starts a batch of commands: reads the clock once and pins the segments.
    pub fn batch(&self) -> Batch {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        Batch { now: UnixMillis(now) }
    }

    /// Locks the stripes of `plan` and begins.
    pub fn begin<'s>(&'s self, batch: &'s Batch, _plan: &LockPlan) -> Transaction<'s> {
        let state = self.state.lock();
        let before = (state.lsn, state.last_delete);
        Transaction { state, now: batch.now, dirty: false, undo: Vec::new(), before }
    }
}

impl Batch {
    /// The batch's time.
    pub fn now(&self) -> UnixMillis {
        self.now
    }
}

impl Transaction<'_> {
    /// The time this transaction runs at; expiry is judged by it.
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    fn live(&self, db: Db, key: &Key<'_>) -> Option<&Stored> {
        self.state.databases[usize::from(db.0)].get(key.bytes()).filter(|s| s.expire_at.is_none_or(|at| at > self.now))
    }

    /// The key's value.
    pub fn get(&self, db: Db, key: &Key<'_>) -> Result<Option<Object<'_>>> {
        Ok(self.live(db, key).map(|s| Object { value_type: ValueType::String, data: Cow::Borrowed(&s.data), expire_at: s.expire_at }))
    }

    /// What is known of the key without touching its value.
    pub fn metadata(&self, db: Db, key: &Key<'_>) -> Result<Option<Metadata>> {
        Ok(self.live(db, key).map(|s| Metadata {
            value_type: ValueType::String,
            len: s.data.len() as u64,
            expire_at: s.expire_at,
            lsn: s.lsn,
        }))
    }

    /// Up to `len` bytes of a string from `start` on; cheap on large strings. None = no such key; short or empty at the end.
    pub fn get_range(&self, db: Db, key: &Key<'_>, start: u64, len: u64) -> Result<Option<Cow<'_, [u8]>>> {
        Ok(self.live(db, key).map(|s| {
            let start = (start as usize).min(s.data.len());
            let end = (start + len as usize).min(s.data.len());
            Cow::Borrowed(&s.data[start..end])
        }))
    }

    /// Sets the key to a string, whatever it was.
    pub fn put(&mut self, db: Db, key: &Key<'_>, value: &[u8], expire_at: Option<UnixMillis>) -> Result<()> {
        self.touch();
        let lsn = Lsn(self.state.lsn);
        self.replace(db, key.bytes(), Some(Stored { data: value.to_vec(), expire_at, lsn }));
        Ok(())
    }

    /// Removes the key; true if there was one that had not expired.
    pub fn delete(&mut self, db: Db, key: &Key<'_>) -> Result<bool> {
        let was = self.live(db, key).is_some();
        if self.state.databases[usize::from(db.0)].contains_key(key.bytes()) {
            self.replace(db, key.bytes(), None);
            self.touch();
            self.state.last_delete = Lsn(self.state.lsn);
        }
        Ok(was)
    }

    /// Sets or removes the expiry of an existing key; false if there is no such key.
    pub fn set_expire(&mut self, db: Db, key: &Key<'_>, expire_at: Option<UnixMillis>) -> Result<bool> {
        let Some(mut s) = self.live(db, key).cloned() else { return Ok(false) };
        self.touch();
        s.expire_at = expire_at;
        s.lsn = Lsn(self.state.lsn);
        self.replace(db, key.bytes(), Some(s));
        Ok(true)
    }

    /// Writes bytes into a string at an offset, zero-filling up to it; creates the key if absent, keeps its expiry. Returns the new length.
    /// Large strings get a delta in the log instead of a new image.
    pub fn write_range(&mut self, db: Db, key: &Key<'_>, offset: u64, bytes: &[u8]) -> Result<u64> {
        let mut s = self.live(db, key).cloned().unwrap_or(Stored { data: vec![], expire_at: None, lsn: Lsn(0) });
        self.touch();
        let end = offset as usize + bytes.len();
        if s.data.len() < end {
            s.data.resize(end, 0);
        }
        s.data[offset as usize..end].copy_from_slice(bytes);
        s.lsn = Lsn(self.state.lsn);
        let len = s.data.len() as u64;
        self.replace(db, key.bytes(), Some(s));
        Ok(len)
    }

    /// For WATCH: changes whenever the key changed, expired keys included. Needs the key's stripe in the plan.
    pub fn version(&self, db: Db, key: &Key<'_>) -> Result<Lsn> {
        Ok(self.live(db, key).map_or(self.state.last_delete, |s| s.lsn))
    }

    /// Keys in the database (plan: all stripes), expired ones not yet removed included, as in Redis.
    pub fn key_count(&self, db: Db) -> u64 {
        self.state.databases[usize::from(db.0)].len() as u64
    }

    /// Keys with an expiry (plan: all stripes).
    pub fn expires_count(&self, db: Db) -> u64 {
        self.state.databases[usize::from(db.0)].values().filter(|s| s.expire_at.is_some()).count() as u64
    }

    /// Visits about `count` keys from `cursor` (0 = start) in hash order and returns the next cursor, 0 at the end (plan: all stripes).
    pub fn scan(&self, db: Db, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], Metadata)) -> Result<u64> {
        let map = &self.state.databases[usize::from(db.0)];
        for (key, s) in map.iter().skip(cursor as usize).take(count) {
            if s.expire_at.is_none_or(|at| at > self.now) {
                visit(key, Metadata { value_type: ValueType::String, len: s.data.len() as u64, expire_at: s.expire_at, lsn: s.lsn });
            }
        }
        let next = cursor as usize + count;
        Ok(if next >= map.len() { 0 } else { next as u64 })
    }

    /// A random key (plan: all stripes).
    pub fn random_key(&self, db: Db) -> Result<Option<Vec<u8>>> {
        Ok(self.state.databases[usize::from(db.0)].iter().find(|(_, s)| s.expire_at.is_none_or(|at| at > self.now)).map(|(k, _)| k.clone()))
    }

    /// Removes all keys of a database (plan: all stripes, exclusive).
    pub fn flush(&mut self, db: Db) -> Result<()> {
        self.touch();
        let old = std::mem::take(&mut self.state.databases[usize::from(db.0)]);
        self.undo.push(Undo::Database(db, old));
        self.state.last_delete = Lsn(self.state.lsn);
        Ok(())
    }

    /// Removes all keys of all databases (plan: all stripes, exclusive).
    pub fn flush_all(&mut self) -> Result<()> {
        for db in 0..DATABASES {
            self.flush(Db(db))?;
        }
        Ok(())
    }

    /// Exchanges two databases (plan: all stripes, exclusive).
    pub fn swap(&mut self, a: Db, b: Db) -> Result<()> {
        self.touch();
        self.state.databases.swap(usize::from(a.0), usize::from(b.0));
        self.undo.push(Undo::Swap(a, b));
        Ok(())
    }

    fn replace(&mut self, db: Db, key: &[u8], new: Option<Stored>) {
        let map = &mut self.state.databases[usize::from(db.0)];
        let old = match new {
            Some(new) => map.insert(key.to_vec(), new),
            None => map.remove(key),
        };
        self.undo.push(Undo::Key(db, key.to_vec(), old));
    }

    /// A place to go back to with [`Transaction::rollback`].
    pub fn savepoint(&self) -> Savepoint {
        Savepoint(self.undo.len())
    }

    /// Takes back everything written after the savepoint.
    pub fn rollback(&mut self, to: Savepoint) {
        while self.undo.len() > to.0 {
            match self.undo.pop() {
                Some(Undo::Key(db, key, Some(old))) => drop(self.state.databases[usize::from(db.0)].insert(key, old)),
                Some(Undo::Key(db, key, None)) => drop(self.state.databases[usize::from(db.0)].remove(&key)),
                Some(Undo::Database(db, old)) => self.state.databases[usize::from(db.0)] = old,
                Some(Undo::Swap(a, b)) => self.state.databases.swap(usize::from(a.0), usize::from(b.0)),
                None => {}
            }
        }
        if to.0 == 0 {
            self.dirty = false;
            (self.state.lsn, self.state.last_delete) = self.before;
        }
    }

    fn touch(&mut self) {
        if !self.dirty {
            self.dirty = true;
            self.state.lsn += 1;
        }
    }

    /// Whether anything was written so far.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Writes the entry and applies it; None if nothing was written. After an error nothing was changed.
    pub fn commit(mut self) -> Result<Option<Lsn>> {
        self.undo.clear();
        Ok(self.dirty.then_some(Lsn(self.state.lsn)))
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.undo.is_empty() {
            self.rollback(Savepoint(0));
        }
    }
}
