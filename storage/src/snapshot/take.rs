//! Taking a snapshot.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::difference::OpSet;
use crate::error::{Result, StorageError};
use crate::fs::{Directory, File};
use crate::log::{Log, Segment};
use crate::manifest::{SegmentEntry, SegmentState};
use crate::places::{LIVE, RECORDS};
use crate::segment::names::FileName;
use crate::shard::Shard;
use crate::types::Lsn;

/// How often a difference is tried while cleaning goes on.
const ATTEMPTS: usize = 3;

/// All of a shard as of one LSN.
pub struct Snapshot {
    /// The LSN of the last entry in it.
    pub lsn: Lsn,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The files that it names.
    pub files: Vec<SnapshotFile>,
}

/// A file of a snapshot.
pub struct SnapshotFile {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Where it begins; what is before is not sent.
    pub from: u64,
    source: Source,
}

enum Source {
    Segment(Arc<Segment>),
    Open(Box<dyn File>),
    Bytes(Vec<u8>),
    /// Opened when it is read: there may be many.
    Value(Arc<dyn Directory>, Mutex<Option<Box<dyn File>>>),
}

impl SnapshotFile {
    /// A file of a directory, held open.
    pub(crate) fn open(directory: &Arc<dyn Directory>, name: String) -> Result<Self> {
        let path = directory.path(&name);
        let file = directory.open_read_only(&name).map_err(StorageError::io("open", &path))?;
        let bytes = file.len().map_err(StorageError::io("measure", &path))?;
        Ok(Self { name, bytes, from: 0, source: Source::Open(file) })
    }

    /// Whether it will never change again.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        match &self.source {
            Source::Segment(segment) => segment.is_sealed(),
            Source::Open(_) | Source::Value(..) => true,
            Source::Bytes(_) => false,
        }
    }

    /// The bytes from `offset` on as they lie in memory, so many at most; none: they have to be read.
    #[must_use]
    pub fn in_memory(&self, offset: u64, most: usize) -> Option<&[u8]> {
        let Source::Segment(segment) = &self.source else { return None };
        let bytes = segment.hot_bytes(u32::try_from(offset).ok()?)?;
        let left = usize::try_from(self.bytes.checked_sub(offset)?).ok()?;
        Some(&bytes[..bytes.len().min(most).min(left)]).filter(|bytes| !bytes.is_empty())
    }

    /// Fills `buf` from `offset`. May wait for the medium.
    ///
    /// # Errors
    /// I/O errors; a large value that has been removed since, because nothing names it any more, is not found.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        match &self.source {
            Source::Segment(segment) => read(segment.file(), offset, buf),
            Source::Open(file) => read(file.as_ref(), offset, buf),
            Source::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let found = start.checked_add(buf.len()).and_then(|end| bytes.get(start..end));
                let short = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                buf.copy_from_slice(found.ok_or_else(short).map_err(StorageError::io("read", &self.name))?);
                Ok(())
            }
            Source::Value(directory, opened) => {
                let mut opened = opened.lock();
                let file = match &mut *opened {
                    Some(file) => file,
                    none => {
                        none.insert(directory.open_read_only(&self.name).map_err(StorageError::io("open", directory.path(&self.name)))?)
                    }
                };
                let end = offset + buf.len() as u64;
                let outcome = read(file.as_ref(), offset, buf);
                if end >= self.bytes {
                    // Read to its end: the next one is opened.
                    *opened = None;
                }
                outcome
            }
        }
    }
}

fn read(file: &dyn File, offset: u64, buf: &mut [u8]) -> Result<()> {
    file.read_at(offset, buf).map_err(StorageError::io("read", file.path()))
}

