//! `verify`: every checksum, footer and manifest.

use std::collections::HashMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use esker_storage::codec::flush_mark::FlushMark;
use esker_storage::error::StorageError;
use esker_storage::manifest::SegmentState;
use esker_storage::segment::names::FileName;
use esker_storage::segment::reader::last_nonzero;
use esker_storage::segment::torn::TornTail;
use esker_storage::segment::{FooterBuilder, Frame, SegmentKind};
use esker_storage::types::{Generation, Lsn};
use serde_json::json;

use super::args::Plain;
use super::directory::{DataDirectory, Listing, Segment, SegmentFile};
use super::liveness::Liveness;
use super::scan::{SegmentEnd, read_segment, visit_entry};
use super::{LogError, Outcome, set_aside, value_segment};
use esker_storage::history::Tables;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) path: PathBuf,
    pub(super) offset: u64,
    pub(super) lsn: Lsn,
    pub(super) reason: String,
    /// Not damage: what a crash or a running server leaves.
    pub(super) harmless: bool,
}

/// What is known while the files are gone through.
struct Check<'d> {
    directory: &'d DataDirectory,
    listing: Listing,
    liveness: Liveness,
    tables: Tables,
    /// The highest LSN that this disk is known to have flushed.
    flushed: Lsn,
    findings: Vec<Finding>,
    entries: u64,
    ops: u64,
    bytes: u64,
}

pub(super) fn run(directory: &DataDirectory, options: &Plain, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let mut check = match directory.listing() {
        Ok(listing) => Check::new(directory, listing),
        Err(LogError::Storage(error)) => {
            report(&[finding_of(&error)], options, out)?;
            return Ok(Outcome::Damaged);
        }
        Err(error) => return Err(error),
    };
    check.segments()?;
    check.chains();
    check.values()?;
    check.torn_files()?;
    report(&check.findings, options, out)?;
    let damaged = check.findings.iter().filter(|finding| !finding.harmless).count();
    if options.json {
        let summary = json!({
            "segments": check.listing.segments.len(), "entries": check.entries, "ops": check.ops, "bytes": check.bytes,
            "flushed_lsn": check.flushed.0, "damaged": damaged,
        });
        writeln!(out, "{summary}")?;
    } else {
        let verdict = if damaged == 0 { "sound".to_owned() } else { format!("DAMAGED in {damaged} places") };
        let Check { entries, ops, bytes, .. } = &check;
        writeln!(out, "{verdict}: {} segments, {entries} entries, {ops} ops, {bytes} bytes checked", check.listing.segments.len())?;
    }
    Ok(if damaged == 0 { Outcome::Sound } else { Outcome::Damaged })
}

fn report(findings: &[Finding], options: &Plain, out: &mut dyn Write) -> Result<(), LogError> {
    for finding in findings {
        let Finding { path, offset, lsn, reason, harmless } = finding;
        if options.json {
            writeln!(out, "{}", json!({"file": path, "offset": offset, "lsn": lsn.0, "reason": reason, "damage": !harmless}))?;
        } else {
            writeln!(out, "{}: {} offset {offset} LSN {lsn}: {reason}", if *harmless { "note" } else { "damage" }, path.display())?;
        }
    }
    Ok(())
}

fn finding_of(error: &StorageError) -> Finding {
    match error {
        StorageError::Corrupt { path, offset, lsn, reason } => damage(path, *offset, *lsn, reason.clone()),
        StorageError::FutureVersion { path, .. } => damage(path, 0, Lsn(0), error.to_string()),
        other => damage(Path::new(""), 0, Lsn(0), other.to_string()),
    }
}

pub(super) fn damage(path: &Path, offset: u64, lsn: Lsn, reason: impl Into<String>) -> Finding {
    Finding { path: path.to_owned(), offset, lsn, reason: reason.into(), harmless: false }
}

impl<'d> Check<'d> {
    fn new(directory: &'d DataDirectory, listing: Listing) -> Self {
        let stopped = listing.manifest.clean_stop.map_or(Lsn(0), |stop| stop.flushed);
        // A checkpoint gets its name after the log below it was flushed.
        let flushed = listing.manifest.checkpoint.map_or(stopped, |checkpoint| stopped.max(checkpoint.lsn));
        let (liveness, tables) = (Liveness::new(&listing.manifest), Tables::of(&listing.manifest));
        Self { directory, listing, liveness, tables, flushed, findings: Vec::new(), entries: 0, ops: 0, bytes: 0 }
    }

    fn damage(&mut self, path: &Path, offset: u64, lsn: Lsn, reason: impl Into<String>) {
        self.findings.push(damage(path, offset, lsn, reason));
    }

