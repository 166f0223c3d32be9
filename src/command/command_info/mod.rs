//! COMMAND: the table, told to clients.

mod arguments;
mod docs;
mod entry;
mod facts;
mod grammar;
mod keys;
mod list;

use super::{Call, CommandError, Flags, Group, Keys, Spec, lookup, rows, subcommands};

const ROW: Spec = Spec {
    name: "command",
    arity: -1,
    flags: Flags::LOADING,
    keys: Keys::None,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N), N commands",
    summary: "Returns what the server knows of all commands.",
    handler: all,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "command|count", arity: 2, complexity: "O(1)", summary: "Returns the number of commands.", handler: count, ..ROW },
    Spec {
        name: "command|docs",
        arity: -2,
        since: "7.0.0",
        summary: "Returns documentation of commands, all or those named.",
        handler: docs::docs,
        ..ROW
    },
    Spec {
        name: "command|getkeys",
        arity: -4,
        complexity: "O(N), N arguments",
        summary: "Returns the keys of a command given with its arguments.",
        handler: keys::getkeys,
        ..ROW
    },
    Spec {
        name: "command|getkeysandflags",
        arity: -4,
        since: "7.0.0",
        complexity: "O(N), N arguments",
        summary: "Returns the keys of a command given with its arguments, and what it does to each.",
        handler: keys::getkeysandflags,
        ..ROW
    },
    Spec {
        name: "command|info",
        arity: -2,
        summary: "Returns what the server knows of commands, all or those named.",
        handler: info,
        ..ROW
    },
    Spec {
        name: "command|list",
        arity: -2,
        since: "7.0.0",
        summary: "Returns the names of commands, all or those of a module, a category or a pattern.",
        handler: list::list,
        ..ROW
    },
];

/// A command or a container of commands, as clients see it.
#[derive(Debug, Clone, Copy)]
struct Command {
    /// Its name; of a subcommand with the container's.
    name: &'static str,
    /// Its row; containers other than COMMAND have none.
    row: Option<&'static Spec>,
}

impl Command {
    /// The command of this name, in lower case.
    fn named(name: &str) -> Option<Self> {
        match lookup(name) {
            Some(row) => Some(Self { name: row.name, row: Some(row) }),
            None => top_level().find(|command| command.name == name),
        }
    }

    /// Its subcommands.
    fn subcommands(self) -> impl Iterator<Item = Self> {
        let of = if self.name.contains('|') { "" } else { self.name };
        subcommands(of).map(|(_, row)| Self { name: row.name, row: Some(row) })
    }

    fn group(self) -> Group {
        self.any_row().map_or(Group::Server, |row| row.group)
    }

    fn since(self) -> &'static str {
        self.any_row().map_or("1.0.0", |row| row.since)
    }

    /// Its own row, or that of its first subcommand.
    fn any_row(self) -> Option<&'static Spec> {
        self.row.or_else(|| self.subcommands().next().and_then(|command| command.row))
    }
}

/// All commands and containers, without their subcommands.
fn top_level() -> impl Iterator<Item = Command> {
    let mut last_container = "";
    rows().filter_map(move |(_, row)| match row.name.split_once('|') {
        None => Some(Command { name: row.name, row: Some(row) }),
        // The rows of a container may stand apart (HELP): it is told of at its first.
        Some((container, _)) if container != last_container && lookup(container).is_none() => {
            last_container = container;
            let first = rows().find(|(_, other)| other.name.split_once('|').is_some_and(|(c, _)| c == container));
            first.filter(|(_, other)| other.name == row.name).map(|_| Command { name: container, row: None })
        }
        Some(_) => None,
    })
}

fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

fn all(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.array(top_level().count());
    for command in top_level() {
        entry::write(command, call.reply);
    }
    Ok(())
}

fn count(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.integer(top_level().count() as i64);
    Ok(())
}

fn info(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let names = &call.args[2..];
    if names.is_empty() {
        return all(call);
    }
    call.reply.array(names.len());
    for name in names {
        match Command::named(&lower(name)) {
            Some(command) => entry::write(command, call.reply),
            None => call.reply.null(),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
