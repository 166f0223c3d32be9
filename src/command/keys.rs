//! Keys of any type: DEL, UNLINK, EXISTS, TOUCH, TYPE, KEYS, RANDOMKEY.

use esker_storage::glob;
use esker_storage::shard::ValueType;

use super::events::GENERIC;
use super::{Call, CommandError, Flags, Group, Keys, Spec};
use crate::protocol::Reply;

const EACH: Keys = Keys::Range { first: 1, last: -1, step: 1 };

/// The family's rows.
pub const SPECS: &[Spec] = &[
    Spec {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        keys: EACH,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N), N keys",
        summary: "Removes keys; returns how many there were.",
        handler: del,
    },
    Spec {
        name: "unlink",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: EACH,
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(N), N keys",
        summary: "Removes keys, as DEL does: memory is given back by the log's cleaning in both cases.",
        handler: del,
    },
    Spec {
        name: "exists",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: EACH,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N), N keys",
        summary: "Counts the given keys that exist; one given twice counts twice.",
        handler: exists,
    },
    Spec {
        name: "touch",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: EACH,
        group: Group::Generic,
        since: "3.2.1",
        complexity: "O(N), N keys",
        summary: "Counts the given keys that exist, and counts as an access to them.",
        handler: exists,
    },
    Spec {
        name: "type",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::Range { first: 1, last: 1, step: 1 },
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Names the type of a key's value, or none.",
        handler: type_of,
    },
    Spec {
        name: "keys",
        arity: 2,
        flags: Flags::READONLY,
        keys: Keys::All,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N), N keys in the database",
        summary: "Returns all keys that match a pattern.",
        handler: keys,
    },
    Spec {
        name: "randomkey",
        arity: 1,
        flags: Flags::READONLY,
        keys: Keys::All,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns a random key of the database.",
        handler: random_key,
    },
];

fn del(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let db = call.session.db;
    let mut removed = 0;
    for i in 1..call.args.len() {
        if call.txn.delete(db, &call.key(i))? {
            call.notify(GENERIC, "del", call.arg(i));
            removed += 1;
        }
    }
    call.reply.integer(removed);
    Ok(())
}

fn exists(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let mut found = 0;
    for i in 1..call.args.len() {
        let exists = call.txn.metadata(call.session.db, &call.key(i))?.is_some();
        call.looked_up(call.arg(i), exists);
        found += i64::from(exists);
    }
    call.reply.integer(found);
    Ok(())
}

/// The name that TYPE gives.
pub(super) fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::String => "string",
        ValueType::List => "list",
        ValueType::Set => "set",
        ValueType::SortedSet => "zset",
        ValueType::Hash => "hash",
        ValueType::Stream => "stream",
    }
}

fn type_of(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let found = call.txn.metadata(call.session.db, &call.key(1))?;
    call.looked_up(call.arg(1), found.is_some());
    call.reply.simple(found.map_or("none", |m| type_name(m.value_type)));
    Ok(())
}

/// Keys that one step of a walk over the database visits.
const STEP: usize = 1024;

fn keys(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let pattern = call.arg(1);
    let db = call.session.db;
    let mut found = 0;
    // The number of keys stands before them and is known after them.
    let mut bulks = Reply::new(call.reply.version());
    let mut cursor = 0;
    loop {
        cursor = call.txn.scan(db, cursor, STEP, &mut |key, _| {
            if pattern == b"*" || glob::matches(pattern, key, false) {
                bulks.bulk(key);
                found += 1;
            }
        })?;
        if cursor == 0 {
            break;
        }
    }
    call.reply.array(found);
    call.reply.buffer_mut().extend_from_slice(bulks.bytes());
    Ok(())
}

fn random_key(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    match call.txn.random_key(call.session.db)? {
        Some(key) => call.reply.bulk(&key),
        None => call.reply.null(),
    }
    Ok(())
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
