//! `divergent`: what was set aside beside the log, and cut from it.

mod file;
mod tally;

use file::beside;
pub(super) use file::{DivergentFile, tables_beside};

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use esker_storage::codec::entry::EntryView;
use esker_storage::codec::frame::{FrameKind, FrameStart};
use esker_storage::segment::SEGMENT_HEADER;
use esker_storage::segment::torn::TornTail;
use serde_json::{Value, json};

use super::args::Divergent;
use super::{LogError, Outcome};
use tally::Tally;

/// What a file or a directory is, by the beginning of its name.
const KINDS: [&str; 4] = [DIVERGENT, "torn", "corrupt", SET_ASIDE];
const DIVERGENT: &str = "divergent";
const SET_ASIDE: &str = "set-aside";

/// One of them.
struct Found {
    path: PathBuf,
    kind: &'static str,
}

/// What is known of one.
struct Row {
    kind: &'static str,
    path: PathBuf,
    tally: Option<Tally>,
    /// Bytes on disk, of what is kept beside it too.
    size: u64,
    /// What does not pass, if anything.
    damage: Option<String>,
}

pub(super) fn run(directory: &Path, options: &Divergent, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let mut outcome = Outcome::Sound;
    let mut all = found(directory)?;
    all.extend(found(&directory.join("shard-0")).or_else(|error| if error.is_not_found() { Ok(Vec::new()) } else { Err(error) })?);
    for one in all {
        let row = row(one)?;
        // In what was cut from the log damage is nothing new.
        if row.kind == DIVERGENT && row.damage.is_some() {
            outcome = Outcome::Damaged;
        }
        if options.json { writeln!(out, "{}", row.json())? } else { row.print(out)? }
    }
    Ok(outcome)
}

fn found(directory: &Path) -> Result<Vec<Found>, LogError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).map_err(LogError::read(directory))? {
        let path = entry.map_err(LogError::read(directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(kind) = KINDS.into_iter().find(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('-'))) else { continue };
        if if kind == SET_ASIDE { path.is_dir() } else { name.ends_with(".log") } {
            all.push(Found { path, kind });
        }
    }
    all.sort_by_key(|found| (KINDS.iter().position(|kind| *kind == found.kind), found.path.clone()));
    Ok(all)
}

fn row(Found { path, kind }: Found) -> Result<Row, LogError> {
    let beside = Some(beside(&path)).filter(|beside| kind == DIVERGENT && beside.is_dir());
    let size = size(&path)? + beside.map_or(Ok(0), |beside| size(&beside))?;
    let (tally, damage) = match kind {
        DIVERGENT => of_divergent(&path)?,
        SET_ASIDE => (None, None),
        _ => of_torn(&path)?,
    };
    Ok(Row { kind, path, tally, size, damage })
}

/// Bytes of a file, or of the files in a directory.
fn size(path: &Path) -> Result<u64, LogError> {
    if !path.is_dir() {
        return Ok(fs::metadata(path).map_err(LogError::read(path))?.len());
    }
    let entries = fs::read_dir(path).map_err(LogError::read(path))?;
    entries.map(|entry| size(&entry.map_err(LogError::read(path))?.path())).sum()
}

fn of_divergent(path: &Path) -> Result<(Option<Tally>, Option<String>), LogError> {
    let file = match DivergentFile::open(path) {
        Err(LogError::Storage(error)) => return Ok((None, Some(error.to_string()))),
        opened => opened?,
    };
    let mut tally = Tally::new(file.header.epoch, file.header.writer);
    let read = file.each_entry(&mut |_, entry| {
        tally.add(entry);
        Ok(())
    });
    match read {
        Err(LogError::Storage(error)) => Ok((Some(tally), Some(error.to_string()))),
        read => read.map(|()| (Some(tally), None)),
    }
}

/// Counts the sound entries that such a file begins with.
fn of_torn(path: &Path) -> Result<(Option<Tally>, Option<String>), LogError> {
    let bytes = fs::read(path).map_err(LogError::read(path))?;
    let torn = match TornTail::decode(&bytes) {
        Err(error) => return Ok((None, Some(error.to_string()))),
        Ok(torn) => torn,
    };
    let mut tally = Tally::new(torn.segment.epoch, torn.segment.writer);
    let mut at = if torn.offset == 0 { SEGMENT_HEADER } else { 0 };
    while let Some(rest) = torn.bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some(mark) = FrameStart::parse(rest).ok().filter(|start| start.kind == FrameKind::FlushMark) {
            at += mark.len as usize;
            continue;
        }
        let Ok(entry) = EntryView::parse(rest, torn.segment.seed()) else {
            return Ok((Some(tally), Some(format!("{} bytes from where LSN {} was expected do not pass", rest.len(), torn.lsn))));
        };
        tally.add(&entry);
        at += entry.bytes().len();
    }
    Ok((Some(tally), None))
}

impl Row {
    /// What to do with it.
    fn advice(&self) -> String {
        let path = self.path.display();
        match self.kind {
            DIVERGENT => format!("esker-log reapply {path} --to HOST:PORT"),
            SET_ASIDE => format!("esker-log export {path}"),
            _ => format!("esker-log dump {path}"),
        }
    }

    fn json(&self) -> Value {
        let mut object = json!({"kind": self.kind, "path": self.path.to_string_lossy(), "size": self.size, "damage": self.damage});
        if let (Some(Value::Object(figures)), Value::Object(object)) = (self.tally.as_ref().map(Tally::json), &mut object) {
            object.extend(figures);
        }
        object
    }

    fn print(&self, out: &mut dyn Write) -> Result<(), LogError> {
        writeln!(out, "{}  {} bytes on disk", self.path.file_name().unwrap_or_default().to_string_lossy(), self.size)?;
        for line in self.tally.iter().flat_map(Tally::lines) {
            writeln!(out, "  {line}")?;
        }
        if let Some(damage) = &self.damage {
            writeln!(out, "  DAMAGED: {damage}")?;
        }
        writeln!(out, "  {}", self.advice())?;
        Ok(())
    }
}
