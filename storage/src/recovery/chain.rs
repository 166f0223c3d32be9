//! The segments of a log as they lie on disk, in order, opened and mapped.

use std::sync::Arc;

use crate::codec::checksum::ShardSeed;
use crate::error::{Result, StorageError};
use crate::fs::Directory;
use crate::index::ReplayPosition;
use crate::log::{Segment, SegmentTable};
use crate::manifest::{Manifest, SegmentEntry, SegmentState};
use crate::mapping::AppendMap;
use crate::segment::names::FileName;
use crate::segment::{Continuity, SEGMENT_HEADER, SegmentHeader};
use crate::types::{Generation, Lsn, SegmentId};

use super::scan::Position;

/// A segment file that was found.
pub(super) struct Link {
    pub(super) segment: Arc<Segment>,
    pub(super) header: SegmentHeader,
    pub(super) sealed: bool,
    /// What the LSNs in it must be like.
    pub(super) continuity: Continuity,
    /// All bytes of the file: the written end of an active one is not yet known.
    pub(super) bytes: u64,
}

/// All segments in LSN order.
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
    /// Segments whose live records lie in cleaned ones; the index may still point into them.
    retired: Vec<Link>,
    /// Up to here LSNs may be missing between segments: cleaning dropped them.
    pub(super) cleaned: Lsn,
    pub(super) table: SegmentTable,
    pub(super) directory: Arc<dyn Directory>,
}

impl Chain {
    pub(super) fn open(directory: &Arc<dyn Directory>, manifest: &Manifest) -> Result<Self> {
        let mut chain = Self {
            links: Vec::new(),
            retired: Vec::new(),
            cleaned: manifest.cleaned.reached,
            table: SegmentTable::default(),
            directory: Arc::clone(directory),
        };
        let mut entries = manifest.segments.clone();
        entries.sort_by_key(|entry| entry.base);
        for entry in &entries {
            chain.add(entry, manifest)?;
        }
        if let Some(spare) = manifest.identity.spare {
            chain.adopt(spare, manifest)?;
        }
        for link in chain.links.iter().chain(&chain.retired) {
            chain.table = chain.table.with(Arc::clone(&link.segment));
        }
        Ok(chain)
    }

    fn add(&mut self, entry: &SegmentEntry, manifest: &Manifest) -> Result<()> {
        let name = FileName::Segment(entry.base, entry.generation).to_string();
        // A power loss may have kept the manifest's line and not yet the rename.
        let spare = FileName::Spare(entry.generation).to_string();
        let exists = self.directory.exists(&name).map_err(StorageError::io("look for", self.directory.path(&name)))?;
        if !exists && self.directory.exists(&spare).unwrap_or(false) {
            self.directory.rename(&spare, &name).map_err(StorageError::io("rename", self.directory.path(&spare)))?;
        }
        let sealed = entry.state != SegmentState::Active;
        let header = self.read_header(&name)?;
        if (header.base_lsn, header.generation, header.segment_id) != (entry.base, entry.generation, entry.id) {
            return Err(self.corrupt(&name, entry.base, "its header is not what the manifest says"));
        }
        let link = self.map(&name, header, sealed, manifest)?;
        if let SegmentState::Sealed { last, bytes } | SegmentState::Retired { last, bytes } = entry.state {
            if link.bytes < bytes {
                return Err(self.corrupt(&name, entry.base, "it is shorter than the manifest says"));
            }
            link.segment.set_last_lsn(last);
            // Its header tells where it began.
            link.segment.set_stamp(entry.stamp);
        }
        if let SegmentState::Retired { .. } = entry.state {
            link.segment.retire();
            self.retired.push(link);
            return Ok(());
        }
        self.links.push(link);
        Ok(())
    }

