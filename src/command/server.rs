//! The server and its databases: sizes, flushing, checkpoints, shutdown.

use std::time::{SystemTime, UNIX_EPOCH};

use esker_storage::types::Db;

use super::{Call, CommandError, Effect, Flags, Group, Keys, Spec, parse_integer};

const ADMIN: Flags = Flags::ADMIN;

/// A row that the others of the family differ from.
const ROW: Spec = Spec {
    name: "dbsize",
    arity: 1,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::All,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the number of keys in the database.",
    handler: dbsize,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "flushdb", arity: -1, flags: Flags::WRITE, summary: "Removes all keys of the database.", handler: flushdb, ..ROW },
    Spec { name: "flushall", arity: -1, flags: Flags::WRITE, summary: "Removes all keys of all databases.", handler: flushall, ..ROW },
    Spec {
        name: "swapdb",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        since: "4.0.0",
        summary: "Exchanges two databases.",
        handler: swapdb,
        ..ROW
    },
    Spec {
        name: "time",
        flags: Flags::FAST.and(Flags::LOADING),
        keys: Keys::None,
        since: "2.6.0",
        summary: "Returns the server's time: seconds and microseconds.",
        handler: time,
        ..ROW
    },
    Spec {
        name: "save",
        flags: ADMIN.and(Flags::NO_MULTI),
        keys: Keys::None,
        complexity: "O(N), N keys",
        summary: "Takes a checkpoint and answers when it is on disk.",
        handler: save,
        ..ROW
    },
    Spec {
        name: "bgsave",
        arity: -1,
        flags: ADMIN,
        keys: Keys::None,
        complexity: "O(1) until the reply",
        summary: "Starts a checkpoint.",
        handler: bgsave,
        ..ROW
    },
    Spec {
        name: "lastsave",
        flags: Flags::FAST.and(Flags::LOADING),
        keys: Keys::None,
        summary: "Returns when the newest checkpoint was finished, in seconds.",
        handler: lastsave,
        ..ROW
    },
    Spec {
        name: "bgrewriteaof",
        flags: ADMIN,
        keys: Keys::None,
        complexity: "O(1) until the reply",
        summary: "Starts a checkpoint: the log needs no rewriting.",
        handler: bgrewriteaof,
        ..ROW
    },
    Spec {
        name: "shutdown",
        arity: -1,
        flags: ADMIN.and(Flags::LOADING).and(Flags::NO_MULTI),
        keys: Keys::None,
        summary: "Stops the server.",
        handler: shutdown,
        ..ROW
    },
    Spec {
        name: "lolwut",
        arity: -1,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::None,
        since: "5.0.0",
        summary: "Draws an esker and tells the version.",
        handler: lolwut,
        ..ROW
    },
];

fn dbsize(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.integer(call.txn.key_count(call.session.db) as i64);
    Ok(())
}

/// Flushing is done in an instant whether it is asked to be synchronous or not: tables are dropped, not keys.
fn check_flush_options(call: &Call<'_, '_>) -> Result<(), CommandError> {
    match call.args {
        [_] => Ok(()),
        [_, option] if option.eq_ignore_ascii_case(b"sync") || option.eq_ignore_ascii_case(b"async") => Ok(()),
        _ => Err(CommandError::Syntax),
    }
}

fn flushdb(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    check_flush_options(call)?;
    call.txn.flush(call.session.db)?;
    call.reply.ok();
    Ok(())
}

fn flushall(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    check_flush_options(call)?;
    call.txn.flush_all()?;
    call.reply.ok();
    Ok(())
}

fn swapdb(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let first = parse_integer(call.arg(1)).ok_or(CommandError::Text("ERR invalid first DB index"))?;
    let second = parse_integer(call.arg(2)).ok_or(CommandError::Text("ERR invalid second DB index"))?;
    let (first, second) = (database(call, first)?, database(call, second)?);
    if first != second {
        call.txn.swap(first, second)?;
    }
    call.reply.ok();
    Ok(())
}

fn database(call: &Call<'_, '_>, number: i64) -> Result<Db, CommandError> {
    let known = u8::try_from(number).ok().filter(|db| *db < call.server.config.databases());
    known.map(Db).ok_or(CommandError::Text("ERR DB index is out of range"))
}

fn time(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    call.reply.array(2);
    call.reply.bulk(now.as_secs().to_string().as_bytes());
    call.reply.bulk(now.subsec_micros().to_string().as_bytes());
    Ok(())
}

fn save(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    if call.shard.checkpoint_status().running {
        return Err(CommandError::Text("ERR Background save already in progress"));
    }
    call.effects.push(Effect::Checkpoint);
    call.reply.ok();
    Ok(())
}

fn bgsave(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let scheduled = match call.args {
        [_] => false,
        [_, option] if option.eq_ignore_ascii_case(b"schedule") => true,
        _ => return Err(CommandError::Syntax),
    };
    if call.shard.checkpoint_status().running {
        if !scheduled {
            return Err(CommandError::Text("ERR Background save already in progress"));
        }
        call.reply.simple("Background saving scheduled");
    } else {
        call.reply.simple("Background saving started");
    }
    call.effects.push(Effect::BackgroundCheckpoint);
    Ok(())
}

fn lastsave(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.integer(call.server.last_save() as i64);
    Ok(())
}

fn bgrewriteaof(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.effects.push(Effect::CleaningPass);
    call.reply.simple("Background append only file rewriting started");
    Ok(())
}

/// SHUTDOWN has no reply: the connection ends with the server.
fn shutdown(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (mut save, mut nosave, mut now, mut abort) = (false, false, false, false);
    for option in &call.args[1..] {
        match option.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            // There are no replicas to wait for.
            b"now" => now = true,
            b"force" => {}
            b"abort" => abort = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    if (abort && call.args.len() > 2) || (save && nosave) {
        return Err(CommandError::Syntax);
    }
    if abort {
        if !call.server.shutdown.abort() {
            return Err(CommandError::Text("ERR No shutdown in progress."));
        }
        call.reply.ok();
        return Ok(());
    }
    call.effects.push(Effect::Shutdown { now: nosave || (now && !save) });
    Ok(())
}

fn lolwut(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let ridge = "            _.-''-._\n      __.-''        ''-.__\n~~~~''   sand over gravel   ''~~~~\n";
    call.reply.verbatim(&format!("{ridge}Esker ver. {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}
