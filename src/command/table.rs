//! The command table: all rows, looked up by name in any case and without allocation.

use std::hash::Hasher;
use std::sync::OnceLock;

use rustc_hash::FxHasher;

use super::{
    Spec, bitcount, bitfield, bitmap, client, command_info, config, connection, debug, digest, dump, expire, failover, help, history,
    increment, info, keys, latency, lcs, memory, monitor, object, pubsub, relocate, replication, role, scan, server, slowlog, string_range,
    strings, tokens, transactions, ttl,
};

/// Families, each with its rows.
const FAMILIES: &[&[Spec]] = &[
    connection::SPECS,
    client::SPECS,
    strings::SPECS,
    string_range::SPECS,
    increment::SPECS,
    lcs::SPECS,
    bitmap::SPECS,
    bitcount::SPECS,
    bitfield::SPECS,
    transactions::SPECS,
    pubsub::SPECS,
    keys::SPECS,
    relocate::SPECS,
    expire::SPECS,
    ttl::SPECS,
    scan::SPECS,
    object::SPECS,
    dump::SPECS,
    history::SPECS,
    replication::SPECS,
    failover::SPECS,
    digest::SPECS,
    tokens::SPECS,
    server::SPECS,
    role::SPECS,
    info::SPECS,
    config::SPECS,
    command_info::SPECS,
    slowlog::SPECS,
    latency::SPECS,
    memory::SPECS,
    monitor::SPECS,
    debug::SPECS,
    help::SPECS,
];

/// A row's place in the table; counters are kept by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandId(u16);

impl CommandId {
    /// The place as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What a request's first arguments name.
#[derive(Debug, Clone, Copy)]
pub enum Resolved {
    /// A row.
    Row(CommandId, &'static Spec),
    /// A container without a subcommand.
    Bare(&'static str),
    /// A container with a subcommand that it lacks.
    UnknownSubcommand(&'static str),
    /// Nothing.
    Unknown,
}

/// All rows, in the order of the families.
pub fn table() -> impl Iterator<Item = &'static Spec> {
    FAMILIES.iter().copied().flatten()
}

/// All rows with their places.
pub fn rows() -> impl Iterator<Item = (CommandId, &'static Spec)> {
    table().enumerate().map(|(i, spec)| (CommandId(i as u16), spec))
}

/// The row of a lower-case name.
#[must_use]
pub fn lookup(name: &str) -> Option<&'static Spec> {
    id_of(name).map(|id| names().rows[id.index()])
}

/// The place of a lower-case name.
#[must_use]
pub fn id_of(name: &str) -> Option<CommandId> {
    names().find(name.as_bytes())?.row
}

/// What the arguments of a request name: a command, or a container and its subcommand.
#[must_use]
pub fn resolve(args: &[&[u8]]) -> Resolved {
    let names = names();
    let mut buffer = Lower::default();
    let Some(entry) = args.first().and_then(|name| buffer.push(name)).and_then(|name| names.find(name)) else {
        return Resolved::Unknown;
    };
    if entry.subcommand {
        return Resolved::Unknown;
    }
    if !entry.container {
        return entry.row.map_or(Resolved::Unknown, |id| Resolved::Row(id, names.rows[id.index()]));
    }
    let Some(subcommand) = args.get(1) else {
        return entry.row.map_or(Resolved::Bare(entry.name), |id| Resolved::Row(id, names.rows[id.index()]));
    };
    let found = buffer.push(b"|").is_some().then(|| buffer.push(subcommand)).flatten().and_then(|name| names.find(name));
    // DEBUG: a row of its own reads the subcommands that have no row. COMMAND: its own row is for no subcommand at all.
    let own = entry.row.filter(|id| names.rows[id.index()].arity < -1);
    match found.and_then(|entry| entry.row).or(own) {
        Some(id) => Resolved::Row(id, names.rows[id.index()]),
        None => Resolved::UnknownSubcommand(entry.name),
    }
}

/// The rows of a container's subcommands, by name.
pub fn subcommands(container: &str) -> impl Iterator<Item = (&'static str, &'static Spec)> {
    table().filter_map(move |spec| Some((spec.name.strip_prefix(container)?.strip_prefix('|')?, spec)))
}

/// Whether the name has subcommands.
#[must_use]
pub fn is_container(name: &str) -> bool {
    names().find(name.as_bytes()).is_some_and(|entry| entry.container)
}

/// Longer names are no command's; also the space for lower-casing on the stack.
const NAME_AT_MOST: usize = 48;

/// A name being lower-cased.
struct Lower {
    bytes: [u8; NAME_AT_MOST],
    len: usize,
}

impl Default for Lower {
    fn default() -> Self {
        Self { bytes: [0; NAME_AT_MOST], len: 0 }
    }
}

impl Lower {
    /// Appends and returns the whole so far; None if it gets too long.
    fn push(&mut self, part: &[u8]) -> Option<&[u8]> {
        let end = self.len + part.len();
        let room = self.bytes.get_mut(self.len..end)?;
        room.copy_from_slice(part);
        room.make_ascii_lowercase();
        self.len = end;
        Some(&self.bytes[..end])
    }
}

/// A name in the hash table: a row's, a container's, or both (COMMAND).
#[derive(Debug, Clone, Copy)]
struct Entry {
    name: &'static str,
    row: Option<CommandId>,
    container: bool,
    /// The name has a `|`: no client may send it as one word.
    subcommand: bool,
}

/// A hash table with linear probing that is at most an eighth full, so nearly every lookup is one comparison.
struct Names {
    rows: Vec<&'static Spec>,
    entries: Box<[Option<Entry>]>,
}

fn names() -> &'static Names {
    static NAMES: OnceLock<Names> = OnceLock::new();
    NAMES.get_or_init(Names::build)
}

impl Names {
    fn build() -> Self {
        let specs: Vec<_> = table().collect();
        let mut names = Self { entries: vec![None; (specs.len() * 8).next_power_of_two()].into(), rows: specs };
        for (id, spec) in rows() {
            names.entry(spec.name).row = Some(id);
            if let Some((container, _)) = spec.name.split_once('|') {
                names.entry(container).container = true;
            }
        }
        names
    }

