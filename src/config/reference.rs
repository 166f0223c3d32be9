//! The table of options in `docs/operations.md`, made from the directive table.

use std::fmt::Write;

use super::table::CORES;
use super::{Directive, Kind, Meaning, directives};

/// The table of the directives that mean something here, in Markdown.
#[must_use]
pub fn options() -> String {
    let mut page = String::from("| option | values | default | CONFIG SET | what it does |\n|---|---|---|---|---|\n");
    for row in directives() {
        if let Meaning::Used(what) = row.meaning {
            let settable = if row.mutable { "yes" } else { "no" };
            let _ = writeln!(page, "| `{}` | {} | {} | {settable} | {what} |", row.name, values(row), default(row));
        }
    }
    page
}

/// The directives that are accepted and do nothing, by reason, in Markdown.
#[must_use]
pub fn accepted() -> String {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for row in directives() {
        let Meaning::Accepted(why) = row.meaning else { continue };
        let names = [Some(row.name), row.alias].into_iter().flatten().map(|name| format!("`{name}`"));
        match reasons.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, of_reason)) => of_reason.extend(names),
            None => reasons.push((why, names.collect())),
        }
    }
    let mut page = String::from("| because | directives |\n|---|---|\n");
    for (why, names) in reasons {
        let _ = writeln!(page, "| {why} | {} |", names.join(", "));
    }
    page
}

fn values(row: &Directive) -> String {
    match row.kind {
        Kind::Bool => "yes, no".to_owned(),
        Kind::Integer { min, max } if max >= i64::from(i32::MAX) => format!("from {min}"),
        Kind::Integer { min, max } => format!("{min} to {max}"),
        Kind::Memory { .. } => "bytes".to_owned(),
        Kind::MemoryOrPercent => "bytes or percent".to_owned(),
        Kind::Octal => "octal".to_owned(),
        Kind::Enum(names) => names.join(", "),
        Kind::Text => "text".to_owned(),
        Kind::Words | Kind::Special(_) => "words".to_owned(),
    }
}

fn default(row: &Directive) -> String {
    match row.default {
        "" => "none".to_owned(),
        CORES => "number of cores".to_owned(),
        text => format!("`{text}`"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn the_tables_in_docs_are_up_to_date() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
        for table in [options(), accepted()] {
            assert!(page.contains(&table), "docs/operations.md is stale: cargo run --example options prints its tables");
        }
    }

    #[test]
    fn no_two_directives_share_a_name() {
        let mut names: Vec<&str> = directives().flat_map(|row| [Some(row.name), row.alias]).flatten().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn defaults_are_canonical() {
        for row in directives().filter(|row| !row.repeated && row.default != CORES) {
            let words: Vec<&str> = if row.kind.takes_words() { row.default.split(' ').collect() } else { vec![row.default] };
            assert_eq!(row.kind.canonical("", &words).as_deref(), Ok(row.default), "{}", row.name);
        }
    }
}
