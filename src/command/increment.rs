//! Strings as numbers: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.

use super::{Call, CommandError, Flags, Group, Keys, Spec, events, extended_float, parse_integer};

/// A row that the others of the family differ from.
const ROW: Spec = Spec {
    name: "incr",
    arity: 2,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::Range { first: 1, last: 1, step: 1 },
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Adds one to an integer; an absent key counts as 0.",
    handler: incr,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "decr", summary: "Takes one from an integer; an absent key counts as 0.", handler: decr, ..ROW },
    Spec { name: "incrby", arity: 3, summary: "Adds to an integer; an absent key counts as 0.", handler: incrby, ..ROW },
    Spec { name: "decrby", arity: 3, summary: "Takes from an integer; an absent key counts as 0.", handler: decrby, ..ROW },
    Spec {
        name: "incrbyfloat",
        arity: 3,
        since: "2.6.0",
        summary: "Adds to a decimal fraction; an absent key counts as 0.",
        handler: incrbyfloat,
        ..ROW
    },
];

fn incr(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    add(call, 1)
}

fn decr(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    add(call, -1)
}

fn incrby(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let by = call.integer(2)?;
    add(call, by)
}

fn decrby(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let by = call.integer(2)?.checked_neg().ok_or(CommandError::Text("ERR decrement would overflow"))?;
    add(call, by)
}

fn add(call: &mut Call<'_, '_>, by: i64) -> Result<(), CommandError> {
    let (key, db) = (call.key(1), call.session.db);
    let old = match call.txn.get(db, &key)? {
        Some(object) => Some((parse_integer(&object.data).ok_or(CommandError::NotInteger)?, object.expire_at)),
        None => None,
    };
    let (value, expire_at) = old.unwrap_or_default();
    let sum = value.checked_add(by).ok_or(CommandError::Text("ERR increment or decrement would overflow"))?;
    call.txn.put(db, &key, itoa::Buffer::new().format(sum).as_bytes(), expire_at)?;
    if old.is_none() {
        call.created(key.bytes());
    }
    call.notify(events::STRING, "incrby", key.bytes());
    call.reply.integer(sum);
    Ok(())
}

fn incrbyfloat(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (key, db) = (call.key(1), call.session.db);
    let old = match call.txn.get(db, &key)? {
        Some(object) => Some((extended_float::parse(&object.data).ok_or(CommandError::NotFloat)?, object.expire_at)),
        None => None,
    };
    let by = extended_float::parse(call.arg(2)).ok_or(CommandError::NotFloat)?;
    let (value, expire_at) = old.unwrap_or_default();
    let sum = extended_float::add(value, by).ok_or(CommandError::Text("ERR increment would produce NaN or Infinity"))?;
    let text = extended_float::format(sum);
    call.txn.put(db, &key, text.as_bytes(), expire_at)?;
    if old.is_none() {
        call.created(key.bytes());
    }
    call.notify(events::STRING, "incrbyfloat", key.bytes());
    call.reply.bulk(text.as_bytes());
    Ok(())
}
