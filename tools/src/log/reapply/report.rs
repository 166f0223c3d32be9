//! What became of the keys, for people and as JSON.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Map, Value, json};

use super::super::args::{OnConflict, Reapply};
use super::super::divergent::DivergentFile;
use super::super::output::{insert_bytes, quoted};
use super::super::{LogError, Outcome};
use super::effects::{Effect, Effects, OfDatabases};
use super::target::Since;

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was given its value.
    Set,
    /// It was removed.
    Removed,
    /// It was already as it would have become.
    There,
    /// Something happened to it at the server.
    Conflict(Since),
    /// Somebody wrote to it just now.
    Meanwhile,
    /// What it became cannot be told, or not be done.
    Impossible(String),
}

impl Fate {
    /// The word for it, and why.
    fn words(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Set => ("set", None),
            Self::Removed => ("removed", None),
            Self::There => ("there", None),
            Self::Conflict(Since::Written(lsn)) => ("conflict", Some(format!("written there at LSN {lsn}"))),
            Self::Conflict(Since::Unknown(reason)) => ("conflict", Some(reason.clone())),
            Self::Conflict(Since::Nothing) => ("conflict", None),
            Self::Meanwhile => ("conflict", Some("written there just now".to_owned())),
            Self::Impossible(reason) => ("impossible", Some(reason.clone())),
        }
    }
}

/// The counts.
pub(super) struct Report<'a> {
    options: &'a Reapply,
    file: &'a DivergentFile,
    effects: &'a Effects,
    counts: BTreeMap<&'static str, u64>,
}

impl<'a> Report<'a> {
    pub(super) fn new(options: &'a Reapply, file: &'a DivergentFile, effects: &'a Effects) -> Self {
        Self { options, file, effects, counts: BTreeMap::new() }
    }

    pub(super) fn tell(&mut self, effect: &Effect, fate: Fate, out: &mut dyn Write) -> Result<(), LogError> {
        let (word, reason) = fate.words();
        *self.counts.entry(word).or_default() += 1;
        // What is not as it was asked for is named in any case.
        if !self.options.verbose && !matches!(fate, Fate::Conflict(_) | Fate::Meanwhile | Fate::Impossible(_)) {
            return Ok(());
        }
        if self.options.json {
            let mut object = Map::new();
            object.insert("db".to_owned(), effect.db.0.into());
            insert_bytes(&mut object, "key", &effect.key);
            object.insert("lsn".to_owned(), effect.lsn.0.into());
            object.insert("outcome".to_owned(), word.into());
            object.insert("reason".to_owned(), reason.into());
            writeln!(out, "{}", Value::Object(object))?;
        } else {
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            writeln!(out, "{word:<10}  db {}  {}  (LSN {}){reason}", effect.db, quoted(&effect.key), effect.lsn)?;
        }
        Ok(())
    }

    fn count(&self, word: &str) -> u64 {
        self.counts.get(word).copied().unwrap_or(0)
    }

    /// Says it all; what was left undone is damage.
    pub(super) fn finish(&self, out: &mut dyn Write) -> Result<Outcome, LogError> {
        let of_databases = &self.effects.of_databases;
        if self.options.json {
            writeln!(out, "{}", self.json())?;
        } else {
            self.print(out)?;
        }
        let left = self.count("conflict") + self.count("impossible") + of_databases.len() as u64;
        Ok(if left == 0 { Outcome::Sound } else { Outcome::Damaged })
    }

    fn json(&self) -> Value {
        let of_database = |one: &OfDatabases| json!({"lsn": one.lsn.0, "command": one.command});
        let mut summary = json!({
            "file": self.file.path.to_string_lossy(), "to": self.options.to, "dry_run": self.options.dry_run,
            "first_lsn": self.file.header.base_lsn.0, "last_lsn": self.effects.last.0,
            "not_applied": self.effects.of_databases.iter().map(of_database).collect::<Vec<_>>(),
        });
        for word in ["set", "removed", "there", "conflict", "impossible"] {
            summary[word] = self.count(word).into();
        }
        summary
    }

    fn print(&self, out: &mut dyn Write) -> Result<(), LogError> {
        let (first, last) = (self.file.header.base_lsn, self.effects.last);
        let would = if self.options.dry_run { ", of which nothing was written: this is a dry run" } else { "" };
        writeln!(out, "{}, LSN {first} to {last}, to {}{would}", self.file.name(), self.options.to)?;
        let (set, removed) = (self.count("set"), self.count("removed"));
        writeln!(out, "{:>8} applied: {set} keys set, {removed} removed", set + removed)?;
        writeln!(out, "{:>8} already as they would become", self.count("there"))?;
        let hint = if self.options.on_conflict == OnConflict::Skip { "; --on-conflict overwrite writes them" } else { "" };
        writeln!(out, "{:>8} conflicts, left as they are{hint}", self.count("conflict"))?;
        writeln!(out, "{:>8} cannot be applied", self.count("impossible"))?;
        for OfDatabases { lsn, command } in &self.effects.of_databases {
            writeln!(out, "not applied: {command}, LSN {lsn}: of whole databases you decide")?;
        }
        Ok(())
    }
}
