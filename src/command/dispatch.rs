//! From a request's arguments to its reply: finds the row, checks what Redis checks in Redis's order, locks, runs, commits.
//!
//! A connection makes a [`Turn`] of each batch of pipelined requests, so that the clock is read and the segments are pinned once for all
//! of them. Plain GET and SET take a path of their own without allocation; everything else goes by the table.

use std::time::{Duration, Instant};

use esker_storage::error::StorageError;
use esker_storage::shard::Batch;
use esker_storage::types::{Location, Lsn};

use super::refusal::{self, Refusal};
use super::table::{CommandId, Resolved, resolve};
use super::{Call, CommandError, Effect, Flags, Gates, Spec, WorkerCounters, hooks, plan, transactions};
use crate::protocol::Reply;
use crate::server::Server;
use crate::session::Session;
use crate::shard::Served;

/// A reply that grew by more than this made its command worth timing by itself.
const LARGE_REPLY: usize = 64 << 10;

/// One batch of requests of one connection.
pub struct Turn<'s> {
    /// What all connections share.
    pub server: &'s Server,
    /// The shard of the whole batch, whatever takes its place meanwhile.
    pub shard: &'s Served,
    /// The storage's view of the batch: time and pins.
    pub batch: Batch,
    /// What the connection has to do, after [`Outcome::Effects`]; it takes them out.
    pub effects: Vec<Effect>,
    /// The highest LSN written in this turn.
    pub lsn: Lsn,
    /// Whether a command has read or written data.
    pub touched: bool,
    /// Whether commands for which the log has no room may wait for some.
    pub patient: bool,
    pub(super) counters: &'s WorkerCounters,
    pub(super) clock: Stopwatch,
    gets: u32,
    sets: u32,
    hits: u32,
}

/// What the connection does after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Goes on.
    Done,
    /// Carries out [`Turn::effects`] before the next request.
    Effects,
    /// Nothing was done: CLIENT PAUSE holds the command back; it is run again when the pause is over.
    Paused,
    /// Nothing was done: the record at this location has to be read from disk; the command is run again with it.
    Fetch(Location),
    /// Nothing was done: the session's question about the past has to be answered; the command is run again with the answer.
    LookBack,
    /// Nothing was done: the log has no room, and cleaning is about to make some; the command is run again then.
    NoRoom,
}

impl<'s> Turn<'s> {
    /// Begins a batch on worker `worker`.
    #[must_use]
    pub fn new(server: &'s Server, shard: &'s Served, worker: usize) -> Self {
        Self {
            server,
            shard,
            batch: shard.batch().noting(server.holds_replies_back()),
            effects: Vec::new(),
            lsn: Lsn(0),
            touched: false,
            patient: true,
            counters: server.counters.worker(worker),
            clock: Stopwatch(Instant::now()),
            gets: 0,
            sets: 0,
            hits: 0,
        }
    }

    /// Runs one request and appends its reply. `args` is not empty.
    pub fn run(&mut self, session: &mut Session, args: &[&[u8]], reply: &mut Reply) -> Outcome {
        let closed = self.server.closed();
        if session.is_plain() && closed & !Gates::OF_WRITES == 0 && self.run_fast(session, args, reply, closed == 0) {
            session.last_command = if args.len() == 2 { "get" } else { "set" };
            return Outcome::Done;
        }
        self.run_by_table(session, args, reply)
    }

    /// Ends the batch: hands the counts of the fast path to the counters.
    pub fn finish(mut self) {
        self.settle();
    }

    /// GET key and, if writes may, SET key value: the bulk of a cache's load. False: not one of them, or it needs the long way.
    fn run_fast(&mut self, session: &Session, args: &[&[u8]], reply: &mut Reply, writes: bool) -> bool {
        let &[a, b, c] = args[0] else { return false };
        match ([a | 0x20, b | 0x20, c | 0x20], args) {
            ([b'g', b'e', b't'], [_, key]) => self.get(session, key, reply),
            ([b's', b'e', b't'], [_, key, value]) if writes => self.set(session, key, value, reply),
            _ => false,
        }
    }

