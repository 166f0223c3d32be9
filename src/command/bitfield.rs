//! BITFIELD and BITFIELD_RO: integers of any width at any bit of a string.

use esker_storage::shard::Key;

use super::bitfield_integer::{IntegerType, Overflow};
use super::bitmap::parse_offset;
use super::string_range::longest;
use super::{Call, CommandError, Flags, Group, Keys, Spec, events, parse_integer};

/// A row that the others of the family differ from.
const ROW: Spec = Spec {
    name: "bitfield",
    arity: -2,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::Range { first: 1, last: 1, step: 1 },
    group: Group::Bitmap,
    since: "3.2.0",
    complexity: "O(N) for N operations",
    summary: "Reads, writes and increments integers of any width in a string.",
    handler: bitfield,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec {
        name: "bitfield_ro",
        flags: Flags::READONLY.and(Flags::FAST),
        since: "6.0.0",
        summary: "Reads integers of any width in a string.",
        handler: bitfield_ro,
        ..ROW
    },
];

/// One operation on one integer.
#[derive(Debug, Clone, Copy)]
struct Operation {
    action: Action,
    integer: IntegerType,
    offset: u64,
    overflow: Overflow,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

impl Operation {
    /// The string's length must be more than this for the operation to write.
    fn last_byte(&self) -> u64 {
        (self.offset + u64::from(self.integer.bits()) - 1) / 8
    }

    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }
}

fn bitfield(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let operations = parse(&call.args[2..], longest(call))?;
    let key = call.key(1);
    if !operations.iter().any(Operation::writes) {
        return read_all(call, &key, &operations);
    }
    let grown = grow(call, &key, &operations)?;
    call.reply.array(operations.len());
    let mut changed = false;
    for operation in &operations {
        changed |= execute(call, &key, operation, grown)?;
    }
    if changed {
        call.notify(events::STRING, "setbit", key.bytes());
    }
    Ok(())
}

fn bitfield_ro(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let operations = parse(&call.args[2..], longest(call))?;
    if operations.iter().any(Operation::writes) {
        return Err(CommandError::Text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let key = call.key(1);
    read_all(call, &key, &operations)
}

fn read_all(call: &mut Call<'_, '_>, key: &Key<'_>, operations: &[Operation]) -> Result<(), CommandError> {
    let found = call.txn.metadata(call.session.db, key)?.is_some();
    call.looked_up(key.bytes(), found);
    call.reply.array(operations.len());
    for operation in operations {
        let value = operation.integer.decode(&window(call, key, operation)?, operation.offset);
        call.reply.integer(value);
    }
    Ok(())
}

/// Makes room for all operations that write, before the first of them runs and even if none succeeds; whether the string grew.
fn grow(call: &mut Call<'_, '_>, key: &Key<'_>, operations: &[Operation]) -> Result<bool, CommandError> {
    let db = call.session.db;
    let last = operations.iter().filter(|o| o.writes()).map(Operation::last_byte).max().unwrap_or(0);
    if last >= longest(call) {
        return Err(CommandError::BitOffset);
    }
    let old = call.txn.metadata(db, key)?;
    let grows = old.is_none_or(|m| m.len <= last);
    if grows {
        call.txn.write_range(db, key, last, &[0])?;
    }
    if old.is_none() {
        call.created(key.bytes());
    }
    Ok(grows)
}

/// The bytes that the operation's integer touches, filled up with zeros.
fn window(call: &Call<'_, '_>, key: &Key<'_>, operation: &Operation) -> Result<[u8; 9], CommandError> {
    let mut window = [0; 9];
    let first = operation.offset / 8;
    let len = operation.last_byte() + 1 - first;
    if let Some(bytes) = call.txn.get_range(call.session.db, key, first, len)? {
        window[..bytes.len()].copy_from_slice(&bytes);
    }
    Ok(window)
}

/// Runs an operation and replies; whether that counts as a change.
fn execute(call: &mut Call<'_, '_>, key: &Key<'_>, operation: &Operation, grown: bool) -> Result<bool, CommandError> {
    let mut window = window(call, key, operation)?;
    let integer = operation.integer;
    let old = integer.decode(&window, operation.offset);
    let (new, reply_with_new) = match operation.action {
        Action::Get => {
            call.reply.integer(old);
            return Ok(false);
        }
        Action::Set(value) => (integer.store(value, operation.overflow), false),
        Action::Increment(by) => (integer.add(old, by, operation.overflow), true),
    };
    let Some(new) = new else {
        call.reply.null();
        return Ok(false);
    };
    call.reply.integer(if reply_with_new { new } else { old });
    if new != old {
        integer.encode(&mut window, operation.offset, new);
        let first = operation.offset / 8;
        let len = (operation.last_byte() + 1 - first) as usize;
        call.txn.write_range(call.session.db, key, first, &window[..len])?;
    }
    Ok(grown || new != old)
}

fn parse(args: &[&[u8]], longest: u64) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::with_capacity(args.len() / 3);
    let mut overflow = Overflow::Wrap;
    let mut rest = args;
    loop {
        rest = match rest {
            [] => return Ok(operations),
            [name, kind, tail @ ..] if name.eq_ignore_ascii_case(b"overflow") => {
                overflow = Overflow::parse(kind).ok_or(CommandError::Text("ERR Invalid OVERFLOW type specified"))?;
                tail
            }
            [name, integer, offset, tail @ ..] if name.eq_ignore_ascii_case(b"get") => {
                operations.push(parse_operation(Action::Get, integer, offset, overflow, longest)?);
                tail
            }
            [name, integer, offset, value, tail @ ..] => {
                let make = if name.eq_ignore_ascii_case(b"set") {
                    Action::Set
                } else if name.eq_ignore_ascii_case(b"incrby") {
                    Action::Increment
                } else {
                    return Err(CommandError::Syntax);
                };
                // Checked in this order: type and offset first, then the value.
                let mut operation = parse_operation(Action::Get, integer, offset, overflow, longest)?;
                operation.action = make(parse_integer(value).ok_or(CommandError::NotInteger)?);
                operations.push(operation);
                tail
            }
            _ => return Err(CommandError::Syntax),
        };
    }
}

fn parse_operation(action: Action, integer: &[u8], offset: &[u8], overflow: Overflow, longest: u64) -> Result<Operation, CommandError> {
    const NOT_A_TYPE: CommandError =
        CommandError::Text("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
    let integer = IntegerType::parse(integer).ok_or(NOT_A_TYPE)?;
    // With a # it is counted in integers of this width.
    let (offset, scale) = offset.strip_prefix(b"#").map_or((offset, 1), |index| (index, integer.bits()));
    Ok(Operation { action, integer, offset: parse_offset(offset, scale, longest)?, overflow })
}
