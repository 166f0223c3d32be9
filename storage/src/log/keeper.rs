//! The keeper: one thread that makes the next spare, registers the segment that became active, and seals full ones.
//!
//! Invariants:
//! - The manifest reserves a spare's generation, durably, before the spare may become active: recovery finds an active segment that no
//!   manifest lists under that generation.
//! - A footer is written only to a segment that is wholly on the medium; the manifest says "sealed" after the footer is.

use std::sync::Arc;
use std::time::Duration;

use super::Log;
use super::segment::{SealedCounts, Segment};
use super::tail::Spare;
use crate::codec::DecodeError;
use crate::codec::entry::EntryView;
use crate::codec::frame::{FrameKind, FrameStart};
use crate::error::{Result, StorageError};
use crate::manifest::{Manifest, SegmentEntry, SegmentState};
use crate::mapping::AppendMap;
use crate::segment::names::FileName;
use crate::segment::{Continuity, FooterWriter, Frame, SEGMENT_HEADER, SegmentKind, SegmentReader};
use crate::thread::{Signal, Thread};
use crate::types::{EpochNumber, Generation, Lsn};

/// How long the keeper waits before it tries again to get space.
const RETRY: Duration = Duration::from_millis(500);
/// By which part of itself the file of a segment grows for a footer that does not fit, and by how many bytes at least.
const FOOTER_PART: u64 = 64;
const FOOTER_STEP: u64 = 64 << 10;

/// Wakes the keeper.
#[derive(Default)]
pub(crate) struct KeeperSignal(Signal<bool>);

impl KeeperSignal {
    pub(crate) fn wake(&self) {
        self.0.tell(|work| *work = true);
    }

    pub(crate) fn stop(&self) {
        self.0.stop();
    }

    /// Waits for work; true to stop.
    fn wait(&self, patience: Option<Duration>) -> bool {
        let stop = self.0.wait(patience, |work| !work);
        *self.0.state() = false;
        stop
    }
}

pub(crate) fn spawn(log: &Arc<Log>) -> Result<Thread> {
    let log = Arc::clone(log);
    Thread::start("esker-keeper", "the keeper", move || run(&log))
}

fn run(log: &Log) {
    let mut patience = None;
    while !log.keeper.wait(patience) {
        patience = match log.keep() {
            Ok(()) => None,
            Err(error) if error.is_disk_full() => Some(RETRY),
            Err(error) => {
                log.durability.poison(&error);
                log.spare_ready.notify_all();
                return;
            }
        };
    }
}

impl Log {
    /// One round of the keeper's work. The spare comes first: appends may wait for it.
    pub(crate) fn keep(&self) -> Result<()> {
        self.register_active()?;
        let needed = self.tail.lock().spare.as_ref().is_none_or(|spare| spare.reserved);
        let spare = if needed { self.provide_spare() } else { Ok(()) };
        // Without room for a spare, too: cleaning, which makes room, takes sealed segments only.
        loop {
            let Some(full) = self.tail.lock().full.first().cloned() else { return spare };
            self.seal(&full)?;
            self.tail.lock().full.retain(|s| s.id() != full.id());
        }
    }

    /// Gives segments that became active their name and a line in the manifest.
    pub(crate) fn register_active(&self) -> Result<()> {
        let mut manifest = self.manifest.lock();
        if self.register_begun(&mut manifest)? { self.store_manifest(&mut manifest) } else { Ok(()) }
    }

    /// Lists in `manifest` the segments that have begun and are not in it; whether there were any.
    pub(crate) fn register_begun(&self, manifest: &mut Manifest) -> Result<bool> {
        let begun: Vec<_> = {
            let tail = self.tail.lock();
            tail.full.iter().chain([&tail.segment]).cloned().collect()
        };
        let mut changed = false;
        for segment in begun {
            if manifest.segments.iter().any(|s| s.generation == segment.generation()) {
                continue;
            }
            // What the manifest lists is there after power loss: at least the header has to be.
            segment.sync()?;
            let base = segment.base_lsn().expect("a segment behind the tail has begun");
            let from = FileName::Spare(segment.generation()).to_string();
            let to = FileName::Segment(base, segment.generation()).to_string();
            self.directory.rename(&from, &to).map_err(StorageError::io("rename", self.directory.path(&from)))?;
            manifest.segments.push(SegmentEntry {
                id: segment.id(),
                generation: segment.generation(),
                kind: SegmentKind::Log,
                state: SegmentState::Active,
                base,
                stamp: base.0,
            });
            if manifest.identity.spare == Some(segment.generation()) {
                manifest.identity.spare = None;
            }
            changed = true;
        }
        Ok(changed)
    }

