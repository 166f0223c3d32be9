//! COMMAND GETKEYS and GETKEYSANDFLAGS.

use super::{Command, entry, facts};
use crate::command::plan::key_positions;
use crate::command::{Call, CommandError, Resolved, Spec, resolve};

pub(super) fn getkeys(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (_, positions) = keys_of(&call.args[2..])?;
    call.reply.array(positions.len());
    for position in positions {
        call.reply.bulk(call.args[2 + position]);
    }
    Ok(())
}

pub(super) fn getkeysandflags(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let request = &call.args[2..];
    let (row, positions) = keys_of(request)?;
    call.reply.array(positions.len());
    for (i, position) in positions.iter().enumerate() {
        call.reply.array(2);
        call.reply.bulk(request[*position]);
        entry::names(flags_of(row, request, i), "", call.reply);
    }
    Ok(())
}

/// The row of the command that a request asks for, and the places of its keys.
fn keys_of(request: &[&[u8]]) -> Result<(&'static Spec, Vec<usize>), CommandError> {
    let row = match resolve(request) {
        Resolved::Row(_, row) => row,
        _ => return Err(CommandError::Text("ERR Invalid command specified")),
    };
    if !matches!(row.keys, super::Keys::Range { .. }) {
        return Err(CommandError::Text("ERR The command has no key arguments"));
    }
    let fits = if row.arity < 0 { request.len() >= row.arity.unsigned_abs() as usize } else { request.len() == row.arity as usize };
    if !fits {
        return Err(CommandError::Text("ERR Invalid number of arguments specified for command"));
    }
    Ok((row, key_positions(row.keys, request.len()).collect()))
}

/// What this very request does to its key number `i`.
fn flags_of(row: &'static Spec, request: &[&[u8]], i: usize) -> &'static [&'static str] {
    let has = |word: &str| request.iter().skip(2).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    match row.name {
        "set" if has("get") => &["RW", "access", "update"],
        "set" => &["OW", "update"],
        "bitfield" if !has("set") && !has("incrby") => &["RO", "access"],
        "bitfield" => &["RW", "access", "update"],
        name => {
            let uses = facts::key_uses(Command { name, row: Some(row) });
            uses.get(i).or(uses.last()).map_or(&[], |key_use| key_use.flags)
        }
    }
}
