//! Values in their RDB form: DUMP and RESTORE.

use esker_storage::types::UnixMillis;

use super::events::GENERIC;
use super::{Call, CommandError, Flags, Group, Keys, Spec};
use crate::rdb::payload;

const ONE: Keys = Keys::Range { first: 1, last: 1, step: 1 };

/// The family's rows.
pub const SPECS: &[Spec] = &[
    Spec {
        name: "dump",
        arity: 2,
        flags: Flags::READONLY,
        keys: ONE,
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N), N bytes of the value",
        summary: "Returns a value in a form that RESTORE takes, here and in Redis.",
        handler: dump,
    },
    Spec {
        name: "restore",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: ONE,
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N), N bytes of the value",
        summary: "Creates a key from what DUMP returned, here or in Redis.",
        handler: restore,
    },
];

fn dump(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let found = match call.txn.get(call.session.db, &call.key(1))? {
        Some(object) => {
            call.reply.bulk(&payload::encode_string(&object.data));
            true
        }
        None => {
            call.reply.null();
            false
        }
    };
    call.looked_up(call.arg(1), found);
    Ok(())
}

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

fn restore(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let options = parse_options(call)?;
    let (db, key) = (call.session.db, call.key(1));
    if !options.replace && call.txn.metadata(db, &key)?.is_some() {
        return Err(CommandError::Text("BUSYKEY Target key name already exists."));
    }
    let expire_at = expiry(call, options.absolute)?;
    let body = payload::verify(call.arg(3)).map_err(|_| CommandError::Text("ERR DUMP payload version or checksum are wrong"))?;
    let value = payload::decode_string(body).map_err(|_| CommandError::Text("ERR Bad data format"))?;

    if expire_at.is_some_and(|at| at <= call.txn.now()) {
        if call.txn.delete(db, &key)? {
            call.notify(GENERIC, "del", key.bytes());
        }
    } else {
        call.txn.put(db, &key, &value, expire_at)?;
        call.created(key.bytes());
        call.notify(GENERIC, "restore", key.bytes());
    }
    call.reply.ok();
    Ok(())
}

/// The TTL argument as a time; 0 is none.
fn expiry(call: &Call<'_, '_>, absolute: bool) -> Result<Option<UnixMillis>, CommandError> {
    match call.integer(2)? {
        ..0 => Err(CommandError::Text("ERR Invalid TTL value, must be >= 0")),
        0 => Ok(None),
        ttl if absolute => Ok(Some(UnixMillis(ttl))),
        ttl => Ok(Some(UnixMillis(call.txn.now().0.wrapping_add(ttl)))),
    }
}

/// REPLACE, ABSTTL, and IDLETIME or FREQ; the latter two are checked and have no effect, as accesses are not tracked.
fn parse_options(call: &Call<'_, '_>) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let (mut idle, mut frequency) = (false, false);
    let mut i = 4;
    while i < call.args.len() {
        let option = call.arg(i);
        let more = i + 1 < call.args.len();
        if option.eq_ignore_ascii_case(b"replace") {
            options.replace = true;
        } else if option.eq_ignore_ascii_case(b"absttl") {
            options.absolute = true;
        } else if option.eq_ignore_ascii_case(b"idletime") && more && !frequency {
            i += 1;
            idle = true;
            if call.integer(i)? < 0 {
                return Err(CommandError::Text("ERR Invalid IDLETIME value, must be >= 0"));
            }
        } else if option.eq_ignore_ascii_case(b"freq") && more && !idle {
            i += 1;
            frequency = true;
            if !(0..=255).contains(&call.integer(i)?) {
                return Err(CommandError::Text("ERR Invalid FREQ value, must be >= 0 and <= 255"));
            }
        } else {
            return Err(CommandError::Syntax);
        }
        i += 1;
    }
    Ok(options)
}
