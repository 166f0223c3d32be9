//! The segment that cleaning writes.
//!
//! Invariants:
//! - It has a name that recovery takes away until it is whole and on the medium.
//! - Its range of LSNs is given when it begins and ends; it holds some of them.

use std::sync::Arc;

use super::place::Place;
use crate::error::{Result, StorageError};
use crate::log::{Log, NOTE_EVERY, Segment};
use crate::manifest::{SegmentEntry, SegmentState};
use crate::mapping::{AppendMap, Appender};
use crate::segment::names::FileName;
use crate::segment::{SEGMENT_HEADER, SegmentHeader, SegmentKind};
use crate::types::{Generation, Location, Lsn, SegmentId, UnixMillis};

/// How much of the segment is made present at a time, ahead of what is written: one system call instead of 64 page faults.
const POPULATE: usize = 256 << 10;

/// A record that lies elsewhere now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    pub(super) place: Place,
    pub(super) from: Location,
    /// Offset in the cleaned segment.
    pub(super) to: u32,
}

/// A cleaned segment being written.
pub(super) struct Output {
    segment: Segment,
    appender: Appender,
    base: Lsn,
    stamp: u64,
    notes: Vec<(Lsn, u32)>,
    entries: u64,
    populated: usize,
    moves: Vec<Move>,
}

/// A cleaned segment that is on the medium and in no manifest yet.
pub(super) struct Cleaned {
    pub(super) segment: Arc<Segment>,
    pub(super) entry: SegmentEntry,
    /// The records in it that cells pointed to.
    pub(super) moves: Vec<Move>,
}

impl Output {
    /// Begins a segment for what is left of a range that starts with `base`, of at most `bytes`; `like` is the first segment of the range,
    /// `judged_at` the clock of the log when judging began.
    pub(super) fn begin(log: &Log, like: &Segment, base: Lsn, bytes: u64, judged_at: UnixMillis) -> Result<Self> {
        let (generation, id) = reserve(log)?;
        let name = FileName::Cleaning(generation).to_string();
        let path = log.directory.path(&name);
        let size = bytes.max(2 * SEGMENT_HEADER as u64);
        let header = {
            let manifest = log.manifest.lock();
            let epoch = manifest.epoch_at(base);
            SegmentHeader {
                kind: SegmentKind::Log,
                cleaned: true,
                shard: log.shard,
                history: manifest.history_at(base),
                base_lsn: base,
                generation,
                segment_id: id,
                epoch: epoch.map(|epoch| epoch.number).unwrap_or_default(),
                writer: epoch.map(|epoch| epoch.writer).unwrap_or_default(),
                created: judged_at,
                stamp: like.stamp(),
                size,
                value_id: 0,
            }
        };
        let file = log.directory.create(&name).map_err(StorageError::io("create", &path))?;
        let made = file.allocate(0, size).and_then(|()| file.map(size as usize));
        let region = made.inspect_err(|_| drop(log.directory.remove(&name))).map_err(StorageError::io("allocate", &path))?;
        let (map, mut appender) = AppendMap::new(region, 0, size as usize);
        let mut segment = Segment::new(id, generation, like.seed(), file, map);
        segment.set_origin(header.stamp, true, judged_at);
        segment.set_base_lsn(base);
        let bytes = header.encode();
        let at = segment.map().append_with(&mut appender, bytes.len(), |to| to.copy_from_slice(&bytes));
        debug_assert_eq!(at, Some(0), "the header comes first");
        Ok(Self { segment, appender, base, stamp: header.stamp, notes: Vec::new(), entries: 0, populated: 0, moves: Vec::new() })
    }

    /// Appends an entry and returns its offset; none, with nothing done, if it does not fit.
    pub(super) fn append(&mut self, lsn: Lsn, entry: &[u8]) -> Option<u32> {
        let map = self.segment.map();
        if map.written() + entry.len() > self.populated {
            // Failing only means that the pages are faulted in one by one.
            let _ = map.populate_ahead(POPULATE.max(entry.len()));
            self.populated = (map.written() & !4095) + POPULATE;
        }
        let offset = map.append_with(&mut self.appender, entry.len(), |to| to.copy_from_slice(entry))?;
        // A segment is below 1 GiB.
        let offset = offset as u32;
        if self.notes.last().is_none_or(|(_, noted)| offset - noted >= NOTE_EVERY) {
            self.notes.push((lsn, offset));
        }
        self.entries += 1;
        Some(offset)
    }

    /// Notes that the record of a key has come to lie here.
    pub(super) fn note_move(&mut self, place: Place, from: Location, to: u32) {
        self.moves.push(Move { place, from, to });
    }

    /// Puts it on the medium as what is left up to `last`; none, and no file, if nothing is left. `hot`: what it was made of was.
    pub(super) fn finish(self, log: &Log, last: Lsn, seen: Lsn, hot: bool) -> Result<Option<Cleaned>> {
        let temporary = FileName::Cleaning(self.segment.generation()).to_string();
        if self.entries == 0 {
            log.directory.remove(&temporary).map_err(StorageError::io("remove", log.directory.path(&temporary)))?;
            return Ok(None);
        }
        let segment = self.segment;
        let path = segment.file().path().to_owned();
        let (end, _) = log.write_footer(&segment, seen)?;
        segment.file().set_len(end).map_err(StorageError::io("truncate", &path))?;
        segment.file().sync_all().map_err(StorageError::io("sync", &path))?;
        segment.drop_footer();
        let name = FileName::Segment(self.base, segment.generation()).to_string();
        log.directory.rename(&temporary, &name).map_err(StorageError::io("rename", &path))?;
        log.directory.sync().map_err(StorageError::io("sync", log.directory.path("")))?;
        segment.set_last_lsn(last);
        segment.set_notes(self.notes);
        segment.set_hot(hot);
        segment.set_sealed();
        let entry = SegmentEntry {
            id: segment.id(),
            generation: segment.generation(),
            kind: SegmentKind::Log,
            state: SegmentState::Sealed { last, bytes: end },
            base: self.base,
            stamp: self.stamp,
        };
        Ok(Some(Cleaned { segment: Arc::new(segment), entry, moves: self.moves }))
    }

    /// Gives up: nothing of it is left.
    pub(super) fn abandon(self, log: &Log) {
        // What stays behind is removed at the next start.
        let _ = log.directory.remove(&FileName::Cleaning(self.segment.generation()).to_string());
    }
}

/// A generation and an id that nobody else gets. On disk they are reserved by the manifest that names the segment; a file of an earlier
/// attempt is written over.
fn reserve(log: &Log) -> Result<(Generation, SegmentId)> {
    let segments = log.segments();
    let mut manifest = log.manifest.lock();
    let generation = manifest.identity.next_generation;
    let id = manifest.take_segment_id(|id| segments.get(id).is_some()).ok_or_else(|| log.out_of_ids())?;
    manifest.identity.next_generation = Generation(generation.0 + 1);
    Ok((generation, id))
}
