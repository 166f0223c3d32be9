//! SLOWLOG.

use super::{Call, CommandError, Flags, Group, Keys, Spec};

/// Entries that SLOWLOG GET shows unless told otherwise.
const SHOWN: i64 = 10;

const ROW: Spec = Spec {
    name: "slowlog|get",
    arity: -2,
    flags: Flags::ADMIN.and(Flags::LOADING),
    keys: Keys::None,
    group: Group::Server,
    since: "2.2.12",
    complexity: "O(N), N entries shown",
    summary: "Returns the newest slow commands; a count of -1 means all.",
    handler: get,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "slowlog|len", arity: 2, complexity: "O(1)", summary: "Returns how many slow commands are kept.", handler: len, ..ROW },
    Spec { name: "slowlog|reset", arity: 2, summary: "Removes all slow commands.", handler: reset, ..ROW },
];

fn get(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let count = match call.args {
        [_, _] => SHOWN,
        [_, _, count] => {
            super::parse_integer(count).filter(|n| *n >= -1).ok_or(CommandError::Text("ERR count should be greater than or equal to -1"))?
        }
        _ => return Err(CommandError::Syntax),
    };
    let entries = call.server.slowlog.newest(usize::try_from(count).unwrap_or(usize::MAX));
    call.reply.array(entries.len());
    for entry in entries {
        call.reply.array(6);
        call.reply.integer(entry.id as i64);
        call.reply.integer(entry.unix_seconds);
        call.reply.integer(entry.micros as i64);
        call.reply.array(entry.args.len());
        for arg in &entry.args {
            call.reply.bulk(arg);
        }
        call.reply.bulk(entry.address.as_bytes());
        call.reply.bulk(&entry.client_name);
    }
    Ok(())
}

fn len(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.integer(call.server.slowlog.len() as i64);
    Ok(())
}

fn reset(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.server.slowlog.reset();
    call.reply.ok();
    Ok(())
}
