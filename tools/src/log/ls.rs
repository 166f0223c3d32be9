//! `ls`: the segments.

use std::fs;
use std::io::Write;

use esker_storage::manifest::SegmentState;
use esker_storage::segment::SegmentKind;
use esker_storage::segment::names::FileName;
use serde_json::{Value, json};

use super::args::Plain;
use super::directory::{DataDirectory, Listing, SegmentFile};
use super::liveness::Liveness;
use super::{LogError, Outcome};

/// A line of the list.
struct Row {
    name: String,
    kind: &'static str,
    state: &'static str,
    lsns: Option<(u64, u64)>,
    bytes: u64,
    live: Option<u64>,
}

pub(super) fn run(directory: &DataDirectory, options: &Plain, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let listing = directory.listing()?;
    // A damaged log is listed too, without what only all of it can tell.
    let (liveness, outcome) = match Liveness::replay(directory, &listing) {
        Ok(liveness) => (Some(liveness), Outcome::Sound),
        Err(LogError::Storage(error)) => {
            eprintln!("esker-log: {error}");
            (None, Outcome::Damaged)
        }
        Err(error) => return Err(error),
    };
    let rows = rows(directory, &listing, liveness.as_ref())?;
    if options.json {
        for row in &rows {
            writeln!(out, "{}", row.json())?;
        }
    } else {
        print(&rows, out)?;
    }
    Ok(outcome)
}

fn rows(directory: &DataDirectory, listing: &Listing, liveness: Option<&Liveness>) -> Result<Vec<Row>, LogError> {
    let live = liveness.map(Liveness::bytes_by_segment);
    let mut rows = Vec::new();
    for file in &listing.segments {
        let (last, bytes) = extent(file, liveness)?;
        rows.push(Row {
            name: file.name(),
            kind: kind_name(file.kind),
            state: if file.is_active() { "active" } else { "sealed" },
            lsns: Some((file.base.0, last)),
            bytes,
            live: live.as_ref().map(|live| live.get(&file.generation).copied().unwrap_or(0)),
        });
    }
    for file in &listing.retired {
        let (last, bytes) = extent(file, None)?;
        rows.push(Row {
            name: file.name(),
            kind: kind_name(file.kind),
            state: "retired",
            lsns: Some((file.base.0, last)),
            bytes,
            live: liveness.map(|_| 0),
        });
    }
    let referenced = liveness.map(Liveness::values);
    for name in directory.names()? {
        let Some(FileName::Value(id)) = FileName::parse(&name) else { continue };
        let path = directory.path(&name);
        let bytes = fs::metadata(&path).map_err(LogError::read(&path))?.len();
        let live = referenced.as_ref().map(|ids| if ids.contains_key(&id) { bytes } else { 0 });
        rows.push(Row { name, kind: kind_name(SegmentKind::Value), state: "sealed", lsns: None, bytes, live });
    }
    Ok(rows)
}

/// Last LSN and bytes in use.
fn extent(file: &SegmentFile, liveness: Option<&Liveness>) -> Result<(u64, u64), LogError> {
    if let SegmentState::Sealed { last, bytes } | SegmentState::Retired { last, bytes } = file.state {
        return Ok((last.0, bytes));
    }
    let read = liveness.and_then(|liveness| liveness.segments.iter().find(|read| read.file.generation == file.generation));
    match read {
        Some(read) => Ok((read.end.position.lsn.0, read.end.position.offset as u64)),
        None => Ok((file.base.0, fs::metadata(&file.path).map_err(LogError::read(&file.path))?.len())),
    }
}

fn kind_name(kind: SegmentKind) -> &'static str {
    match kind {
        SegmentKind::Log => "log",
        SegmentKind::Node => "node",
        SegmentKind::Derived => "derived",
        SegmentKind::Backfill => "backfill",
        SegmentKind::Value => "value",
    }
}

impl Row {
    fn dead(&self) -> Option<u64> {
        self.live.map(|live| self.bytes.saturating_sub(live))
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "kind": self.kind, "state": self.state, "bytes": self.bytes, "live": self.live, "dead": self.dead(),
            "first_lsn": self.lsns.map(|lsns| lsns.0), "last_lsn": self.lsns.map(|lsns| lsns.1),
        })
    }
}

fn print(rows: &[Row], out: &mut dyn Write) -> Result<(), LogError> {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(4);
    writeln!(
        out,
        "{:<width$}  kind      state   {:>20}  {:>20}  {:>12}  {:>12}  {:>12}",
        "name", "first LSN", "last LSN", "bytes", "live", "dead"
    )?;
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    for row in rows {
        let (first, last) = (number(row.lsns.map(|l| l.0)), number(row.lsns.map(|l| l.1)));
        let (live, dead) = (number(row.live), number(row.dead()));
        let Row { name, kind, state, bytes, .. } = row;
        writeln!(out, "{name:<width$}  {kind:<8}  {state}  {first:>20}  {last:>20}  {bytes:>12}  {live:>12}  {dead:>12}")?;
    }
    Ok(())
}