    fn get(&mut self, session: &Session, key: &[u8], reply: &mut Reply) -> bool {
        let key = self.shard.key(key);
        let mark = reply.mark();
        let shown = self.shard.read_plain(&self.batch, session.db, &key, |value| {
            match value {
                Some(value) => reply.bulk(value),
                None => reply.null(),
            }
            value.is_some()
        });
        let Some(hit) = shown else { return false };
        self.hits += u32::from(hit);
        self.gets += 1;
        if reply.mark() - mark > LARGE_REPLY {
            self.settle();
        }
        true
    }

    fn set(&mut self, session: &Session, key: &[u8], value: &[u8], reply: &mut Reply) -> bool {
        let key = self.shard.key(key);
        let Some(lsn) = self.shard.write_plain(&self.batch, session.db, &key, value) else { return false };
        self.lsn = self.lsn.max(lsn);
        reply.ok();
        self.sets += 1;
        if value.len() > LARGE_REPLY {
            self.settle();
        }
        true
    }

    /// Counts the fast path's commands; the time since the last reading of the clock is divided among them.
    fn settle(&mut self) {
        let total = u64::from(self.gets) + u64::from(self.sets);
        if total == 0 {
            return;
        }
        self.touched = true;
        let each = self.clock.lap().as_nanos() as u64 / total;
        let (get, set) = hooks::fast_path_ids();
        self.counters.executed(get, u64::from(self.gets), each * u64::from(self.gets));
        self.counters.executed(set, u64::from(self.sets), each * u64::from(self.sets));
        self.counters.hits(u64::from(self.hits));
        self.counters.misses(u64::from(self.gets - self.hits));
        (self.gets, self.sets, self.hits) = (0, 0, 0);
    }

    /// The last entry that the replies so far tell of: what they wait for is that entry's flush, and the promise of it.
    #[must_use]
    pub fn told(&self) -> Lsn {
        let touched = self.touched || self.gets > 0 || self.sets > 0;
        match (touched, self.batch.notes()) {
            (false, _) => self.lsn,
            (true, true) => self.lsn.max(self.batch.shown()),
            // Replies wait since the turn has begun: what they tell of is not known.
            (true, false) => self.lsn.max(self.shard.written_lsn()),
        }
    }

    fn run_by_table(&mut self, session: &mut Session, args: &[&[u8]], reply: &mut Reply) -> Outcome {
        self.settle();
        // Of the commands before it in the batch.
        session.written = session.written.max(self.lsn);
        let (id, spec) = match resolve(args) {
            Resolved::Row(id, spec) => (id, spec),
            Resolved::Unknown if is_http(args) => return self.hang_up(session),
            unresolved => return self.refuse(session, None, &refusal::of_unresolved(&unresolved, args), reply),
        };
        session.last_command = spec.name;
        if let Err(refusal) = refusal::check(self.server.gates.closed(), session, spec, args, reply.version()) {
            return self.refuse(session, Some((id, spec)), &refusal, reply);
        }
        if hooks::is_paused(self.server, session, spec, self.batch.now()) {
            return Outcome::Paused;
        }
        if session.queue.is_open() && !spec.flags.has(Flags::NOT_QUEUED) {
            session.queue.push(id, spec, args);
            reply.simple("QUEUED");
            return Outcome::Done;
        }
        self.touched |= spec.flags.has(Flags::READONLY) || spec.flags.has(Flags::WRITE) || spec.name == "exec";
        let outcome = match spec.name {
            "exec" => transactions::exec(self, session, id, reply),
            _ => self.execute(session, spec, id, args, reply),
        };
        if matches!(outcome, Outcome::Fetch(_) | Outcome::LookBack | Outcome::NoRoom) {
            return outcome;
        }
        let took = self.clock.lap() + self.asleep();
        self.counters.executed(id, 1, took.as_nanos() as u64);
        hooks::executed(self.server, session, spec, args, took);
        self.conclude()
    }

    /// A browser was made to send an HTTP request here, with commands in its body perhaps: nothing of what follows is run.
    #[cold]
    fn hang_up(&mut self, session: &Session) -> Outcome {
        tracing::warn!(client = session.client.address, "possible attack: POST or Host: where commands are expected; connection closed");
        self.effects.push(Effect::Close);
        Outcome::Effects
    }

    /// How long the command asked to have its reply held back: to its client, and to those who watch, it takes that long.
    fn asleep(&self) -> Duration {
        self.effects.iter().map(|effect| if let Effect::Sleep(time) = effect { *time } else { Duration::ZERO }).sum()
    }