    /// A spare whose header was written is the newest segment.
    fn adopt(&mut self, generation: Generation, manifest: &Manifest) -> Result<()> {
        let names = self.directory.list().map_err(StorageError::io("list", self.directory.path("")))?;
        let of_generation = |name: &&String| match FileName::parse(name) {
            Some(FileName::Spare(g)) => g == generation,
            Some(FileName::Segment(_, g)) => g == generation,
            _ => false,
        };
        let Some(name) = names.iter().find(of_generation) else { return Ok(()) };
        let Ok(header) = self.read_header(name) else {
            // It never became active: its header is its first append.
            return Ok(());
        };
        let name = FileName::Segment(header.base_lsn, generation).to_string();
        let spare = FileName::Spare(generation).to_string();
        if self.directory.exists(&spare).unwrap_or(false) {
            self.directory.rename(&spare, &name).map_err(StorageError::io("rename", self.directory.path(&spare)))?;
        }
        let link = self.map(&name, header, false, manifest)?;
        self.links.push(link);
        Ok(())
    }

    fn read_header(&self, name: &str) -> Result<SegmentHeader> {
        let path = self.directory.path(name);
        let file = self.directory.open(name).map_err(StorageError::io("open", &path))?;
        let mut bytes = [0; SEGMENT_HEADER];
        file.read_at(0, &mut bytes).map_err(StorageError::io("read the header of", &path))?;
        SegmentHeader::decode(&bytes).map_err(|error| match error {
            crate::codec::DecodeError::FutureVersion(found) => {
                StorageError::FutureVersion { path: path.clone(), found, known: crate::segment::header::FORMAT_VERSION }
            }
            error => self.corrupt(name, Lsn(0), &error.to_string()),
        })
    }

    fn map(&self, name: &str, header: SegmentHeader, sealed: bool, manifest: &Manifest) -> Result<Link> {
        let path = self.directory.path(name);
        let file = self.directory.open(name).map_err(StorageError::io("open", &path))?;
        let bytes = file.len().map_err(StorageError::io("measure", &path))?;
        // An active file that was cut at its written end gets its room back before anything is appended.
        let capacity = if sealed { bytes } else { bytes.max(header.size) };
        let region = file.map(capacity as usize).map_err(StorageError::io("map", &path))?;
        let (map, _) = AppendMap::new(region, bytes as usize, capacity as usize);
        let seed = ShardSeed::new(header.history, manifest.identity.shard);
        let mut segment = Segment::new(header.segment_id, header.generation, seed, file, map);
        segment.set_origin(header.stamp, header.cleaned, header.created);
        segment.set_base_lsn(header.base_lsn);
        segment.set_last_lsn(Lsn(header.base_lsn.0 - 1));
        if sealed {
            segment.set_sealed();
        }
        Ok(Link { segment: Arc::new(segment), header, sealed, continuity: header.continuity(), bytes })
    }

    pub(super) fn corrupt(&self, name: &str, lsn: Lsn, reason: &str) -> StorageError {
        StorageError::Corrupt { path: self.directory.path(name), offset: 0, lsn, reason: reason.to_owned() }
    }

    /// The segments that may hold records of these LSNs, both ends included: retired ones too, as the index may still point there.
    pub(super) fn within(&self, (first, last): (Lsn, Lsn)) -> impl Iterator<Item = &Arc<Segment>> {
        let segments = self.links.iter().chain(&self.retired).map(|link| &link.segment);
        segments.filter(move |segment| segment.base_lsn().is_some_and(|base| base <= last) && segment.last_lsn() >= first)
    }

    fn index_of(&self, id: SegmentId) -> Option<usize> {
        self.links.iter().position(|link| link.segment.id() == id)
    }

    /// Where the index says that replay begins; none if that cannot be.
    pub(super) fn position(&self, position: ReplayPosition) -> Option<Position> {
        if position == ReplayPosition::default() {
            return Some(self.before(Lsn(1)));
        }
        let link = self.index_of(position.segment)?;
        (u64::from(position.offset) <= self.links[link].bytes).then_some(Position {
            link,
            offset: position.offset as usize,
            lsn: position.lsn,
        })
    }

    /// A position before the entry of this LSN, at the start of its segment.
    pub(super) fn before(&self, lsn: Lsn) -> Position {
        let link = self.links.iter().rposition(|link| link.header.base_lsn <= lsn).unwrap_or(0);
        let base = self.links.get(link).map_or(Lsn(1), |link| link.header.base_lsn);
        Position { link, offset: SEGMENT_HEADER, lsn: Lsn(base.0 - 1) }
    }
}
