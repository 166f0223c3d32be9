//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Commands between MULTI and EXEC are copied and queued. EXEC locks the stripes of all of them at once and runs them in one storage
//! transaction, so that they become one entry of the log: all of it survives, or none.

use esker_storage::error::StorageError;
use esker_storage::types::Location;

use super::dispatch::{Outcome, Turn, fail};
use super::table::CommandId;
use super::{Call, CommandError, Flags, Group, Keys, Queue, Spec, hooks};
use crate::protocol::Reply;
use crate::session::Session;

const CONTROL: Flags = Flags::FAST.and(Flags::LOADING).and(Flags::NOT_QUEUED);

/// The family's rows.
pub const SPECS: &[Spec] = &[
    Spec {
        name: "multi",
        arity: 1,
        flags: CONTROL,
        keys: Keys::None,
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Starts a transaction: what follows is queued until EXEC.",
        handler: multi,
    },
    Spec {
        name: "exec",
        arity: 1,
        flags: Flags::LOADING.and(Flags::NOT_QUEUED),
        keys: Keys::None,
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "The sum of the queued commands",
        summary: "Runs the queued commands as one: nothing comes between them, and they are one entry of the log.",
        handler: not_run_by_table,
    },
    Spec {
        name: "discard",
        arity: 1,
        flags: CONTROL,
        keys: Keys::None,
        group: Group::Transactions,
        since: "2.0.0",
        complexity: "O(N), N queued commands",
        summary: "Drops the queued commands and forgets the watched keys.",
        handler: discard,
    },
    Spec {
        name: "watch",
        arity: -2,
        flags: CONTROL,
        keys: Keys::Range { first: 1, last: -1, step: 1 },
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1) a key",
        summary: "Makes the next EXEC run nothing if one of the keys changes before it.",
        handler: watch,
    },
    Spec {
        name: "unwatch",
        arity: 1,
        flags: Flags::FAST.and(Flags::LOADING),
        keys: Keys::None,
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Forgets the watched keys.",
        handler: unwatch,
    },
];

fn multi(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    if call.session.queue.open {
        return Err(CommandError::Text("ERR MULTI calls can not be nested"));
    }
    call.session.queue.open = true;
    call.reply.ok();
    Ok(())
}

fn discard(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    if !call.session.queue.open {
        return Err(CommandError::Text("ERR DISCARD without MULTI"));
    }
    call.session.queue.close();
    call.reply.ok();
    Ok(())
}

fn watch(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    if call.session.queue.open {
        return Err(CommandError::Text("ERR WATCH inside MULTI is not allowed"));
    }
    let db = call.session.db;
    for i in 1..call.args.len() {
        let key = call.key(i);
        let version = call.txn.version(db, &key)?;
        call.session.queue.watch(call.shard.number(), db, key.bytes(), version);
    }
    call.reply.ok();
    Ok(())
}

fn unwatch(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.session.queue.unwatch();
    call.reply.ok();
    Ok(())
}

/// EXEC needs the locks of other commands than itself, so the dispatcher runs it by [`exec`].
fn not_run_by_table(_: &mut Call<'_, '_>) -> Result<(), CommandError> {
    Err(CommandError::Text("ERR EXEC without MULTI"))
}

/// How the queued commands came out.
enum Run {
    /// They ran; each reply stands in the array.
    Done,
    /// A watched key changed since WATCH.
    Stale,
    /// A record has to be fetched first.
    Cold(Location),
    /// The log has no room yet.
    NoRoom,
    /// The storage took none of it.
    Failed(CommandError),
}

/// Runs the queued commands. Nothing is left of them in reply, data or session unless all of them were tried and their entry was written.
pub(super) fn exec(turn: &mut Turn<'_>, session: &mut Session, id: CommandId, reply: &mut Reply) -> Outcome {
    if !session.queue.open {
        turn.fail(id, &CommandError::Text("ERR EXEC without MULTI"), reply);
        return Outcome::Done;
    }
    let queue = std::mem::take(&mut session.queue);
    if queue.doomed {
        turn.fail(id, &CommandError::Text("EXECABORT Transaction discarded because of previous errors."), reply);
        return Outcome::Done;
    }
    let (mark, version, db) = (reply.mark(), reply.version(), session.db);
    session.queue.running = true;
    let run = run_queue(turn, session, &queue, reply);
    session.queue.running = false;
    if !matches!(run, Run::Done) {
        reply.truncate(mark);
        reply.set_version(version);
        turn.effects.clear();
        session.db = db;
    }
    match run {
        Run::Done => {}
        Run::Stale => reply.null_array(),
        Run::Failed(error) => turn.fail(id, &error, reply),
        Run::Cold(location) => {
            session.queue = queue;
            return Outcome::Fetch(location);
        }
        Run::NoRoom => {
            session.queue = queue;
            return Outcome::NoRoom;
        }
    }
    Outcome::Done
}

fn run_queue(turn: &mut Turn<'_>, session: &mut Session, queue: &Queue, reply: &mut Reply) -> Run {
    let plan = queue.plan(turn.shard);
    let mut txn = turn.shard.begin(&turn.batch, &plan);
    match queue.is_stale(turn.shard, &txn) {
        Ok(false) => {}
        Ok(true) => return Run::Stale,
        Err(StorageError::Cold(location)) => return Run::Cold(location),
        Err(error) => return Run::Failed(error.into()),
    }
    reply.array(queue.commands.len());
    let Turn { server, shard, effects, counters, clock, .. } = turn;
    let mut took = Vec::with_capacity(queue.commands.len());
    for command in &queue.commands {
        let args = command.args();
        if command.spec.tells_of_all() {
            txn.tells_of_all();
        }
        let (mark, effects_before, savepoint) = (reply.mark(), effects.len(), txn.savepoint());
        let mut call = Call { args: &args, reply, session, server, shard, txn: &mut txn, counters, effects };
        match (command.spec.handler)(&mut call) {
            Ok(()) => {}
            Err(CommandError::Storage(StorageError::Cold(location))) => return Run::Cold(location),
            Err(error) => {
                txn.rollback(savepoint);
                effects.truncate(effects_before);
                reply.truncate(mark);
                fail(server, counters, command.id, &error, reply);
            }
        }
        took.push(clock.lap());
    }
    let run = match txn.commit() {
        Ok(lsn) => {
            turn.lsn = turn.lsn.max(lsn.unwrap_or_default());
            Run::Done
        }
        Err(error) if turn.may_wait(&error) => return Run::NoRoom,
        Err(error) => Run::Failed(error.into()),
    };
    // Only now that they are not run again: each counts once.
    for (command, took) in queue.commands.iter().zip(took) {
        turn.counters.executed(command.id, 1, took.as_nanos() as u64);
        hooks::executed(turn.server, session, command.spec, &command.args(), took);
    }
    run
}

#[cfg(test)]
#[path = "transactions_tests.rs"]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
