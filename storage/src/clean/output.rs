//! The segment that cleaning writes.
//!
//! Invariants:
//! - It has a name that recovery takes away until it is whole and on the medium.
//! - Its range of LSNs is given when it begins and ends; it holds some of them.

use std::sync::Arc;

use super::place::Place;
use crate::codec::checksum::ShardSeed;
use crate::error::{Result, StorageError};
use crate::fs::File;
use crate::log::{Log, NOTE_EVERY, Segment};
use crate::manifest::{SegmentEntry, SegmentState};
use crate::mapping::AppendMap;
use crate::segment::names::FileName;
use crate::segment::{SEGMENT_HEADER, SegmentHeader, SegmentKind};
use crate::types::{Generation, Location, Lsn, SegmentId, UnixMillis};

/// Bytes written at a time: into the page cache, and not through a mapping, which would cost a fault and a page of zeros for each page.
const PIECE: usize = 256 << 10;

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
    file: Box<dyn File>,
    header: SegmentHeader,
    seed: ShardSeed,
    /// Bytes at the end that are not in the file yet.
    piece: Vec<u8>,
    /// Where they go.
    at: u64,
    notes: Vec<(Lsn, u32)>,
    entries: u64,
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
        let allocated = file.allocate(0, size).map_err(StorageError::io("allocate", &path));
        allocated.inspect_err(|_| drop(log.directory.remove(&name)))?;
        log.space.set_lent(size);
        let mut piece = Vec::with_capacity(PIECE);
        piece.extend(header.encode());
        Ok(Self { file, header, seed: like.seed(), piece, at: 0, notes: Vec::new(), entries: 0, moves: Vec::new() })
    }

    /// Appends an entry and returns its offset; none, with nothing done, if it does not fit.
    pub(super) fn append(&mut self, lsn: Lsn, entry: &[u8]) -> Result<Option<u32>> {
        let offset = self.end();
        if offset + entry.len() as u64 > self.header.size {
            return Ok(None);
        }
        // A segment is below 1 GiB.
        let offset = offset as u32;
        self.piece.extend_from_slice(entry);
        if self.piece.len() >= PIECE {
            self.write()?;
        }
        if self.notes.last().is_none_or(|(_, noted)| offset - noted >= NOTE_EVERY) {
            self.notes.push((lsn, offset));
        }
        self.entries += 1;
        Ok(Some(offset))
    }

    fn end(&self) -> u64 {
        self.at + self.piece.len() as u64
    }

    fn write(&mut self) -> Result<()> {
        self.file.write_at(self.at, &self.piece).map_err(StorageError::io("write", self.file.path()))?;
        self.at += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }

    /// Notes that the record of a key has come to lie here.
    pub(super) fn note_move(&mut self, place: Place, from: Location, to: u32) {
        self.moves.push(Move { place, from, to });
    }

    /// Puts it on the medium as what is left up to `last`; none, and no file, if nothing is left. `hot`: what it was made of was.
    pub(super) fn finish(mut self, log: &Log, last: Lsn, seen: Lsn, hot: bool) -> Result<Option<Cleaned>> {
        let SegmentHeader { generation, base_lsn: base, stamp, segment_id: id, .. } = self.header;
        let temporary = FileName::Cleaning(generation).to_string();
        if self.entries == 0 {
            log.space.set_lent(0);
            log.directory.remove(&temporary).map_err(StorageError::io("remove", log.directory.path(&temporary)))?;
            return Ok(None);
        }
        self.write()?;
        // Before it becomes shorter: the log must not take what is given back for a part of the reserve.
        log.space.set_lent(0);
        let segment = self.mapped(hot)?;
        let path = segment.file().path().to_owned();
        let (end, _) = log.write_footer(&segment, seen)?;
        segment.file().set_len(end).map_err(StorageError::io("truncate", &path))?;
        segment.file().sync_all().map_err(StorageError::io("sync", &path))?;
        segment.drop_footer();
        let name = FileName::Segment(base, generation).to_string();
        log.directory.rename(&temporary, &name).map_err(StorageError::io("rename", &path))?;
        log.directory.sync().map_err(StorageError::io("sync", log.directory.path("")))?;
        segment.set_last_lsn(last);
        segment.set_hot(hot);
        segment.set_sealed();
        let state = SegmentState::Sealed { last, bytes: end };
        let entry = SegmentEntry { id, generation, kind: SegmentKind::Log, state, base, stamp };
        Ok(Some(Cleaned { segment: Arc::new(segment), entry, moves: self.moves }))
    }

    /// The segment as readers see it.
    fn mapped(&mut self, hot: bool) -> Result<Segment> {
        let len = self.at as usize;
        let file = self.file.try_clone().map_err(StorageError::io("reopen", self.file.path()))?;
        let region = file.map(len).map_err(StorageError::io("map", file.path()))?;
        if hot {
            // Failing only means that the pages are faulted in one by one.
            let _ = region.populate_read(0, len);
        }
        // Nobody appends to it any more.
        let (map, _) = AppendMap::new(region, len, len);
        let mut segment = Segment::new(self.header.segment_id, self.header.generation, self.seed, file, map);
        segment.set_origin(self.header.stamp, true, self.header.created);
        segment.set_base_lsn(self.header.base_lsn);
        segment.set_notes(std::mem::take(&mut self.notes));
        Ok(segment)
    }

    /// Gives up: nothing of it is left.
    pub(super) fn abandon(self, log: &Log) {
        log.space.set_lent(0);
        // What stays behind is removed at the next start.
        let _ = log.directory.remove(&FileName::Cleaning(self.header.generation).to_string());
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
