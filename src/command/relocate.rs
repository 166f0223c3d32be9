//! A value under another key or in another database: RENAME, RENAMENX, COPY, MOVE.

use esker_storage::shard::Key;
use esker_storage::types::{DATABASES, Db, UnixMillis};

use super::events::{GENERIC, NEW};
use super::{Call, CommandError, Flags, Group, Keys, Spec};

const SOURCE_AND_TARGET: Keys = Keys::Range { first: 1, last: 2, step: 1 };

/// The family's rows.
pub const SPECS: &[Spec] = &[
    Spec {
        name: "rename",
        arity: 3,
        flags: Flags::WRITE,
        keys: SOURCE_AND_TARGET,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N), N bytes of the value",
        summary: "Renames a key, over one of that name if there is one.",
        handler: rename,
    },
    Spec {
        name: "renamenx",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: SOURCE_AND_TARGET,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N), N bytes of the value",
        summary: "Renames a key if the new name is free.",
        handler: rename_nx,
    },
    Spec {
        name: "copy",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: SOURCE_AND_TARGET,
        group: Group::Generic,
        since: "6.2.0",
        complexity: "O(N), N bytes of the value",
        summary: "Copies a value with its expiry to another key.",
        handler: copy,
    },
    Spec {
        name: "move",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: Keys::Range { first: 1, last: 1, step: 1 },
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N), N bytes of the value",
        summary: "Moves a key to another database if it is free there.",
        handler: move_key,
    },
];

const SAME_OBJECT: CommandError = CommandError::Text("ERR source and destination objects are the same");

/// A value taken out of the transaction, to be put somewhere else in it.
struct Owned {
    data: Vec<u8>,
    expire_at: Option<UnixMillis>,
}

fn take(call: &Call<'_, '_>, db: Db, key: &Key<'_>) -> Result<Option<Owned>, CommandError> {
    Ok(call.txn.get(db, key)?.map(|object| Owned { data: object.data.into_owned(), expire_at: object.expire_at }))
}

fn exists(call: &Call<'_, '_>, db: Db, key: &Key<'_>) -> Result<bool, CommandError> {
    Ok(call.txn.metadata(db, key)?.is_some())
}

fn rename(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    rename_generic(call, true)?;
    call.reply.ok();
    Ok(())
}

fn rename_nx(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let renamed = rename_generic(call, false)?;
    call.reply.integer(i64::from(renamed));
    Ok(())
}

/// Whether the key has the new name now and had not before.
fn rename_generic(call: &mut Call<'_, '_>, replace: bool) -> Result<bool, CommandError> {
    let (from, to, db) = (call.key(1), call.key(2), call.session.db);
    if !exists(call, db, &from)? {
        return Err(CommandError::Text("ERR no such key"));
    }
    if from.bytes() == to.bytes() || (!replace && exists(call, db, &to)?) {
        return Ok(false);
    }
    if let Some(value) = take(call, db, &from)? {
        call.txn.put(db, &to, &value.data, value.expire_at)?;
        call.txn.delete(db, &from)?;
    }
    // A key that is replaced counts as removed and created, as in Redis.
    call.created(to.bytes());
    call.notify(GENERIC, "rename_from", from.bytes());
    call.notify(GENERIC, "rename_to", to.bytes());
    Ok(true)
}

fn copy(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let source_db = call.session.db;
    let (target_db, replace) = copy_options(call)?;
    let (from, to) = (call.key(1), call.key(2));
    if source_db == target_db && from.bytes() == to.bytes() {
        return Err(SAME_OBJECT);
    }
    let value = take(call, source_db, &from)?;
    call.looked_up(from.bytes(), value.is_some());
    let copied = match value {
        Some(value) if replace || !exists(call, target_db, &to)? => {
            call.txn.put(target_db, &to, &value.data, value.expire_at)?;
            call.notify_in(target_db, NEW, "new", to.bytes());
            call.notify_in(target_db, GENERIC, "copy_to", to.bytes());
            true
        }
        _ => false,
    };
    call.reply.integer(i64::from(copied));
    Ok(())
}

fn copy_options(call: &Call<'_, '_>) -> Result<(Db, bool), CommandError> {
    let mut db = call.session.db;
    let mut replace = false;
    let mut i = 3;
    while i < call.args.len() {
        let option = call.arg(i);
        if option.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if option.eq_ignore_ascii_case(b"db") && i + 1 < call.args.len() {
            i += 1;
            db = database(call, i)?;
        } else {
            return Err(CommandError::Syntax);
        }
        i += 1;
    }
    Ok((db, replace))
}

/// Argument `i` as a database number.
fn database(call: &Call<'_, '_>, i: usize) -> Result<Db, CommandError> {
    let number = call.integer(i)?;
    if i32::try_from(number).is_err() {
        return Err(CommandError::Text("ERR value is out of range, value must between -2147483648 and 2147483647"));
    }
    match u8::try_from(number) {
        Ok(number) if number < DATABASES => Ok(Db(number)),
        _ => Err(CommandError::Text("ERR DB index is out of range")),
    }
}

fn move_key(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let source_db = call.session.db;
    let target_db = database(call, 2)?;
    if source_db == target_db {
        return Err(SAME_OBJECT);
    }
    let key = call.key(1);
    let moved = match take(call, source_db, &key)? {
        Some(value) if !exists(call, target_db, &key)? => {
            call.txn.put(target_db, &key, &value.data, value.expire_at)?;
            call.txn.delete(source_db, &key)?;
            call.notify_in(target_db, NEW, "new", key.bytes());
            call.notify_in(source_db, GENERIC, "move_from", key.bytes());
            call.notify_in(target_db, GENERIC, "move_to", key.bytes());
            true
        }
        _ => false,
    };
    call.reply.integer(i64::from(moved));
    Ok(())
}