    fn note(&mut self, path: &Path, offset: u64, lsn: Lsn, reason: impl Into<String>) {
        self.findings.push(Finding { harmless: true, ..damage(path, offset, lsn, reason) });
    }

    fn segments(&mut self) -> Result<(), LogError> {
        let mut next = None;
        let mut ends = Vec::new();
        for file in self.listing.segments.clone() {
            let mut segment = match self.directory.load(&file) {
                Ok(segment) => segment,
                Err(LogError::Storage(error)) => {
                    self.findings.push(finding_of(&error));
                    next = None;
                    continue;
                }
                Err(error) if error.is_not_found() => {
                    self.damage(&file.path, 0, file.base, "the manifest lists this segment, and it is missing");
                    next = None;
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.identity(&segment);
            if file.kind == SegmentKind::Log {
                // Where everything was dead, cleaning left nothing.
                let cleaned = self.listing.manifest.cleaned.reached;
                if next.is_some_and(|next| next != file.base && !(next < file.base && file.base <= cleaned.next())) {
                    self.damage(&file.path, 0, file.base, format!("the segment before it ends before LSN {}", next.unwrap_or_default()));
                }
                next = None;
            }
            let end = self.frames(&mut segment)?;
            if file.kind == SegmentKind::Log && end.bad.is_none() {
                next = Some(segment.last_lsn(end.position.lsn).next());
            }
            ends.push((segment, end));
            // Only ends of segments that may still grow are judged when all flush marks are known.
            if !file.is_active() {
                ends.pop().into_iter().for_each(|(segment, end)| self.sealed_end(&segment, &end));
            }
        }
        for (segment, end) in &ends {
            self.active_end(segment, end);
        }
        self.liveness.finish();
        Ok(())
    }

    /// Whether header, name and manifest agree.
    fn identity(&mut self, segment: &Segment) {
        let (file, header) = (&segment.file, &segment.header);
        let manifest = &self.listing.manifest;
        let checks = [
            (header.generation == file.generation, "generation"),
            (header.segment_id == file.id, "segment id"),
            (header.kind == file.kind, "kind"),
            (header.base_lsn == file.base, "base LSN"),
            (header.shard == manifest.identity.shard, "shard"),
            (header.history == manifest.history_at(file.base), "history"),
        ];
        let path = file.path.clone();
        let base = file.base;
        for (_, what) in checks.iter().filter(|(agrees, _)| !agrees) {
            self.damage(&path, 0, base, format!("the header's {what} is not the manifest's"));
        }
    }

    /// Reads all frames; the footer is compared with one made anew.
    fn frames(&mut self, segment: &mut Segment) -> Result<SegmentEnd, LogError> {
        let start = segment.start();
        let identity = self.listing.manifest.identity;
        let mut builder = FooterBuilder::new(segment.header.base_lsn, identity.key_hash_seed);
        let is_log = segment.file.kind == SegmentKind::Log;
        let Self { liveness, tables, flushed, entries, ops, .. } = self;
        let end = read_segment(segment, start, &mut |file: &SegmentFile, offset, frame| {
            match frame {
                Frame::Entry(entry) => {
                    builder.add(offset, entry);
                    *entries += 1;
                    *ops += u64::from(entry.header().ops);
                    if is_log {
                        let _flow = visit_entry(file, offset, entry, tables, Lsn(0), &mut |record| {
                            liveness.apply(record);
                            Ok(ControlFlow::Continue(()))
                        })?;
                    }
                }
                Frame::FlushMark(mark) if mark.node == identity.node => *flushed = (*flushed).max(mark.flushed),
                Frame::FlushMark(_) | Frame::Footer(_) => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.bytes += segment.bytes.len() as u64;
        if let Some(bad) = &end.bad {
            // Marks behind damage count too: what they vouch for must not pass for a torn tail.
            let rest = segment.bytes.get(bad.offset as usize..).unwrap_or_default();
            let marks = (0..rest.len()).filter_map(|at| FlushMark::parse(&rest[at..], segment.header.seed()).ok());
            let highest = marks.filter(|mark| mark.node == identity.node).map(|mark| mark.flushed).max();
            self.flushed = self.flushed.max(highest.unwrap_or_default());
        }
        if let Some(footer) = &end.footer {
            let at = end.position.offset - esker_storage::segment::Footer::encoded_len(footer.hints.len());
            let expected = builder.finish(&segment.bytes[..at], footer.seen);
            if *footer != expected {
                self.damage(&segment.file.path, at as u64, end.position.lsn, "the footer does not describe the segment");
            }
        }
        Ok(end)
    }

    fn sealed_end(&mut self, segment: &Segment, end: &SegmentEnd) {
        let path = &segment.file.path;
        let (offset, lsn) = (end.position.offset as u64, end.position.lsn);
        if let Some(bad) = &end.bad {
            return self.damage(path, bad.offset, bad.lsn, bad.reason.to_string());
        }
        if end.footer.is_none() {
            return self.damage(path, offset, lsn, "a sealed segment without a footer");
        }
        if let SegmentState::Sealed { last, bytes } = segment.file.state
            && (last, bytes) != (segment.last_lsn(lsn), segment.bytes.len() as u64)
        {
            self.damage(path, offset, lsn, format!("the manifest says that it ends with LSN {last} after {bytes} bytes"));
        }
    }

    /// The end of a segment that may still grow: what is not known to have been flushed may be torn.
    fn active_end(&mut self, segment: &Segment, end: &SegmentEnd) {
        let path = &segment.file.path;
        let rest = &segment.bytes[end.position.offset.min(segment.bytes.len())..];
        let (offset, lsn, reason) = match &end.bad {
            Some(bad) => (bad.offset, bad.lsn, bad.reason.to_string()),
            None if end.footer.is_none() && last_nonzero(rest).is_some() => {
                (end.position.offset as u64, end.position.lsn.next(), "bytes after the written end".to_owned())
            }
            None => return,
        };
        let follows =
            |other: &SegmentFile| other.kind == SegmentKind::Log && other.base == lsn && other.generation != segment.file.generation;
        if self.listing.segments.iter().any(follows) {
            self.note(path, offset, lsn, format!("a footer that was being written, which the next start writes again: {reason}"));
        } else if lsn <= self.flushed {
            self.damage(path, offset, lsn, format!("{reason}; up to LSN {} was flushed", self.flushed));
        } else {
            self.note(path, offset, lsn, format!("torn tail, which the next start cuts off: {reason}"));
        }
    }

    /// Deltas must be based on the newest record of their key.
    fn chains(&mut self) {
        let paths: HashMap<Generation, PathBuf> = self.listing.segments.iter().map(|s| (s.generation, s.path.clone())).collect();
        for broken in std::mem::take(&mut self.liveness.broken) {
            let path = paths.get(&broken.generation).cloned().unwrap_or_default();
            self.damage(&path, u64::from(broken.offset), broken.lsn, format!("a delta on LSN {}, which has no such record", broken.base));
        }
    }

    fn values(&mut self) -> Result<(), LogError> {
        let mut missing = self.liveness.values();
        for name in self.directory.names()? {
            let Some(FileName::Value(id)) = FileName::parse(&name) else { continue };
            let reference = missing.remove(&id);
            let path = self.directory.path(&name);
            match value_segment::verify(&path, id, reference.as_ref()) {
                Ok(bytes) => self.bytes += bytes,
                // A value is written before the entry that names it: without one it is unfinished, or left over.
                Err(Ok(finding)) => self.findings.push(Finding { harmless: reference.is_none(), ..finding }),
                // A running server may drop a value that nothing refers to.
                Err(Err(error)) if error.is_not_found() => {}
                Err(Err(error)) => return Err(error),
            }
        }
        if !missing.is_empty() {
            // A running server may have replaced the values meanwhile: what the log says now counts.
            match self.directory.listing().and_then(|listing| Liveness::replay(self.directory, &listing)) {
                Ok(now) => {
                    let values = now.values();
                    missing.retain(|id, _| values.contains_key(id));
                }
                // Damage in the log has been found and reported above.
                Err(LogError::Storage(_)) => {}
                Err(error) => return Err(error),
            }
        }
        for (id, _) in missing {
            let path = self.directory.path(&FileName::Value(id).to_string());
            self.damage(&path, 0, Lsn(0), "a live key refers to this value segment, and it is missing");
        }
        Ok(())
    }

    fn torn_files(&mut self) -> Result<(), LogError> {
        for name in self.directory.names()? {
            let torn = if let Some(FileName::Torn(lsn, _)) = FileName::parse(&name) { Some((lsn, "cut from the log")) } else { None };
            let corrupt = set_aside::is_corrupt(&name).map(|lsn| (lsn, "set aside as damaged"));
            let Some((lsn, what)) = torn.or(corrupt) else { continue };
            let path = self.directory.path(&name);
            match TornTail::decode(&self.directory.read(&name)?) {
                Ok(torn) => self.note(&path, 0, lsn, format!("{} bytes were {what} here earlier", torn.bytes.len())),
                Err(error) => self.damage(&path, 0, lsn, error.to_string()),
            }
        }
        Ok(())
    }
}