    /// Locks, runs, commits: one command that stands by itself.
    fn execute(&mut self, session: &mut Session, spec: &Spec, id: CommandId, args: &[&[u8]], reply: &mut Reply) -> Outcome {
        let mut plan = plan::new(spec);
        plan::extend(&mut plan, spec, args, self.shard);
        let mark = reply.mark();
        let mut txn = self.shard.begin(&self.batch, &plan);
        if spec.tells_of_all() {
            txn.tells_of_all();
        }
        let (server, shard, counters, effects) = (self.server, self.shard, self.counters, &mut self.effects);
        let result = (spec.handler)(&mut Call { args, reply, session, server, shard, txn: &mut txn, counters, effects });
        let result = result.and_then(|()| Ok(txn.commit()?));
        match result {
            Ok(lsn) => self.lsn = self.lsn.max(lsn.unwrap_or_default()),
            Err(CommandError::Storage(StorageError::Cold(location))) => {
                self.take_back(mark, reply);
                return Outcome::Fetch(location);
            }
            Err(CommandError::LookBack(question)) => {
                self.take_back(mark, reply);
                session.question = Some(*question);
                return Outcome::LookBack;
            }
            Err(CommandError::Storage(error)) if self.may_wait(&error) => {
                self.take_back(mark, reply);
                return Outcome::NoRoom;
            }
            Err(error) => {
                self.take_back(mark, reply);
                self.fail(id, &error, reply);
            }
        }
        Outcome::Done
    }

    /// Whether a command that failed like this is worth another try when cleaning has given space back: here, without the locks that
    /// cleaning needs, too.
    #[cold]
    pub(super) fn may_wait(&self, error: &StorageError) -> bool {
        self.patient && error.is_disk_full() && self.shard.log().take_back_refusal()
    }

    fn take_back(&mut self, mark: usize, reply: &mut Reply) {
        reply.truncate(mark);
        self.effects.clear();
    }

    /// Writes the error reply of a command that ran.
    pub(super) fn fail(&self, id: CommandId, error: &CommandError, reply: &mut Reply) {
        fail(self.server, self.counters, id, error, reply);
    }

    /// Publishes what the command reported, and leaves to the connection what is the connection's to do.
    fn conclude(&mut self) -> Outcome {
        if self.effects.is_empty() {
            return Outcome::Done;
        }
        let hub = &self.server.hub;
        self.effects.retain(|effect| match effect {
            Effect::Notify { class, event, key, db } => {
                hub.notify(*class, event, key, *db);
                false
            }
            Effect::Publish { shard, channel, payload } => {
                hub.publish(*shard, channel, payload);
                false
            }
            _ => true,
        });
        if self.effects.is_empty() { Outcome::Done } else { Outcome::Effects }
    }

    /// Writes the error reply of a command that was not run; a transaction being queued will not run either.
    fn refuse(&mut self, session: &mut Session, row: Option<(CommandId, &Spec)>, refusal: &Refusal, reply: &mut Reply) -> Outcome {
        if let Some((id, _)) = row {
            self.counters.rejected(id);
        }
        self.server.counters.error(refusal.code());
        if row.is_some_and(|(_, spec)| spec.name == "exec") {
            session.queue.close();
            refusal.write_as_abort(reply);
        } else {
            session.queue.doom();
            refusal.write(reply);
        }
        Outcome::Done
    }
}

/// Writes the error reply of a command that ran, and counts it.
pub(super) fn fail(server: &Server, counters: &WorkerCounters, id: CommandId, error: &CommandError, reply: &mut Reply) {
    let text = error.to_string();
    counters.failed(id);
    server.counters.error(&text);
    reply.error(&text);
}

/// Whether the request is a line of HTTP that no client of ours sends.
fn is_http(args: &[&[u8]]) -> bool {
    args[0].eq_ignore_ascii_case(b"post") || args[0].eq_ignore_ascii_case(b"host:")
}

/// Measures one command after the other: the end of one is the beginning of the next, so that each costs one reading of the clock.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    /// The time since the last lap.
    pub(super) fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now))
    }
}

impl Session {
    /// Whether nothing about the connection keeps a command from running at once.
    fn is_plain(&self) -> bool {
        self.authenticated && !self.queue.is_open() && self.subscriptions.is_empty() && self.uploaded.is_none()
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
