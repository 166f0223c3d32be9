//! A data directory, read and nothing else.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use esker_storage::codec::DecodeError;
use esker_storage::error::StorageError;
use esker_storage::manifest::{Manifest, SegmentState};
use esker_storage::segment::names::{FileName, MANIFEST};
use esker_storage::segment::{Continuity, Footer, SEGMENT_HEADER, SegmentHeader, SegmentKind};
use esker_storage::types::{Generation, Lsn, SegmentId};

use super::LogError;
use super::scan::Position;

/// How often a listing is made again because a running server replaced the manifest meanwhile.
const ATTEMPTS: u32 = 10;
/// How often the spare is looked for under either of its names.
const LOOKS: u32 = 3;

/// The directory of a shard.
pub(super) struct DataDirectory {
    shard: PathBuf,
}

/// The manifest and the segments that belong to it.
pub(super) struct Listing {
    pub(super) manifest: Manifest,
    /// Everything but value segments, by base LSN.
    pub(super) segments: Vec<SegmentFile>,
    /// Segments that cleaned ones took the place of: not part of the log any more, and soon removed.
    pub(super) retired: Vec<SegmentFile>,
}

/// A segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    pub(super) id: SegmentId,
    pub(super) generation: Generation,
    pub(super) kind: SegmentKind,
    pub(super) base: Lsn,
    pub(super) state: SegmentState,
}

impl SegmentFile {
    /// Whether it may still grow.
    pub(super) fn is_active(&self) -> bool {
        self.state == SegmentState::Active
    }

    /// The file's name.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// A segment in memory.
pub(super) struct Segment {
    pub(super) file: SegmentFile,
    pub(super) header: SegmentHeader,
    pub(super) bytes: Vec<u8>,
    /// The file that the bytes are of, whatever its name is by now.
    pub(super) handle: File,
}

impl DataDirectory {
    /// Opens a data directory, or the directory of its shard.
    pub(super) fn open(dir: &Path) -> Result<Self, LogError> {
        let candidates = [dir.join("shard-0"), dir.to_owned()];
        let shard = candidates.into_iter().find(|shard| shard.join(MANIFEST).is_file());
        shard.map(|shard| Self { shard }).ok_or_else(|| LogError::NotADataDirectory { dir: dir.to_owned() })
    }

    /// The directory of the shard.
    pub(super) fn shard(&self) -> &Path {
        &self.shard
    }

    /// The path of a file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.shard.join(name)
    }

