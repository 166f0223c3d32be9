//! How long a key has left: TTL, PTTL, EXPIRETIME, PEXPIRETIME.

use esker_storage::types::UnixMillis;

use super::{Call, CommandError, Flags, Group, Keys, Spec};

const ONE: Keys = Keys::Range { first: 1, last: 1, step: 1 };
const NO_KEY: i64 = -2;
const NO_EXPIRY: i64 = -1;

/// The family's rows.
pub const SPECS: &[Spec] = &[
    Spec {
        name: "ttl",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: ONE,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the seconds that a key has left: -1 for ever, -2 no such key.",
        handler: |call| reply(call, |at, now| seconds(left(at, now))),
    },
    Spec {
        name: "pttl",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: ONE,
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Returns the milliseconds that a key has left: -1 for ever, -2 no such key.",
        handler: |call| reply(call, left),
    },
    Spec {
        name: "expiretime",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: ONE,
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns the Unix time in seconds at which a key expires: -1 never, -2 no such key.",
        handler: |call| reply(call, |at, _| seconds(at.0)),
    },
    Spec {
        name: "pexpiretime",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: ONE,
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns the Unix time in milliseconds at which a key expires: -1 never, -2 no such key.",
        handler: |call| reply(call, |at, _| at.0),
    },
];

fn reply(call: &mut Call<'_, '_>, of: fn(UnixMillis, UnixMillis) -> i64) -> Result<(), CommandError> {
    let found = call.txn.metadata(call.session.db, &call.key(1))?;
    call.looked_up(call.arg(1), found.is_some());
    let answer = match found {
        None => NO_KEY,
        Some(metadata) => metadata.expire_at.map_or(NO_EXPIRY, |at| of(at, call.txn.now())),
    };
    call.reply.integer(answer);
    Ok(())
}

fn left(at: UnixMillis, now: UnixMillis) -> i64 {
    (at.0 - now.0).max(0)
}

/// Rounded to the nearest, as Redis does.
fn seconds(millis: i64) -> i64 {
    millis.saturating_add(500) / 1000
}
