//! HELP of every container, made from the table.

use super::{Call, CommandError, Flags, Group, Keys, Spec, subcommands};

const fn row(name: &'static str, group: Group, since: &'static str) -> Spec {
    Spec {
        name,
        arity: 2,
        flags: Flags::LOADING,
        keys: Keys::None,
        group,
        since,
        complexity: "O(1)",
        summary: "Lists the subcommands.",
        handler: help,
    }
}

/// A row for each container but OBJECT, whose help stands with it.
pub const SPECS: &[Spec] = &[
    row("client|help", Group::Connection, "5.0.0"),
    row("command|help", Group::Server, "5.0.0"),
    row("config|help", Group::Server, "5.0.0"),
    row("latency|help", Group::Server, "2.8.13"),
    row("memory|help", Group::Server, "4.0.0"),
    row("pubsub|help", Group::PubSub, "6.2.0"),
    row("slowlog|help", Group::Server, "6.2.0"),
];

fn help(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let container = String::from_utf8_lossy(call.arg(0)).to_lowercase();
    let rows: Vec<_> = subcommands(&container).filter(|(name, _)| *name != "help").collect();
    call.reply.array(rows.len() * 2 + 3);
    call.reply.simple(&format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container.to_uppercase()));
    for (name, spec) in rows {
        call.reply.simple(&name.to_uppercase());
        call.reply.simple(&format!("    {}", spec.summary));
    }
    call.reply.simple("HELP");
    call.reply.simple("    Prints this help.");
    Ok(())
}
