//! When a key ends: EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT, PERSIST.

use esker_storage::types::UnixMillis;

use super::events::GENERIC;
use super::{Call, CommandError, Flags, Group, Keys, Spec};

const ONE: Keys = Keys::Range { first: 1, last: 1, step: 1 };
const MILLIS_A_SECOND: i64 = 1000;

/// The family's rows.
pub const SPECS: &[Spec] = &[
    Spec {
        name: "expire",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: ONE,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Lets a key expire after so many seconds.",
        handler: |call| expire(call, MILLIS_A_SECOND, call.txn.now()),
    },
    Spec {
        name: "pexpire",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: ONE,
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Lets a key expire after so many milliseconds.",
        handler: |call| expire(call, 1, call.txn.now()),
    },
    Spec {
        name: "expireat",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: ONE,
        group: Group::Generic,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Lets a key expire at a Unix time in seconds.",
        handler: |call| expire(call, MILLIS_A_SECOND, UnixMillis(0)),
    },
    Spec {
        name: "pexpireat",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: ONE,
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Lets a key expire at a Unix time in milliseconds.",
        handler: |call| expire(call, 1, UnixMillis(0)),
    },
    Spec {
        name: "persist",
        arity: 2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: ONE,
        group: Group::Generic,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Takes a key's expiry away.",
        handler: persist,
    },
];

/// The conditions NX, XX, GT and LT.
#[derive(Debug, Clone, Copy, Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(options: &[&[u8]]) -> Result<Self, CommandError> {
        let mut found = Self::default();
        for option in options {
            match option.to_ascii_lowercase().as_slice() {
                b"nx" => found.nx = true,
                b"xx" => found.xx = true,
                b"gt" => found.gt = true,
                b"lt" => found.lt = true,
                _ => return Err(CommandError::Owned(format!("ERR Unsupported option {}", String::from_utf8_lossy(option)))),
            }
        }
        if found.nx && (found.xx || found.gt || found.lt) {
            return Err(CommandError::Text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if found.gt && found.lt {
            return Err(CommandError::Text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(found)
    }

    /// Whether the expiry may change from `current` to `new`; no expiry counts as an infinitely late one.
    fn allow(self, current: Option<UnixMillis>, new: UnixMillis) -> bool {
        match current {
            None => !self.xx && !self.gt,
            Some(at) => !self.nx && (!self.gt || new > at) && (!self.lt || new < at),
        }
    }
}

/// EXPIRE and its kin: a number of `unit` milliseconds, counted from `base`.
fn expire(call: &mut Call<'_, '_>, unit: i64, base: UnixMillis) -> Result<(), CommandError> {
    let conditions = Conditions::parse(&call.args[3..])?;
    let at = call.integer(2)?.checked_mul(unit).and_then(|after| after.checked_add(base.0)).map(UnixMillis);
    let at = at.ok_or_else(|| invalid_expire_time(call))?;

    let (db, key) = (call.session.db, call.key(1));
    let changed = match call.txn.metadata(db, &key)? {
        Some(metadata) if conditions.allow(metadata.expire_at, at) => {
            let event = if at <= call.txn.now() {
                call.txn.delete(db, &key)?;
                "del"
            } else {
                call.txn.set_expire(db, &key, Some(at))?;
                "expire"
            };
            call.notify(GENERIC, event, key.bytes());
            true
        }
        _ => false,
    };
    call.reply.integer(i64::from(changed));
    Ok(())
}

fn invalid_expire_time(call: &Call<'_, '_>) -> CommandError {
    let name = String::from_utf8_lossy(call.arg(0)).to_ascii_lowercase();
    CommandError::Owned(format!("ERR invalid expire time in '{name}' command"))
}

fn persist(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (db, key) = (call.session.db, call.key(1));
    let expires = call.txn.metadata(db, &key)?.is_some_and(|m| m.expire_at.is_some());
    if expires {
        call.txn.set_expire(db, &key, None)?;
        call.notify(GENERIC, "persist", key.bytes());
    }
    call.reply.integer(i64::from(expires));
    Ok(())
}
