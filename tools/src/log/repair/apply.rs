//! Doing it.
//!
//! Invariants:
//! - What is taken out of the log is in a file of its own, on the medium, before anything is changed.
//! - A damaged segment is written again under a new generation; the old file goes only after the manifest that names the new one is on
//!   the medium. Cut short at any point, the directory is as it was, or as it will be, or can be repaired again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use esker_storage::codec::entry::EntryView;
use esker_storage::fs::RealDirectory;
use esker_storage::manifest::{SegmentEntry, SegmentState};
use esker_storage::segment::names::{FileName, INDEX};
use esker_storage::segment::torn::TornTail;
use esker_storage::segment::{FooterBuilder, Frame, SEGMENT_HEADER, SegmentHeader, SegmentReader};
use esker_storage::types::{Generation, Lsn, TableId, UnixMillis};

use super::super::directory::DataDirectory;
use super::super::{LogError, set_aside};
use super::fill::{DeadTables, blank, fill};
use super::lost::Lost;
use super::plan::{Plan, Torn};
use super::walk::{Walked, load};

/// Ops to be made void: by offset of their entry.
type Voids = BTreeMap<u32, Vec<u32>>;

/// What was done, a line each.
pub(super) fn apply(directory: &DataDirectory, mut plan: Plan, lost: &Lost) -> Result<Vec<String>, LogError> {
    let mut apply = Apply { directory, now: now(), done: Vec::new(), old: Vec::new() };
    let tables = DeadTables::choose(|table: TableId| lost.given.contains(&table.0) || lost.unknown_tables.contains(&table.0));
    let nothing = Voids::new();
    let last = plan.last();
    let kept = plan.torn.as_ref().map_or(plan.walked.len(), |torn| torn.segment + 1);
    if let Some(torn) = plan.torn.clone() {
        apply.save_torn(&plan, &torn)?;
    }
    for number in 0..kept {
        let segment = plan.walked[number].clone();
        let voids = lost.dependents.get(&segment.file.generation).unwrap_or(&nothing);
        if segment.is_damaged() || !voids.is_empty() {
            apply.rewrite(&mut plan, &segment, voids, tables, last)?;
        }
    }
    apply.finish(plan)?;
    Ok(apply.done)
}

struct Apply<'d> {
    directory: &'d DataDirectory,
    /// Makes names of files differ.
    now: i64,
    done: Vec<String>,
    /// Files that the log will not name any more.
    old: Vec<PathBuf>,
}