impl Shard {
    /// Takes a snapshot. Writers wait for no longer than it takes to note where the log ends.
    ///
    /// # Errors
    /// I/O errors.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.take_snapshot(|_| true)
    }

    /// Takes a snapshot of what is above `prefix`, and of which ops up to there live: see [`difference`](crate::difference). `goes_on` is asked
    /// now and then, and none is taken if it denies.
    ///
    /// # Errors
    /// [`StorageError::NotInLog`]: cleaning did not rest meanwhile. I/O errors, corruption.
    pub fn snapshot_above(&self, prefix: Lsn, goes_on: &mut dyn FnMut() -> bool) -> Result<Option<Snapshot>> {
        for _ in 0..ATTEMPTS {
            let before = self.log().manifest.lock().cleaned;
            let Some(live) = self.live_ops(prefix, goes_on)? else { return Ok(None) };
            let snapshot = self.take_above(prefix, &live)?;
            // What died since the walk passed it died of something that was sent, unless that was cleaned away.
            if self.log().manifest.lock().cleaned == before {
                return Ok(Some(snapshot));
            }
        }
        Err(StorageError::NotInLog { lsn: prefix })
    }

    fn take_above(&self, prefix: Lsn, live: &OpSet) -> Result<Snapshot> {
        let mut snapshot = self.take_snapshot(|entry| match entry.state {
            SegmentState::Sealed { last, .. } => last > prefix,
            SegmentState::Active => true,
            SegmentState::Retired { .. } => false,
        })?;
        let is_checkpoint = |file: &SnapshotFile| matches!(FileName::parse(&file.name), Some(FileName::Checkpoint(_)));
        snapshot.files.retain(|file| !is_checkpoint(file));
        for file in &mut snapshot.files {
            if let Source::Segment(segment) = &file.source
                && segment.base_lsn() <= Some(prefix)
            {
                file.from = segment.nearest(prefix).map_or(0, |near| u64::from(near).min(file.bytes));
            }
        }
        let bytes = live.encode();
        snapshot.files.push(SnapshotFile { name: LIVE.to_owned(), bytes: bytes.len() as u64, from: 0, source: Source::Bytes(bytes) });
        Ok(snapshot)
    }

    /// A file of the records of these ops, for a node that lacks them.
    ///
    /// # Errors
    /// No room; I/O errors, corruption.
    pub fn snapshot_records(&self, ops: &OpSet) -> Result<SnapshotFile> {
        let directory = &self.log().directory;
        let name = format!("{RECORDS}-{:016x}", rand::random::<u64>());
        let path = directory.path(&name);
        let file = directory.create(&name).map_err(StorageError::io("create", &path))?;
        // It goes when it is closed.
        directory.remove(&name).map_err(StorageError::io("remove", &path))?;
        let mut end = 0;
        self.records(ops, &mut |entry| {
            file.allocate(end, entry.len() as u64).map_err(StorageError::io("allocate", &path))?;
            file.write_at(end, entry).map_err(StorageError::io("write", &path))?;
            end += entry.len() as u64;
            Ok(())
        })?;
        Ok(SnapshotFile { name: RECORDS.to_owned(), bytes: end, from: 0, source: Source::Open(file) })
    }

    fn take_snapshot(&self, includes: impl Fn(&SegmentEntry) -> bool) -> Result<Snapshot> {
        let log = self.log();
        let mut manifest = log.manifest.lock();
        if log.register_begun(&mut manifest)? {
            log.store_manifest(&mut manifest)?;
        }
        let (lsn, open) = log.open_segments();
        let mut shown = manifest.clone();
        // A segment that has begun since is behind the LSN.
        shown.identity.spare = None;
        shown.clean_stop = None;
        shown.segments.retain(|entry| entry.base <= lsn.next() && includes(entry));
        shown.epochs.retain(|epoch| epoch.first <= lsn);
        let mut files = Vec::new();
        for entry in &shown.segments {
            files.push(segment(log, entry, &open)?);
        }
        if let Some(checkpoint) = shown.checkpoint {
            files.push(SnapshotFile::open(&log.directory, FileName::Checkpoint(checkpoint.lsn).to_string())?);
        }
        files.extend(values(log)?);
        drop(manifest);
        Ok(Snapshot { lsn, manifest: shown.encode(), files })
    }
}

impl Log {
    /// The last LSN, and the segments that are not sealed, each with its written end then.
    fn open_segments(&self) -> (Lsn, Vec<(Arc<Segment>, u64)>) {
        let tail = self.tail.lock();
        let open = tail.full.iter().chain([&tail.segment]).map(|segment| (Arc::clone(segment), segment.map().written() as u64)).collect();
        (Lsn(tail.next.0 - 1), open)
    }
}

fn segment(log: &Log, entry: &SegmentEntry, open: &[(Arc<Segment>, u64)]) -> Result<SnapshotFile> {
    let name = FileName::Segment(entry.base, entry.generation).to_string();
    let known = log.segments().get(entry.id).filter(|segment| segment.generation() == entry.generation).cloned();
    let bytes = match entry.state {
        SegmentState::Sealed { bytes, .. } | SegmentState::Retired { bytes, .. } => bytes,
        SegmentState::Active => match open.iter().find(|(segment, _)| segment.generation() == entry.generation) {
            Some((_, written)) => *written,
            // Being sealed: its frames are there, the footer may be.
            None => known.as_ref().map_or(0, |segment| segment.map().written() as u64),
        },
    };
    match known {
        Some(segment) => Ok(SnapshotFile { name, bytes, from: 0, source: Source::Segment(segment) }),
        // Cleaning has named it in the manifest, and not opened it to readers yet.
        None => Ok(SnapshotFile { bytes, ..SnapshotFile::open(&log.directory, name)? }),
    }
}

/// The large values that there are. What is removed before it is sent is named by nothing any more.
fn values(log: &Log) -> Result<Vec<SnapshotFile>> {
    let names = log.directory.list().map_err(StorageError::io("list", log.directory.path("")))?;
    let mut files = Vec::new();
    for name in names.into_iter().filter(|name| matches!(FileName::parse(name), Some(FileName::Value(_)))) {
        let Ok(file) = log.directory.open_read_only(&name) else { continue };
        let bytes = file.len().map_err(StorageError::io("measure", log.directory.path(&name)))?;
        files.push(SnapshotFile { name, bytes, from: 0, source: Source::Value(Arc::clone(&log.directory), Mutex::new(None)) });
    }
    Ok(files)
}
