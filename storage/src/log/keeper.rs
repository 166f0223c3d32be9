//! The keeper: one thread that makes the next spare, registers the segment that became active, and seals full ones.
//!
//! Invariants:
//! - The manifest reserves a spare's generation, durably, before the spare may become active: recovery finds an active segment that no
//!   manifest lists under that generation.
//! - A footer is written only to a segment that is wholly on the medium; the manifest says "sealed" after the footer is.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Log;
use super::segment::Segment;
use super::tail::Spare;
use crate::codec::DecodeError;
use crate::codec::entry::EntryView;
use crate::codec::frame::{FrameKind, FrameStart};
use crate::error::{Result, StorageError};
use crate::manifest::{Manifest, SegmentEntry, SegmentState};
use crate::mapping::AppendMap;
use crate::segment::names::FileName;
use crate::segment::{Continuity, FooterBuilder, Frame, SEGMENT_HEADER, SegmentKind, SegmentReader};
use crate::types::{EpochNumber, Generation, Lsn};

/// How long the keeper waits before it tries again to get space.
const RETRY: Duration = Duration::from_millis(500);

/// Wakes the keeper.
#[derive(Default)]
pub(crate) struct KeeperSignal {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    work: bool,
    stop: bool,
}

impl KeeperSignal {
    pub(crate) fn wake(&self) {
        self.state.lock().work = true;
        self.wake.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.wake.notify_one();
    }

    /// Waits for work; true to stop.
    fn wait(&self, patience: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        if !state.work && !state.stop {
            match patience {
                Some(patience) => drop(self.wake.wait_for(&mut state, patience)),
                None => self.wake.wait(&mut state),
            }
        }
        state.work = false;
        state.stop
    }
}

pub(crate) fn spawn(log: &Arc<Log>) -> Result<JoinHandle<()>> {
    let log = Arc::clone(log);
    let name = "esker-keeper".to_owned();
    std::thread::Builder::new().name(name).spawn(move || run(&log)).map_err(StorageError::io("start a thread for", "the keeper"))
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
        if self.tail.lock().spare.is_none() {
            self.provide_spare()?;
        }
        loop {
            let Some(full) = self.tail.lock().full.first().cloned() else { return Ok(()) };
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
    fn register_begun(&self, manifest: &mut Manifest) -> Result<bool> {
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

    /// Makes a spare and hands it to the tail; without space the tail is told so.
    pub(crate) fn provide_spare(&self) -> Result<()> {
        let made = self.make_spare();
        let mut tail = self.tail.lock();
        tail.spare_failed = made.is_err();
        let outcome = made.map(|spare| tail.spare = Some(spare));
        drop(tail);
        self.spare_ready.notify_all();
        outcome
    }

    pub(crate) fn make_spare(&self) -> Result<Spare> {
        let mut manifest = self.manifest.lock();
        // A spare that became active since is listed before its reservation is given to another: until there is a spare again, no
        // more can follow it.
        self.register_begun(&mut manifest)?;
        let (generation, id) = (manifest.identity.next_generation, manifest.identity.next_segment);
        let name = FileName::Spare(generation).to_string();
        let made = self.make_spare_file(&name);
        let (file, region) = made.inspect_err(|_| drop(self.directory.remove(&name)))?;
        manifest.identity.next_generation = Generation(generation.0 + 1);
        manifest.identity.next_segment.0 += 1;
        manifest.identity.spare = Some(generation);
        self.store_manifest(&mut manifest)?;
        let (map, appender) = AppendMap::new(region, 0, self.segment_size as usize);
        let segment = Arc::new(Segment::new(id, generation, self.seed, file, map));
        self.publish(Arc::clone(&segment));
        Ok(Spare { segment, appender })
    }

    fn make_spare_file(&self, name: &str) -> Result<(Box<dyn crate::fs::File>, Arc<crate::mapping::Region>)> {
        let path = self.directory.path(name);
        let size = u64::from(self.segment_size);
        let file = self.directory.create(name).map_err(StorageError::io("create", &path))?;
        file.allocate(0, size).map_err(StorageError::io("allocate", &path))?;
        file.sync_all().map_err(StorageError::io("sync", &path))?;
        let region = file.map(self.segment_size as usize).map_err(StorageError::io("map", &path))?;
        Ok((file, region))
    }

    /// Syncs a full segment, writes its footer and records it as sealed.
    pub(crate) fn seal(&self, segment: &Segment) -> Result<()> {
        segment.sync()?;
        let written = segment.map().written();
        let bytes = segment.bytes(0).expect("a segment's bytes from its start");
        let frame = self.footer_of(segment, bytes)?;
        let path = segment.file().path();
        let end = (written + frame.len()) as u64;
        if end > u64::from(self.segment_size) {
            let from = u64::from(self.segment_size);
            segment.file().allocate(from, end - from).map_err(StorageError::io("allocate", path))?;
        }
        segment.file().write_at(written as u64, &frame).map_err(StorageError::io("write", path))?;
        segment.file().set_len(end).map_err(StorageError::io("truncate", path))?;
        segment.file().sync_all().map_err(StorageError::io("sync", path))?;
        let mut manifest = self.manifest.lock();
        for record in manifest.segments.iter_mut().filter(|s| s.generation == segment.generation()) {
            record.state = SegmentState::Sealed { last: segment.last_lsn(), bytes: end };
        }
        self.store_manifest(&mut manifest)?;
        segment.set_sealed();
        Ok(())
    }

    /// The footer of a full segment. What this process did not write itself is checked before it is called sealed.
    fn footer_of(&self, segment: &Segment, bytes: &[u8]) -> Result<Vec<u8>> {
        let base = segment.base_lsn().expect("a full segment has begun");
        let mut builder = FooterBuilder::new(base, self.key_hash_seed);
        if segment.is_own() {
            add_own_entries(&mut builder, bytes).map_err(|(offset, error)| StorageError::Corrupt {
                path: segment.file().path().to_owned(),
                offset: offset as u64,
                lsn: base,
                reason: error.to_string(),
            })?;
        } else {
            let reader = SegmentReader::new(bytes, segment.seed(), Continuity::Every, base, EpochNumber(0));
            for frame in reader {
                let (offset, frame) = frame.map_err(|bad| bad.in_file(segment.file().path()))?;
                if let Frame::Entry(entry) = frame {
                    builder.add(offset, &entry);
                }
            }
        }
        Ok(builder.finish(bytes, Lsn(0)).encode(segment.seed(), bytes.len() as u64))
    }
}

/// Walks over frames that this process wrote: hashing each again would cost as much as writing them did.
fn add_own_entries(builder: &mut FooterBuilder, bytes: &[u8]) -> Result<(), (usize, DecodeError)> {
    let mut at = SEGMENT_HEADER;
    while at < bytes.len() {
        let start = FrameStart::parse(&bytes[at..]).map_err(|error| (at, error))?;
        if start.kind == FrameKind::Entry {
            let entry = EntryView::trusted(&bytes[at..]).map_err(|error| (at, error))?;
            builder.add(at as u32, &entry);
        }
        at += start.len as usize;
    }
    Ok(())
}
