//! Parts of strings: GETRANGE, SUBSTR, SETRANGE, APPEND, STRLEN. None of them reads or rewrites a whole string.

use super::{Call, CommandError, Flags, Group, Keys, Spec, events};

/// The longest string the storage holds.
const LONGEST: u64 = 512 << 20;

/// A row that the others of the family differ from.
const ROW: Spec = Spec {
    name: "strlen",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::Range { first: 1, last: 1, step: 1 },
    group: Group::String,
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Returns the length of a string.",
    handler: strlen,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec {
        name: "getrange",
        arity: 4,
        flags: Flags::READONLY,
        since: "2.4.0",
        complexity: "O(N) for N bytes returned",
        summary: "Returns a part of a string.",
        handler: getrange,
        ..ROW
    },
    Spec {
        name: "substr",
        arity: 4,
        flags: Flags::READONLY,
        since: "1.0.0",
        complexity: "O(N) for N bytes returned",
        summary: "The old name of GETRANGE.",
        handler: getrange,
        ..ROW
    },
    Spec {
        name: "setrange",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        complexity: "O(N) for N bytes written",
        summary: "Overwrites a part of a string, which grows as needed.",
        handler: setrange,
        ..ROW
    },
    Spec {
        name: "append",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        since: "2.0.0",
        complexity: "O(N) for N bytes appended",
        summary: "Appends to a string, which is created if absent.",
        handler: append,
        ..ROW
    },
];

/// The longest string that commands may make.
pub(super) fn longest(call: &Call<'_, '_>) -> u64 {
    (call.server.config.hot().max_bulk_len() as u64).min(LONGEST)
}

/// Checks the length that a string would have after a write of `added` bytes at `offset`.
fn check_length(call: &Call<'_, '_>, offset: u64, added: u64) -> Result<(), CommandError> {
    match offset.checked_add(added) {
        Some(len) if len <= longest(call) => Ok(()),
        _ => Err(CommandError::StringTooLong),
    }
}

/// The half-open range that Redis's inclusive, possibly negative bounds mean in `len` units; None if it is empty.
pub(super) fn resolve_range(start: i64, end: i64, len: u64) -> Option<(u64, u64)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let from_front = |bound: i64| if bound < 0 { len.saturating_sub(bound.unsigned_abs()) } else { bound.unsigned_abs() };
    let (first, beyond) = (from_front(start), from_front(end).saturating_add(1).min(len));
    (first < beyond).then_some((first, beyond))
}

fn strlen(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let key = call.key(1);
    let metadata = call.txn.metadata(call.session.db, &key)?;
    call.looked_up(key.bytes(), metadata.is_some());
    call.reply.integer(metadata.map_or(0, |m| m.len as i64));
    Ok(())
}

fn getrange(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (key, db) = (call.key(1), call.session.db);
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    // From the front, the length need not be known: the range is clipped where the string ends.
    let (found, range) = if start >= 0 && end >= start {
        (None, Some((start as u64, (end as u64).saturating_add(1))))
    } else {
        let metadata = call.txn.metadata(db, &key)?;
        (Some(metadata.is_some()), metadata.and_then(|m| resolve_range(start, end, m.len)))
    };
    let found = match range {
        None => {
            call.reply.bulk(b"");
            found == Some(true)
        }
        Some((first, beyond)) => {
            let part = call.txn.get_range(db, &key, first, beyond - first)?;
            call.reply.bulk(part.as_deref().unwrap_or_default());
            part.is_some()
        }
    };
    call.looked_up(key.bytes(), found);
    Ok(())
}

fn setrange(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (key, db, value) = (call.key(1), call.session.db, call.arg(3));
    let offset = u64::try_from(call.integer(2)?).map_err(|_| CommandError::Text("ERR offset is out of range"))?;
    let old = call.txn.metadata(db, &key)?;
    let len = if value.is_empty() {
        old.map_or(0, |m| m.len)
    } else {
        check_length(call, offset, value.len() as u64)?;
        let len = call.txn.write_range(db, &key, offset, value)?;
        if old.is_none() {
            call.created(key.bytes());
        }
        call.notify(events::STRING, "setrange", key.bytes());
        len
    };
    call.reply.integer(len as i64);
    Ok(())
}

fn append(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (key, db, value) = (call.key(1), call.session.db, call.arg(2));
    let len = match call.txn.metadata(db, &key)? {
        None => {
            call.txn.put(db, &key, value, None)?;
            call.created(key.bytes());
            value.len() as u64
        }
        // Nothing to write, but for WATCH the key has changed.
        Some(old) if value.is_empty() => {
            call.txn.set_expire(db, &key, old.expire_at)?;
            old.len
        }
        Some(old) => {
            check_length(call, old.len, value.len() as u64)?;
            call.txn.write_range(db, &key, old.len, value)?
        }
    };
    call.notify(events::STRING, "append", key.bytes());
    call.reply.integer(len as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_count_from_both_ends_and_are_clipped() {
        assert_eq!(resolve_range(0, -1, 5), Some((0, 5)));
        assert_eq!(resolve_range(-3, -2, 5), Some((2, 4)));
        assert_eq!(resolve_range(-100, 100, 5), Some((0, 5)));
        assert_eq!(resolve_range(-100, -50, 5), Some((0, 1)));
        assert_eq!(resolve_range(3, 1, 5), None);
        assert_eq!(resolve_range(5, 9, 5), None);
        assert_eq!(resolve_range(-1, -2, 5), None);
        assert_eq!(resolve_range(0, -1, 0), None);
        assert_eq!(resolve_range(i64::MIN, i64::MAX, 5), Some((0, 5)));
    }
}
