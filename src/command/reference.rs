//! `docs/commands.md`, made from the command table.

use std::fmt::Write;

use super::differences::difference;
use super::{Flags, Group, Keys, Spec, table};

/// The families in the order of the page, with their headings.
const GROUPS: [(Group, &str); 7] = [
    (Group::Connection, "Connection"),
    (Group::Generic, "Keys"),
    (Group::String, "Strings"),
    (Group::Bitmap, "Bitmaps"),
    (Group::Transactions, "Transactions"),
    (Group::PubSub, "Publish and subscribe"),
    (Group::Server, "Server"),
];

const HEAD: &str = "# Commands

This page is generated from the command table. To make it again: `cargo run --example commands > docs/commands.md`; a test fails while it
is stale.

Replies, error texts and edge cases are those of Redis 7 unless the last column says otherwise. *Since* is the Redis version that first
had the command. A command that is not listed here answers `ERR unknown command`, as Redis does. Of the types of values there are strings
(with bitmaps) so far: commands on lists, sets, hashes, sorted sets, streams, geo data and HyperLogLogs, scripts and functions, access
control lists, client-side caching and cluster are not there yet. Replication is Esker's own, by shipping the log: Redis's PSYNC, with which a
Redis could follow or be followed, is not there yet.

";

/// The whole page.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    let containers = table().filter(|spec| spec.name.contains('|')).count();
    let _ = writeln!(page, "There are {} commands, {containers} of them subcommands.", table().count());
    for (group, heading) in GROUPS {
        let mut rows: Vec<&Spec> = table().filter(|spec| spec.group == group).collect();
        rows.sort_by_key(|spec| spec.name);
        if !rows.is_empty() {
            let _ = writeln!(
                page,
                "\n## {heading}\n\n| command | what it does | kind | since | complexity | differs from Redis |\n|---|---|---|---|---|---|"
            );
            rows.iter().for_each(|spec| write_row(&mut page, spec));
        }
    }
    page
}

fn write_row(page: &mut String, spec: &Spec) {
    let name = spec.name.to_uppercase().replace('|', " ");
    let differs = difference(spec.name).unwrap_or_default();
    let _ =
        writeln!(page, "| `{name}` | {} | {} | {} | {} | {differs} |", cell(spec.summary), kind(spec), spec.since, cell(spec.complexity));
}

fn kind(spec: &Spec) -> &'static str {
    match spec.flags {
        flags if flags.has(Flags::WRITE) => "writes",
        flags if flags.has(Flags::READONLY) || spec.keys != Keys::None => "reads",
        flags if flags.has(Flags::ADMIN) => "administration",
        _ => "",
    }
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
        let found = std::fs::read_to_string(path).unwrap();
        assert!(found == markdown(), "docs/commands.md is stale: cargo run --example commands > docs/commands.md");
    }

    #[test]
    fn every_command_stands_on_the_page() {
        let page = markdown();
        for spec in table() {
            assert!(page.contains(&format!("| `{}` |", spec.name.to_uppercase().replace('|', " "))), "{}", spec.name);
        }
    }
}