    /// Makes a spare and hands it to the tail. Without space the tail is told so, and gets one of the reserve, for entries that free space.
    pub(crate) fn provide_spare(&self) -> Result<()> {
        let has_reserved = self.tail.lock().spare.is_some();
        let made = if has_reserved { self.check_limit(0).map(|()| None) } else { self.make_spare(false).map(Some) };
        let mut tail = self.tail.lock();
        let outcome = made.and_then(|made| {
            match made {
                Some(spare) => tail.spare = Some(spare),
                None => tail.spare.iter_mut().for_each(|spare| spare.reserved = false),
            }
            if tail.spare.as_ref().is_some_and(|spare| spare.reserved) { Err(self.full()) } else { Ok(()) }
        });
        tail.spare_failed = outcome.is_err();
        drop(tail);
        self.spare_ready.notify_all();
        outcome
    }

    /// Makes the spare that a start needs for its first entry, where the last segment is full: whatever the limit says, or else nothing
    /// could be read and nothing deleted.
    pub(crate) fn provide_first_spare(&self) -> Result<()> {
        let spare = self.make_spare(true)?;
        self.tail.lock().spare = Some(spare);
        Ok(())
    }

    fn full(&self) -> StorageError {
        self.space.note_refused();
        StorageError::DiskFull { path: self.directory.path("") }
    }

    fn make_spare(&self, beyond_reserve: bool) -> Result<Spare> {
        let mut manifest = self.manifest.lock();
        // A spare that became active since is listed before its reservation is given to another: until there is a spare again, no
        // more can follow it.
        self.register_begun(&mut manifest)?;
        let generation = manifest.identity.next_generation;
        let segments = self.segments();
        let id = manifest.take_segment_id(|id| segments.get(id).is_some()).ok_or_else(|| self.out_of_ids())?;
        let name = FileName::Spare(generation).to_string();
        let size = u64::from(self.segment_size);
        let reserved = self.check_limit(size).is_err();
        if reserved && !beyond_reserve && !self.space.admits_from_reserve(size) {
            return Err(self.full());
        }
        let made = self.make_spare_file(&name);
        let (file, region) = made.inspect_err(|_| drop(self.directory.remove(&name)))?;
        manifest.identity.next_generation = Generation(generation.0 + 1);
        manifest.identity.spare = Some(generation);
        self.store_manifest(&mut manifest)?;
        let (map, appender) = AppendMap::new(region, 0, self.segment_size as usize);
        let segment = Arc::new(Segment::new(id, generation, self.seed, file, map));
        self.publish(Arc::clone(&segment));
        Ok(Spare { segment, appender, reserved })
    }

    pub(crate) fn out_of_ids(&self) -> StorageError {
        let source = std::io::Error::other("all 262,144 segment ids are in use: make the segments larger");
        StorageError::Io { action: "begin a segment in", path: self.directory.path(""), source }
    }

    /// Whether the limit leaves room for so many bytes more.
    fn check_limit(&self, more: u64) -> Result<()> {
        self.space.measure(self.directory.as_ref()).map_err(StorageError::io("measure", self.directory.path("")))?;
        if self.space.admits(more) { Ok(()) } else { Err(self.full()) }
    }

