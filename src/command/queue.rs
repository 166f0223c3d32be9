//! What a connection has queued since MULTI, and the keys that it watches.

use esker_storage::error::StorageError;
use esker_storage::shard::{LockPlan, Shard, Transaction};
use esker_storage::types::{Db, Lsn};
use smallvec::SmallVec;

use super::table::CommandId;
use super::{Flags, Spec, plan};
use crate::shard::Served;

/// A connection's transaction: what is queued and what is watched.
#[derive(Debug, Default)]
pub struct Queue {
    pub(super) open: bool,
    pub(super) doomed: bool,
    pub(super) running: bool,
    pub(super) commands: Vec<Queued>,
    watched: Vec<Watched>,
    bytes: usize,
}

/// A queued command with its arguments in one piece.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) id: CommandId,
    pub(super) spec: &'static Spec,
    bytes: Box<[u8]>,
    ends: SmallVec<[usize; 4]>,
}

/// A watched key and its version when WATCH came.
#[derive(Debug)]
struct Watched {
    /// The number of the shard: its versions say nothing of another's.
    shard: u64,
    db: Db,
    key: Box<[u8]>,
    version: Lsn,
}

impl Queue {
    /// Whether MULTI was sent and neither EXEC nor DISCARD since.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether EXEC is running the queued commands now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// How many commands are queued; -1 without MULTI, as CLIENT LIST shows it.
    #[must_use]
    pub fn len(&self) -> i64 {
        if self.open { self.commands.len() as i64 } else { -1 }
    }

    /// Whether no command is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Bytes of the queued commands, as CLIENT LIST tells them (`multi-mem`).
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many keys are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// Whether a queued command writes.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.commands.iter().any(|command| command.spec.flags.has(Flags::WRITE))
    }

    /// Ends the transaction without running it, and forgets the watched keys: DISCARD, RESET, and the end of EXEC.
    pub fn close(&mut self) {
        *self = Self::default();
    }

    /// A command could not be queued: EXEC will refuse to run the others.
    pub(super) fn doom(&mut self) {
        self.doomed |= self.open;
    }

    /// Watches a key, which is at this version now. Of one that is watched already the earlier version counts.
    pub(super) fn watch(&mut self, shard: u64, db: Db, key: &[u8], version: Lsn) {
        if !self.watched.iter().any(|known| known.db == db && *known.key == *key) {
            self.watched.push(Watched { shard, db, key: key.into(), version });
        }
    }

    /// UNWATCH.
    pub(super) fn unwatch(&mut self) {
        self.watched.clear();
    }

    /// Queues a copy of a command.
    pub(super) fn push(&mut self, id: CommandId, spec: &'static Spec, args: &[&[u8]]) {
        let command =
            Queued { id, spec, bytes: args.concat().into(), ends: args.iter().scan(0, |end, arg| Some(advance(end, arg.len()))).collect() };
        self.bytes += command.bytes.len() + size_of_val(args);
        self.commands.push(command);
    }

    /// Whether a watched key has changed since WATCH; in another shard each has.
    pub(super) fn is_stale(&self, shard: &Served, txn: &Transaction<'_>) -> Result<bool, StorageError> {
        for watched in &self.watched {
            if watched.shard != shard.number() || txn.version(watched.db, &shard.key(&watched.key))? != watched.version {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The locks of all commands and of the watched keys.
    pub(super) fn plan(&self, shard: &Shard) -> LockPlan {
        let mut all = if self.writes() { LockPlan::exclusive() } else { LockPlan::shared() };
        for command in &self.commands {
            plan::extend(&mut all, command.spec, &command.args(), shard);
        }
        for watched in &self.watched {
            all.add(&shard.key(&watched.key));
        }
        all
    }
}

fn advance(end: &mut usize, by: usize) -> usize {
    *end += by;
    *end
}

impl Queued {
    /// The arguments.
    pub(super) fn args(&self) -> SmallVec<[&[u8]; 8]> {
        let mut start = 0;
        self.ends.iter().map(|&end| &self.bytes[std::mem::replace(&mut start, end)..end]).collect()
    }
}