    /// The names of all files.
    pub(super) fn names(&self) -> Result<Vec<String>, LogError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.shard).map_err(LogError::read(&self.shard))? {
            let entry = entry.map_err(LogError::read(&self.shard))?;
            names.extend(entry.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// A whole file.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, LogError> {
        let path = self.path(name);
        fs::read(&path).map_err(LogError::read(&path))
    }

    fn manifest(&self) -> Result<(Vec<u8>, Manifest), LogError> {
        let bytes = self.read(MANIFEST)?;
        let manifest = Manifest::decode(&bytes).map_err(|(offset, error)| match error {
            DecodeError::FutureVersion(found) => StorageError::FutureVersion { path: self.path(MANIFEST), found, known: 1 },
            error => StorageError::Corrupt { path: self.path(MANIFEST), offset: offset as u64, lsn: Lsn(0), reason: error.to_string() },
        })?;
        Ok((bytes, manifest))
    }

    /// The manifest and the segments, as they were at one moment.
    pub(super) fn listing(&self) -> Result<Listing, LogError> {
        let mut attempt = 0;
        loop {
            let (bytes, manifest) = self.manifest()?;
            let names = self.names()?;
            attempt += 1;
            // Unchanged around the look at the names: they belong together.
            if self.read(MANIFEST)? == bytes || attempt == ATTEMPTS {
                let (retired, mut segments): (Vec<_>, Vec<_>) =
                    self.listed(&manifest, &names).into_iter().partition(|file| matches!(file.state, SegmentState::Retired { .. }));
                segments.extend(self.begun(&manifest)?);
                segments.sort_by_key(|s| (s.base, s.generation));
                return Ok(Listing { manifest, segments, retired });
            }
        }
    }

    /// The segments that the manifest lists.
    fn listed(&self, manifest: &Manifest, names: &[String]) -> Vec<SegmentFile> {
        let of = |entry: &esker_storage::manifest::SegmentEntry| {
            let name = FileName::Segment(entry.base, entry.generation).to_string();
            // Recovery accepts the name that a segment had as a spare, so we do.
            let spare = FileName::Spare(entry.generation).to_string();
            let name = if !names.contains(&name) && names.contains(&spare) { spare } else { name };
            SegmentFile {
                path: self.path(&name),
                id: entry.id,
                generation: entry.generation,
                kind: entry.kind,
                base: entry.base,
                state: entry.state,
            }
        };
        manifest.segments.iter().map(of).collect()
    }

    /// The spare, if it became active and the manifest does not say so yet. A running server gives it another name before the manifest
    /// tells of it: until then it can be missed under both, so that one look is not enough.
    fn begun(&self, manifest: &Manifest) -> Result<Option<SegmentFile>, LogError> {
        let Some(spare) = manifest.identity.spare else { return Ok(None) };
        let is_spare = |name: &String| match FileName::parse(name) {
            Some(FileName::Segment(_, generation) | FileName::Spare(generation)) => generation == spare,
            _ => false,
        };
        for _ in 0..LOOKS {
            let Some(name) = self.names()?.into_iter().find(is_spare) else { continue };
            let path = self.path(&name);
            let mut head = [0; SEGMENT_HEADER];
            match File::open(&path).and_then(|mut file| file.read_exact(&mut head)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => {
                    let header = read.ok().and_then(|()| SegmentHeader::decode(&head).ok());
                    return Ok(header.map(|header| SegmentFile {
                        path,
                        id: header.segment_id,
                        generation: spare,
                        kind: header.kind,
                        base: header.base_lsn,
                        state: SegmentState::Active,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// Reads a segment, also if it was renamed or cleaned since it was listed.
    pub(super) fn load(&self, file: &SegmentFile) -> Result<Segment, LogError> {
        match Segment::load(file) {
            Err(error) if error.is_not_found() => {
                let mut listing = self.listing()?;
                listing.segments.sort_by_key(|s| Reverse(s.generation));
                let now = listing.segments.into_iter().find(|s| s.base == file.base && s.kind == file.kind);
                now.map_or(Err(error), |now| Segment::load(&now))
            }
            loaded => loaded,
        }
    }
}

impl Listing {
    /// The segments of the log, in order.
    pub(super) fn log(&self) -> impl Iterator<Item = &SegmentFile> + Clone {
        self.segments.iter().filter(|segment| segment.kind == SegmentKind::Log)
    }
}

fn read_open(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize);
    file.read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

impl Segment {
    /// Reads a segment whose header has to pass.
    pub(super) fn load(file: &SegmentFile) -> Result<Self, LogError> {
        let (handle, bytes) = read_open(&file.path).map_err(LogError::read(&file.path))?;
        let header = SegmentHeader::decode(&bytes).map_err(|error| match error {
            DecodeError::FutureVersion(found) => StorageError::FutureVersion { path: file.path.clone(), found, known: 1 },
            error => {
                StorageError::Corrupt { path: file.path.clone(), offset: 0, lsn: file.base, reason: format!("segment header: {error}") }
            }
        })?;
        Ok(Self { file: file.clone(), header, bytes, handle })
    }

    /// Reads the file again, in which a running server wrote meanwhile.
    pub(super) fn reload(&mut self) -> Result<(), LogError> {
        if !self.file.path.exists() {
            let name = FileName::Segment(self.file.base, self.file.generation).to_string();
            self.file.path.set_file_name(name);
        }
        self.bytes = fs::read(&self.file.path).map_err(LogError::read(&self.file.path))?;
        Ok(())
    }

    /// Before the first frame.
    pub(super) fn start(&self) -> Position {
        let before = Lsn(self.header.base_lsn.0.saturating_sub(1));
        Position { offset: SEGMENT_HEADER, lsn: before, epoch: self.header.epoch }
    }

    /// The last LSN that it stands for: a cleaned segment may not hold it any more.
    pub(super) fn last_lsn(&self, found: Lsn) -> Lsn {
        match self.file.state {
            SegmentState::Sealed { last, .. } if self.header.cleaned => last.max(found),
            _ => found,
        }
    }

    /// The footer that the end of the file points to, if there is one.
    pub(super) fn footer(&self) -> Option<Footer> {
        let offset = Footer::offset_at_end(&self.bytes)?;
        let bytes = self.bytes.get(usize::try_from(offset).ok()?..)?;
        Footer::parse(bytes, offset, self.header.seed()).ok()
    }

    /// What is demanded of its LSNs: cleaned segments have gaps.
    pub(super) fn continuity(&self) -> Continuity {
        match self.header.kind {
            SegmentKind::Log | SegmentKind::Node => self.header.continuity(),
            SegmentKind::Derived | SegmentKind::Backfill | SegmentKind::Value => Continuity::Any,
        }
    }
}