    fn slot(&self, name: &[u8]) -> usize {
        let mut hasher = FxHasher::default();
        hasher.write(name);
        let mut slot = hasher.finish() as usize & (self.entries.len() - 1);
        while self.entries[slot].is_some_and(|entry| entry.name.as_bytes() != name) {
            slot = (slot + 1) & (self.entries.len() - 1);
        }
        slot
    }

    fn entry(&mut self, name: &'static str) -> &mut Entry {
        let slot = self.slot(name.as_bytes());
        self.entries[slot].get_or_insert(Entry { name, row: None, container: false, subcommand: name.contains('|') })
    }

    fn find(&self, name: &[u8]) -> Option<Entry> {
        self.entries[self.slot(name)]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        assert!(matches!(resolve(&[b"GeT", b"k"]), Resolved::Row(_, spec) if spec.name == "get"));
        assert!(matches!(resolve(&[b"PUBSUB", b"channels"]), Resolved::Row(_, spec) if spec.name == "pubsub|channels"));
    }

    #[test]
    fn containers_without_a_known_subcommand_are_told_apart() {
        assert!(matches!(resolve(&[b"pubsub"]), Resolved::Bare("pubsub")));
        assert!(matches!(resolve(&[b"pubsub", b"nope"]), Resolved::UnknownSubcommand("pubsub")));
        assert!(matches!(resolve(&[b"pubsub", b"HELP"]), Resolved::Row(..)));
        assert!(matches!(resolve(&[b"pubsub|channels"]), Resolved::Unknown));
        assert!(matches!(resolve(&[&[b'x'; 200]]), Resolved::Unknown));
    }

    #[test]
    fn rows_have_lower_case_names_that_differ() {
        let mut seen = std::collections::HashSet::new();
        for spec in table() {
            assert_eq!(spec.name, spec.name.to_lowercase());
            assert!(seen.insert(spec.name), "{} stands twice in the table", spec.name);
            assert!(spec.name.len() <= NAME_AT_MOST);
            assert!(spec.arity != 0 && !spec.summary.is_empty() && !spec.since.is_empty() && !spec.complexity.is_empty(), "{}", spec.name);
        }
    }
}
