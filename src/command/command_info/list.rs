//! COMMAND LIST.

use esker_storage::glob;

use super::{Command, facts, lower, top_level};
use crate::command::{Call, CommandError};

pub(super) fn list(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let found: Vec<Command> = match call.args {
        [_, _] => everything().collect(),
        [_, _, filterby, kind, wanted] if filterby.eq_ignore_ascii_case(b"filterby") => match lower(kind).as_str() {
            "module" => Vec::new(),
            "aclcat" => everything().filter(|command| is_in_category(*command, wanted)).collect(),
            "pattern" => everything().filter(|command| glob::matches(wanted, command.name.as_bytes(), true)).collect(),
            _ => return Err(CommandError::Syntax),
        },
        _ => return Err(CommandError::Syntax),
    };
    call.reply.array(found.len());
    for command in found {
        call.reply.bulk(command.name.as_bytes());
    }
    Ok(())
}

fn everything() -> impl Iterator<Item = Command> {
    top_level().flat_map(|command| std::iter::once(command).chain(command.subcommands()))
}

fn is_in_category(command: Command, wanted: &[u8]) -> bool {
    facts::categories(command).iter().any(|category| category.as_bytes().eq_ignore_ascii_case(wanted))
}