    fn make_spare_file(&self, name: &str) -> Result<(Box<dyn crate::fs::File>, Arc<crate::mapping::Region>)> {
        let path = self.directory.path(name);
        let size = u64::from(self.segment_size);
        let file = self.directory.create(name).map_err(StorageError::io("create", &path))?;
        file.allocate(0, size).map_err(StorageError::io("allocate", &path))?;
        file.sync_all().map_err(StorageError::io("sync", &path))?;
        let region = file.map(self.segment_size as usize).map_err(StorageError::io("map", &path))?;
        // Or else the first touch of a page reads around it, up to the device's readahead: 8 MiB of zeros took a worker 25 ms.
        region.advise_random().map_err(StorageError::io("map", &path))?;
        Ok((file, region))
    }

    /// Syncs a full segment, writes its footer and records it as sealed.
    pub(crate) fn seal(&self, segment: &Segment) -> Result<()> {
        segment.sync()?;
        let path = segment.file().path();
        let (end, counts) = self.write_footer(segment, Lsn(0))?;
        segment.set_counts(counts);
        segment.file().set_len(end).map_err(StorageError::io("truncate", path))?;
        segment.file().sync_all().map_err(StorageError::io("sync", path))?;
        segment.drop_footer();
        let mut manifest = self.manifest.lock();
        for record in manifest.segments.iter_mut().filter(|s| s.generation == segment.generation()) {
            record.state = SegmentState::Sealed { last: segment.last_lsn(), bytes: end };
        }
        self.store_manifest(&mut manifest)?;
        segment.set_sealed();
        Ok(())
    }

    /// Writes the footer of a full segment and returns where it ends, and what it counted. What this process did not write itself is checked before it is
    /// called sealed. `seen`: the highest LSN consulted to drop records.
    pub(crate) fn write_footer(&self, segment: &Segment, seen: Lsn) -> Result<(u64, SealedCounts)> {
        let (file, base) = (segment.file(), segment.base_lsn().expect("a full segment has begun"));
        let bytes = segment.bytes(0).expect("a segment's bytes from its start");
        let mut allocated = file.len().map_err(StorageError::io("measure", file.path()))?;
        let write = |at: u64, piece: &[u8]| {
            let end = at + piece.len() as u64;
            if end > allocated {
                let more = (end - allocated).next_multiple_of((u64::from(self.segment_size) / FOOTER_PART).max(FOOTER_STEP));
                file.allocate(allocated, more).map_err(StorageError::io("allocate", file.path()))?;
                allocated += more;
            }
            file.write_at(at, piece).map_err(StorageError::io("write", file.path()))
        };
        let mut writer = FooterWriter::new(base, self.key_hash_seed, bytes.len() as u64, write);
        let mut before = 0;
        if segment.is_own() {
            each_own_entry(bytes, |offset, entry| {
                let entry = entry.map_err(|error| corrupt(segment, offset, base, &error))?;
                writer.add(offset as u32, &entry)
            })?;
        } else {
            let reader = SegmentReader::new(bytes, segment.seed(), Continuity::Every, base, EpochNumber(0));
            for frame in reader {
                let (offset, frame) = frame.map_err(|bad| bad.in_file(file.path()))?;
                if let Frame::Entry(entry) = frame {
                    writer.add(offset, &entry)?;
                }
                if (offset as usize) < segment.own_from() {
                    before = writer.counts().1;
                }
            }
        }
        let (ops, values) = writer.counts();
        let end = writer.finish(bytes, seen, segment.seed())?;
        Ok((end, SealedCounts { ops, values: values - before }))
    }
}

fn corrupt(segment: &Segment, offset: usize, lsn: Lsn, error: &DecodeError) -> StorageError {
    StorageError::Corrupt { path: segment.file().path().to_owned(), offset: offset as u64, lsn, reason: error.to_string() }
}

/// Walks over frames that this process wrote: hashing each again would cost as much as writing them did.
fn each_own_entry(bytes: &[u8], mut visit: impl FnMut(usize, Result<EntryView<'_>, DecodeError>) -> Result<()>) -> Result<()> {
    let mut at = SEGMENT_HEADER;
    while at < bytes.len() {
        match FrameStart::parse(&bytes[at..]) {
            Ok(start) => {
                if start.kind == FrameKind::Entry {
                    visit(at, EntryView::trusted(&bytes[at..]))?;
                }
                at += start.len as usize;
            }
            Err(error) => return visit(at, Err(error)),
        }
    }
    Ok(())
}
