//! Strings as bitmaps: SETBIT, GETBIT, BITOP. Bit 0 is the highest bit of the first byte.

use super::string_range::longest;
use super::{Call, CommandError, Flags, Group, Keys, Spec, events, parse_integer};

const ONE_KEY: Keys = Keys::Range { first: 1, last: 1, step: 1 };

/// A row that the others of the family differ from.
const ROW: Spec = Spec {
    name: "getbit",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: ONE_KEY,
    group: Group::Bitmap,
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Returns a bit of a string.",
    handler: getbit,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec {
        name: "setbit",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        summary: "Sets or clears a bit of a string, which grows as needed.",
        handler: setbit,
        ..ROW
    },
    Spec {
        name: "bitop",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::Range { first: 2, last: -1, step: 1 },
        since: "2.6.0",
        complexity: "O(N) for the longest string's N bytes",
        summary: "Combines strings bit by bit and stores the result.",
        handler: bitop,
        ..ROW
    },
];

/// A bit offset argument, or such a number times `scale`, in strings of up to `longest` bytes.
pub(super) fn parse_offset(text: &[u8], scale: u32, longest: u64) -> Result<u64, CommandError> {
    let offset = parse_integer(text).and_then(|n| u64::try_from(n).ok()?.checked_mul(u64::from(scale)));
    offset.filter(|n| n / 8 < longest).ok_or(CommandError::BitOffset)
}

/// The mask of a bit in its byte.
fn mask(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

fn getbit(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let key = call.key(1);
    let offset = parse_offset(call.arg(2), 1, longest(call))?;
    let byte = call.txn.get_range(call.session.db, &key, offset / 8, 1)?.map(|bytes| bytes.first().copied().unwrap_or(0));
    call.looked_up(key.bytes(), byte.is_some());
    call.reply.integer(i64::from(byte.unwrap_or(0) & mask(offset) != 0));
    Ok(())
}

fn setbit(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    const NOT_A_BIT: CommandError = CommandError::Text("ERR bit is not an integer or out of range");
    let (key, db) = (call.key(1), call.session.db);
    let offset = parse_offset(call.arg(2), 1, longest(call))?;
    let on = match parse_integer(call.arg(3)) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(NOT_A_BIT),
    };
    let old = call.txn.get_range(db, &key, offset / 8, 1)?.map(|bytes| bytes.first().copied());
    // Beyond the end there is no byte yet: even a cleared bit makes the string grow.
    let byte = old.flatten();
    let was_on = byte.unwrap_or(0) & mask(offset) != 0;
    if byte.is_none() || was_on != on {
        let new = if on { byte.unwrap_or(0) | mask(offset) } else { byte.unwrap_or(0) & !mask(offset) };
        call.txn.write_range(db, &key, offset / 8, &[new])?;
        if old.is_none() {
            call.created(key.bytes());
        }
        call.notify(events::STRING, "setbit", key.bytes());
    }
    call.reply.integer(i64::from(was_on));
    Ok(())
}

/// What BITOP computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(name: &[u8]) -> Result<Self, CommandError> {
        let known = [("and", Self::And), ("or", Self::Or), ("xor", Self::Xor), ("not", Self::Not)];
        let found = known.iter().find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes()));
        found.map(|(_, operation)| *operation).ok_or(CommandError::Syntax)
    }

    /// Combines the result so far with the next source, which counts as filled up with zeros.
    fn apply(self, result: &mut Vec<u8>, source: &[u8]) {
        if result.len() < source.len() {
            result.resize(source.len(), 0);
        }
        let (head, tail) = result.split_at_mut(source.len());
        let pairs = head.iter_mut().zip(source);
        match self {
            Self::And => {
                pairs.for_each(|(r, s)| *r &= s);
                tail.fill(0);
            }
            Self::Or => pairs.for_each(|(r, s)| *r |= s),
            Self::Xor => pairs.for_each(|(r, s)| *r ^= s),
            Self::Not => pairs.for_each(|(r, s)| *r = !s),
        }
    }
}

fn bitop(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let operation = Operation::parse(call.arg(1))?;
    if operation == Operation::Not && call.args.len() != 4 {
        return Err(CommandError::Text("ERR BITOP NOT must be called with a single source key."));
    }
    let result = combine(call, operation)?;
    let (target, db) = (call.key(2), call.session.db);
    if result.is_empty() {
        if call.txn.delete(db, &target)? {
            call.notify(events::GENERIC, "del", target.bytes());
        }
    } else {
        let created = call.server.notifies(events::NEW) && call.txn.metadata(db, &target)?.is_none();
        call.txn.put(db, &target, &result, None)?;
        if created {
            call.created(target.bytes());
        }
        call.notify(events::STRING, "set", target.bytes());
    }
    call.reply.integer(result.len() as i64);
    Ok(())
}

/// Combines the sources, one after the other.
fn combine(call: &mut Call<'_, '_>, operation: Operation) -> Result<Vec<u8>, CommandError> {
    let mut result = Vec::new();
    for i in 3..call.args.len() {
        let key = call.key(i);
        let object = call.txn.get(call.session.db, &key)?;
        let found = object.is_some();
        let source = object.as_ref().map_or(&b""[..], |o| &o.data);
        if i == 3 && operation != Operation::Not {
            result.extend_from_slice(source);
        } else {
            operation.apply(&mut result, source);
        }
        drop(object);
        call.looked_up(key.bytes(), found);
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(operation: Operation, first: &[u8], second: &[u8]) -> Vec<u8> {
        let mut result = first.to_vec();
        operation.apply(&mut result, second);
        result
    }

    #[test]
    fn shorter_sources_count_as_filled_up_with_zeros() {
        assert_eq!(apply(Operation::And, &[0xff, 0xff], &[0x0f]), [0x0f, 0]);
        assert_eq!(apply(Operation::And, &[0xff], &[0x0f, 0xff]), [0x0f, 0]);
        assert_eq!(apply(Operation::Or, &[0xf0, 1], &[0x0f]), [0xff, 1]);
        assert_eq!(apply(Operation::Xor, &[0xff], &[0x0f, 2]), [0xf0, 2]);
        assert_eq!(apply(Operation::Not, &[], &[0x0f, 0]), [0xf0, 0xff]);
    }

    #[test]
    fn offsets_end_with_the_longest_string() {
        const LONGEST: u64 = 512 << 20;
        assert_eq!(parse_offset(b"4294967295", 1, LONGEST).ok(), Some(u64::from(u32::MAX)));
        assert_eq!(parse_offset(b"3", 63, LONGEST).ok(), Some(189));
        for text in [&b"4294967296"[..], b"-1", b"x", b"01", b"", b"9223372036854775807"] {
            assert!(parse_offset(text, 8, LONGEST).is_err());
        }
    }
}

#[cfg(test)]
#[path = "bitmap_tests.rs"]
mod client_tests;
