//! INFO: sections of `name:value` lines, under the names that Redis 7 gives them, and Esker's own.

mod commands;
mod replication;
mod server;
mod stats;
mod storage;

use std::cell::OnceCell;
use std::fmt::{Display, Write};

use super::StorageFigures;
use crate::server::Server;

/// Keys of one database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatabaseKeys {
    /// All.
    pub keys: u64,
    /// Those that expire.
    pub expires: u64,
}

/// A text being written.
#[derive(Debug, Default)]
struct Lines(String);

impl Lines {
    fn put(&mut self, name: impl Display, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// Fields that stand for something that Esker does not have, so that readers which insist on them are content.
    fn zeros(&mut self, names: &[&str]) {
        for name in names {
            self.put(name, 0);
        }
    }

    /// A number of bytes, and once more for people.
    fn bytes(&mut self, name: &str, value: u64) {
        self.put(name, value);
        self.put(format_args!("{name}_human"), human(value));
    }
}

/// What the sections are made from.
struct Source<'a> {
    server: &'a Server,
    databases: &'a [DatabaseKeys],
    figures: OnceCell<StorageFigures>,
}

impl Source<'_> {
    /// The figures of the storage: asked for once, by the sections that show them.
    fn figures(&self) -> &StorageFigures {
        self.figures.get_or_init(|| self.server.storage_figures())
    }
}

type Section = fn(&Source<'_>, &mut Lines);

/// Sections: name, title, what writes it, and whether INFO without arguments shows it.
const SECTIONS: &[(&str, &str, Section, bool)] = &[
    ("server", "Server", server::server, true),
    ("clients", "Clients", server::clients, true),
    ("memory", "Memory", server::memory, true),
    ("persistence", "Persistence", storage::persistence, true),
    ("stats", "Stats", stats::stats, true),
    ("replication", "Replication", replication::replication, true),
    ("cpu", "CPU", server::cpu, true),
    ("modules", "Modules", |_, _| {}, true),
    ("commandstats", "Commandstats", commands::commandstats, false),
    ("errorstats", "Errorstats", commands::errorstats, true),
    ("latencystats", "Latencystats", commands::latencystats, false),
    ("cluster", "Cluster", |_, out| out.put("cluster_enabled", 0), true),
    ("keyspace", "Keyspace", stats::keyspace, true),
];

/// The text of the sections that the words name, in the order of Redis. No word: the default ones.
#[must_use]
pub fn text(server: &Server, databases: &[DatabaseKeys], words: &[&[u8]]) -> String {
    let source = Source { server, databases, figures: OnceCell::new() };
    let mut out = Lines::default();
    for (name, title, section, in_default) in SECTIONS {
        if !is_wanted(name, *in_default, words) {
            continue;
        }
        if !out.0.is_empty() {
            out.0.push_str("\r\n");
        }
        let _ = write!(out.0, "# {title}\r\n");
        section(&source, &mut out);
    }
    out.0
}

fn is_wanted(name: &str, in_default: bool, words: &[&[u8]]) -> bool {
    let asked = |word: &&[u8]| match word.to_ascii_lowercase().as_slice() {
        b"default" => in_default,
        b"all" => name != "modules",
        b"everything" => true,
        word => word == name.as_bytes(),
    };
    if words.is_empty() { in_default } else { words.iter().any(asked) }
}

/// A number of bytes for people, as Redis writes it.
#[must_use]
pub fn human(bytes: u64) -> String {
    let units = [("T", 1u64 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match units.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

/// `part` as a share of `whole`, in percent with two decimals.
fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 })
}

/// `a / b` with two decimals; 0 for nothing.
fn ratio(a: u64, b: u64) -> String {
    format!("{:.2}", if b == 0 { 0.0 } else { a as f64 / b as f64 })
}

#[cfg(test)]
mod tests;