impl Apply<'_> {
    /// Writes bytes that are taken out of a segment into a file of their own.
    fn save(&mut self, name: String, segment: SegmentHeader, offset: usize, lsn: Lsn, bytes: &[u8]) -> Result<(), LogError> {
        let path = self.directory.path(&name);
        write_file(&path, &TornTail { segment, offset: offset as u64, lsn, bytes }.encode(), None)?;
        self.done.push(format!("saved {} bytes in {}", bytes.len(), path.display()));
        Ok(())
    }

    fn stamp(&mut self) -> UnixMillis {
        self.now += 1;
        UnixMillis(self.now)
    }

    fn set_aside(&mut self, segment: SegmentHeader, offset: usize, lsn: Lsn, bytes: &[u8]) -> Result<(), LogError> {
        let name = set_aside::name(lsn, self.stamp());
        self.save(name, segment, offset, lsn, bytes)
    }

    fn save_torn(&mut self, plan: &Plan, torn: &Torn) -> Result<(), LogError> {
        for (number, segment) in plan.walked.iter().enumerate().skip(torn.segment) {
            let (bytes, ..) = load(&segment.file, &plan.manifest)?;
            let from = if number == torn.segment { torn.offset } else { 0 };
            let rest = bytes.get(from..).unwrap_or_default();
            let len = esker_storage::segment::reader::last_nonzero(rest).map_or(0, |last| last + 1);
            if len > 0 {
                let name = FileName::Torn(torn.lsn, self.stamp()).to_string();
                self.save(name, segment.header, from, torn.lsn, &rest[..len])?;
            }
            if number > torn.segment {
                self.old.push(segment.file.path.clone());
            }
        }
        Ok(())
    }

    /// Writes a segment again.
    fn rewrite(&mut self, plan: &mut Plan, segment: &Walked, voids: &Voids, tables: DeadTables, log_end: Lsn) -> Result<(), LogError> {
        let (bytes, ..) = load(&segment.file, &plan.manifest)?;
        let generation = plan.manifest.identity.next_generation;
        let header = SegmentHeader { generation, ..segment.header };
        let made = self.frames(plan, segment, &bytes, voids, tables)?;
        let mut made = [&header.encode()[..], &made].concat();
        let lossy = segment.holes.iter().any(|hole| hole.missing() > 0) || !voids.is_empty();
        let seen = segment.footer.unwrap_or_default().max(if lossy { log_end } else { Lsn(0) });
        let state = match segment.sealed_last() {
            Some(last) => {
                let footer = self.footer(plan, segment, &header, &made, seen)?;
                made.extend(footer);
                SegmentState::Sealed { last, bytes: made.len() as u64 }
            }
            None => SegmentState::Active,
        };
        let path = self.directory.path(&FileName::Segment(header.base_lsn, generation).to_string());
        // An active segment keeps its room.
        let room = (state == SegmentState::Active).then_some(bytes.len().max(made.len()) as u64);
        write_file(&path, &made, room)?;
        self.done.push(format!("wrote {}", path.display()));
        let manifest = &mut plan.manifest;
        manifest.cleaned.horizon = manifest.cleaned.horizon.max(seen);
        let old = segment.file.generation;
        let stamp = segment.header.stamp;
        let entry = SegmentEntry { id: segment.file.id, generation, kind: segment.file.kind, state, base: segment.file.base, stamp };
        manifest.segments.retain(|entry| entry.generation != old);
        manifest.segments.push(entry);
        manifest.segments.sort_by_key(|entry| entry.base);
        manifest.identity.next_generation = Generation(generation.0 + 1);
        manifest.identity.spare = manifest.identity.spare.filter(|spare| *spare != old);
        self.old.push(segment.file.path.clone());
        Ok(())
    }

    /// The frames of a segment with its holes filled and some ops void; what they replace is saved.
    fn frames(&mut self, plan: &Plan, segment: &Walked, bytes: &[u8], voids: &Voids, tables: DeadTables) -> Result<Vec<u8>, LogError> {
        let seed = segment.header.seed();
        let cannot = |offset: usize, lsn: Lsn, reason: &str| LogError::CannotRepair {
            path: segment.file.path.clone(),
            offset: offset as u64,
            lsn,
            reason: reason.to_owned(),
        };
        let mut made = bytes[SEGMENT_HEADER..segment.end.min(bytes.len())].to_vec();
        for (at, numbers) in voids {
            let at = *at as usize;
            let entry = EntryView::parse(&bytes[at..], seed).map_err(|error| cannot(at, Lsn(0), &error.to_string()))?;
            let lsn = entry.head().lsn;
            let blanked = blank(&entry, numbers, seed, tables).ok_or_else(|| cannot(at, lsn, "its ops cannot be made void in place"))?;
            self.set_aside(segment.header, at, lsn, entry.bytes())?;
            let from = at - SEGMENT_HEADER;
            made[from..from + blanked.len()].copy_from_slice(&blanked);
        }
        for hole in &segment.holes {
            let filled = fill(hole, seed, plan.manifest.identity.node, tables)
                .ok_or_else(|| cannot(hole.from, hole.first, "what is missing does not fit where it was"))?;
            let damaged = &bytes[hole.from..hole.to.min(bytes.len())];
            if !damaged.is_empty() {
                self.set_aside(segment.header, hole.from, hole.first, damaged)?;
            }
            made.truncate(if hole.fixed { made.len() } else { hole.from - SEGMENT_HEADER });
            let from = hole.from - SEGMENT_HEADER;
            let behind = made.split_off(from.min(made.len()));
            made.extend_from_slice(&filled);
            made.extend_from_slice(behind.get(filled.len()..).unwrap_or_default());
        }
        Ok(made)
    }

    /// Checks what was made, frame by frame, and makes its footer.
    fn footer(&self, plan: &Plan, segment: &Walked, header: &SegmentHeader, made: &[u8], seen: Lsn) -> Result<Vec<u8>, LogError> {
        let mut builder = FooterBuilder::new(header.base_lsn, plan.manifest.identity.key_hash_seed);
        let reader = SegmentReader::new(made, header.seed(), header.continuity(), header.base_lsn, header.epoch);
        for frame in reader {
            let (offset, frame) = frame.map_err(|bad| bad.in_file(&segment.file.path))?;
            if let Frame::Entry(entry) = frame {
                builder.add(offset, &entry);
            }
        }
        Ok(builder.finish(made, seen).encode(header.seed(), made.len() as u64))
    }

    fn finish(&mut self, plan: Plan) -> Result<(), LogError> {
        let shard = self.directory.shard();
        let real = RealDirectory::open(shard).map_err(LogError::read(shard))?;
        let mut manifest = plan.manifest;
        // It may point to what was taken out.
        manifest.checkpoint = None;
        let rewritten = |path: &PathBuf| self.old.contains(path);
        let removed: Vec<Generation> = match &plan.torn {
            Some(torn) => plan.walked[torn.segment + 1..].iter().map(|segment| segment.file.generation).collect(),
            None => Vec::new(),
        };
        manifest.segments.retain(|entry| !removed.contains(&entry.generation));
        manifest.identity.spare = manifest.identity.spare.filter(|spare| !removed.contains(spare));
        sync_directory(shard)?;
        manifest.store(&real)?;
        self.done.push("replaced the manifest; the next start builds the index from the whole log".to_owned());
        if let Some(torn) = plan.torn.as_ref().filter(|torn| torn.len > 0) {
            let path = &plan.walked[torn.segment].file.path;
            if !rewritten(path) {
                zero(path, torn)?;
                self.done.push(format!("cut {} bytes off {}", torn.len, path.display()));
            }
        }
        for path in self.old.drain(..).chain([self.directory.path(INDEX)]) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(LogError::write(&path)(error)),
                _ => {}
            }
        }
        sync_directory(shard)
    }
}

/// Writes a new file, durably but for its name.
fn write_file(path: &Path, bytes: &[u8], len: Option<u64>) -> Result<(), LogError> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        if let Some(len) = len {
            file.set_len(len)?;
        }
        file.sync_all()
    };
    write().map_err(LogError::write(path))
}

fn zero(path: &Path, torn: &Torn) -> Result<(), LogError> {
    use std::os::unix::fs::FileExt;
    let write = || {
        let file = File::options().write(true).open(path)?;
        file.write_all_at(&vec![0; torn.len], torn.offset as u64)?;
        file.sync_data()
    };
    write().map_err(LogError::write(path))
}

/// Removes the index alone.
pub(super) fn remove_index(directory: &DataDirectory) -> Result<(), LogError> {
    let path = directory.path(INDEX);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LogError::write(&path)(error)),
        _ => sync_directory(directory.shard()),
    }
}

fn sync_directory(path: &Path) -> Result<(), LogError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(LogError::write(path))
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
