//! COMMAND DOCS.

use super::{Command, arguments, grammar, lower, top_level};
use crate::command::{Call, CommandError, Group};
use crate::protocol::Reply;

/// Commands that newer ones replace: since when, and by which.
const REPLACED: &[(&str, &str, &str)] = &[("substr", "2.0.0", "`GETRANGE`"), ("getset", "6.2.0", "`SET` with the `GET` argument")];

pub(super) fn docs(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let names = &call.args[2..];
    let found: Vec<Command> =
        if names.is_empty() { top_level().collect() } else { names.iter().filter_map(|name| Command::named(&lower(name))).collect() };
    call.reply.map(found.len());
    for command in found {
        write(command, call.reply);
    }
    Ok(())
}

fn write(command: Command, reply: &mut Reply) {
    let replaced = REPLACED.iter().find(|(name, _, _)| *name == command.name);
    let arguments = arguments::parse(grammar::grammar(command.name));
    let subcommands: Vec<Command> = command.subcommands().collect();
    reply.bulk(command.name.as_bytes());
    reply.map(4 + if replaced.is_some() { 3 } else { 0 } + usize::from(!arguments.is_empty()) + usize::from(!subcommands.is_empty()));
    field("summary", command.row.map_or("A container; its subcommands do the work.", |row| row.summary), reply);
    field("since", command.since(), reply);
    field("group", group(command.group()), reply);
    field("complexity", command.row.map_or("Depends on the subcommand.", |row| row.complexity), reply);
    if let Some((_, since, by)) = replaced {
        reply.bulk(b"doc_flags");
        reply.set(1);
        reply.simple("deprecated");
        field("deprecated_since", since, reply);
        field("replaced_by", by, reply);
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        arguments::write(&arguments, reply);
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        for subcommand in subcommands {
            write(subcommand, reply);
        }
    }
}

fn field(name: &str, value: &str, reply: &mut Reply) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn group(group: Group) -> &'static str {
    match group {
        Group::Connection => "connection",
        Group::Generic => "generic",
        Group::String => "string",
        Group::Bitmap => "bitmap",
        Group::Transactions => "transactions",
        Group::PubSub => "pubsub",
        Group::Server => "server",
    }
}
