//! Whole strings: GET, SET and their kin.

use esker_storage::shard::Key;
use esker_storage::types::UnixMillis;

use super::set_options::{Condition, Expiry, GetexOption, Unit, parse_getex, parse_set};
use super::{Call, CommandError, Flags, Group, Keys, Spec, events};

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const ONE_KEY: Keys = Keys::Range { first: 1, last: 1, step: 1 };
const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };

/// A row that the others of the family differ from.
const ROW: Spec = Spec {
    name: "get",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: ONE_KEY,
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the value of a key.",
    handler: get,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec {
        name: "set",
        arity: -3,
        flags: WRITE,
        summary: "Sets a key to a string, whatever it was, with conditions and an expiry.",
        handler: set,
        ..ROW
    },
    Spec { name: "setnx", arity: 3, flags: WRITE.and(Flags::FAST), summary: "Sets a key that does not exist yet.", handler: setnx, ..ROW },
    Spec { name: "setex", arity: 4, flags: WRITE, since: "2.0.0", summary: "Sets a key with an expiry in seconds.", handler: setex, ..ROW },
    Spec {
        name: "psetex",
        arity: 4,
        flags: WRITE,
        since: "2.6.0",
        summary: "Sets a key with an expiry in milliseconds.",
        handler: psetex,
        ..ROW
    },
    Spec {
        name: "getset",
        arity: 3,
        flags: WRITE.and(Flags::FAST),
        summary: "Sets a key and returns its old value.",
        handler: getset,
        ..ROW
    },
    Spec {
        name: "getdel",
        flags: Flags::WRITE.and(Flags::FAST),
        since: "6.2.0",
        summary: "Returns the value of a key and deletes it.",
        handler: getdel,
        ..ROW
    },
    Spec {
        name: "getex",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        since: "6.2.0",
        summary: "Returns the value of a key and changes its expiry.",
        handler: getex,
        ..ROW
    },
    Spec {
        name: "mget",
        arity: -2,
        keys: Keys::Range { first: 1, last: -1, step: 1 },
        complexity: "O(N) for N keys",
        summary: "Returns the values of several keys.",
        handler: mget,
        ..ROW
    },
    Spec {
        name: "mset",
        arity: -3,
        flags: WRITE,
        keys: PAIRS,
        since: "1.0.1",
        complexity: "O(N) for N keys",
        summary: "Sets several keys at once.",
        handler: mset,
        ..ROW
    },
    Spec {
        name: "msetnx",
        arity: -3,
        flags: WRITE,
        keys: PAIRS,
        since: "1.0.1",
        complexity: "O(N) for N keys",
        summary: "Sets several keys at once if none of them exists.",
        handler: msetnx,
        ..ROW
    },
];

fn get(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let key = call.key(1);
    reply_with_value(call, &key)?;
    Ok(())
}

/// Appends the key's value or null to the reply; whether there was one.
fn reply_with_value(call: &mut Call<'_, '_>, key: &Key<'_>) -> Result<bool, CommandError> {
    let found = match call.txn.get(call.session.db, key)? {
        Some(object) => {
            call.reply.bulk(&object.data);
            true
        }
        None => {
            call.reply.null();
            false
        }
    };
    call.looked_up(key.bytes(), found);
    Ok(found)
}

/// Sets the key without an expiry and reports it.
fn put(call: &mut Call<'_, '_>, key: &Key<'_>, value: &[u8]) -> Result<(), CommandError> {
    let db = call.session.db;
    // Whether the key is new matters to nobody but a listener: a plain SET looks nothing up.
    let created = call.server.notifies(events::NEW) && call.txn.metadata(db, key)?.is_none();
    store(call, key, value, None)?;
    if created {
        call.created(key.bytes());
    }
    call.notify(events::STRING, "set", key.bytes());
    Ok(())
}

/// Sets the key, to the value that was uploaded if the argument was too large for the read buffer.
fn store(call: &mut Call<'_, '_>, key: &Key<'_>, value: &[u8], expire_at: Option<UnixMillis>) -> Result<(), CommandError> {
    let db = call.session.db;
    if let Some(uploaded) = &call.session.uploaded {
        call.txn.put_stored(db, key, uploaded, expire_at)?;
        call.session.upload_used = true;
        return Ok(());
    }
    Ok(call.txn.put(db, key, value, expire_at)?)
}

fn set(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let key = call.key(1);
    if call.args.len() > 3 {
        return set_with_options(call, &key);
    }
    put(call, &key, call.arg(2))?;
    call.reply.ok();
    Ok(())
}

fn set_with_options(call: &mut Call<'_, '_>, key: &Key<'_>) -> Result<(), CommandError> {
    let options = parse_set(&call.args[3..])?;
    let db = call.session.db;
    let mut expire_at = match options.expiry {
        Some(expiry) => Some(expiry.resolve(call.txn.now(), "set")?),
        None => None,
    };
    if options.get {
        reply_with_value(call, key)?;
    }
    let old = call.txn.metadata(db, key)?;
    let refused = match options.condition {
        Condition::Always => false,
        Condition::Absent => old.is_some(),
        Condition::Present => old.is_none(),
    };
    if refused {
        if !options.get {
            call.reply.null();
        }
        return Ok(());
    }
    if options.keep_ttl {
        expire_at = old.and_then(|o| o.expire_at);
    }
    store(call, key, call.arg(2), expire_at)?;
    if old.is_none() {
        call.created(key.bytes());
    }
    call.notify(events::STRING, "set", key.bytes());
    if options.expiry.is_some() {
        call.notify(events::GENERIC, "expire", key.bytes());
    }
    if !options.get {
        call.reply.ok();
    }
    Ok(())
}

fn setnx(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let key = call.key(1);
    let absent = call.txn.metadata(call.session.db, &key)?.is_none();
    if absent {
        put(call, &key, call.arg(2))?;
    }
    call.reply.integer(i64::from(absent));
    Ok(())
}

fn setex(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    set_with_expiry(call, Unit::Seconds, "setex")
}

fn psetex(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    set_with_expiry(call, Unit::Milliseconds, "psetex")
}

fn set_with_expiry(call: &mut Call<'_, '_>, unit: Unit, command: &'static str) -> Result<(), CommandError> {
    let (key, db) = (call.key(1), call.session.db);
    let expire_at = Expiry::relative(call.arg(2), unit).resolve(call.txn.now(), command)?;
    let created = call.server.notifies(events::NEW) && call.txn.metadata(db, &key)?.is_none();
    call.txn.put(db, &key, call.arg(3), Some(expire_at))?;
    if created {
        call.created(key.bytes());
    }
    call.notify(events::STRING, "set", key.bytes());
    call.notify(events::GENERIC, "expire", key.bytes());
    call.reply.ok();
    Ok(())
}

fn getset(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let key = call.key(1);
    reply_with_value(call, &key)?;
    put(call, &key, call.arg(2))
}

fn getdel(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let key = call.key(1);
    if reply_with_value(call, &key)? && call.txn.delete(call.session.db, &key)? {
        call.notify(events::GENERIC, "del", key.bytes());
    }
    Ok(())
}

fn getex(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (key, db) = (call.key(1), call.session.db);
    let option = parse_getex(&call.args[2..])?;
    if !reply_with_value(call, &key)? {
        return Ok(());
    }
    match option {
        GetexOption::None => {}
        GetexOption::Expire(expiry) => {
            let now = call.txn.now();
            let at = expiry.resolve(now, "getex")?;
            if expiry.is_absolute() && at <= now {
                call.txn.delete(db, &key)?;
                call.notify(events::GENERIC, "del", key.bytes());
            } else {
                call.txn.set_expire(db, &key, Some(at))?;
                call.notify(events::GENERIC, "expire", key.bytes());
            }
        }
        GetexOption::Persist => {
            if call.txn.metadata(db, &key)?.is_some_and(|m| m.expire_at.is_some()) {
                call.txn.set_expire(db, &key, None)?;
                call.notify(events::GENERIC, "persist", key.bytes());
            }
        }
    }
    Ok(())
}

fn mget(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.array(call.args.len() - 1);
    for i in 1..call.args.len() {
        let key = call.key(i);
        reply_with_value(call, &key)?;
    }
    Ok(())
}

fn mset(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    put_pairs(call, "mset")?;
    call.reply.ok();
    Ok(())
}

fn msetnx(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    check_pairs(call, "msetnx")?;
    for i in (1..call.args.len()).step_by(2) {
        if call.txn.metadata(call.session.db, &call.key(i))?.is_some() {
            call.reply.integer(0);
            return Ok(());
        }
    }
    put_pairs(call, "msetnx")?;
    call.reply.integer(1);
    Ok(())
}

fn check_pairs(call: &Call<'_, '_>, command: &'static str) -> Result<(), CommandError> {
    if call.args.len().is_multiple_of(2) { Err(CommandError::Arity(command.to_owned())) } else { Ok(()) }
}

fn put_pairs(call: &mut Call<'_, '_>, command: &'static str) -> Result<(), CommandError> {
    check_pairs(call, command)?;
    for i in (1..call.args.len()).step_by(2) {
        let key = call.key(i);
        put(call, &key, call.arg(i + 1))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "strings_tests.rs"]
mod tests;
