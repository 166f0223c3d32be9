//! Receiving a snapshot beside the data that is served, and putting it in that data's place.
//!
//! Invariants:
//! - The staged manifest is written last, when everything that it names is on the medium: with it, the copy is whole.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use crate::difference::{Assembled, Assembly, OpSet};
use crate::error::{Result, StorageError};
use crate::fs::{Directory, File};
use crate::manifest::Manifest;
use crate::places::{INCOMING, LIVE, Places, RECORDS, store};
use crate::segment::names::{FileName, MANIFEST};
use crate::shard::Shard;
use crate::types::{Lsn, NodeId, ShardId};

/// Which node's files these are, and which of them were sealed.
const SOURCE: &str = "SOURCE";

/// A snapshot that is arriving.
pub struct Staging {
    root: Arc<dyn Directory>,
    places: Places,
    /// What arrives is what lies above this LSN; 0: all of it.
    prefix: Lsn,
    directory: Arc<dyn Directory>,
    files: HashMap<String, Arriving>,
    /// Large values that are in service here, and not sent.
    values: Vec<String>,
    /// What was lacking so far.
    asked: OpSet,
    syncer: Syncer,
}

struct Arriving {
    file: Arc<dyn File>,
    from: u64,
    bytes: u64,
}

/// Puts files on the medium as they are complete, while others arrive.
struct Syncer {
    complete: mpsc::Sender<Arc<dyn File>>,
    thread: JoinHandle<Result<()>>,
}

impl Syncer {
    fn start() -> Result<Self> {
        let (complete, files) = mpsc::channel::<Arc<dyn File>>();
        let sync = move || files.iter().try_for_each(|file| file.sync_all().map_err(StorageError::io("sync", file.path())));
        let thread = std::thread::Builder::new().name("esker-staging".to_owned()).spawn(sync);
        Ok(Self { complete, thread: thread.map_err(StorageError::io("start a thread to sync", ""))? })
    }

    fn sync(&self, file: &Arc<dyn File>) {
        // What it failed at is told at the end.
        let _ = self.complete.send(Arc::clone(file));
    }

    fn finish(self) -> Result<()> {
        drop(self.complete);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// A file of a snapshot that is to arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether it never changes again where it comes from.
    pub sealed: bool,
    /// Where it begins; what is before is not sent.
    pub from: u64,
}

impl Staging {
    /// Begins to receive these files of `source`, and tells how many bytes of each are there from an earlier attempt. Only files that were
    /// sealed then are taken up: others may have been cut by a loss of power, and grown again, since. `prefix`: the LSN above which they are
    /// what differs; 0: they are a whole shard.
    ///
    /// # Errors
    /// A name is not that of a file of a snapshot; I/O errors.
    pub fn begin(root: &Arc<dyn Directory>, shard: ShardId, source: NodeId, prefix: Lsn, files: &[Expected]) -> Result<(Self, Vec<u64>)> {
        let places = Places::of(shard);
        root.subdirectory(INCOMING).map_err(StorageError::io("create", root.path(INCOMING)))?;
        let path = if prefix == Lsn(0) { &places.target } else { &places.arrived };
        let directory = root.subdirectory(path).map_err(StorageError::io("create", root.path(path)))?;
        let (root, files_there, syncer) = (Arc::clone(root), HashMap::new(), Syncer::start()?);
        let (values, asked) = (Vec::new(), OpSet::default());
        let mut staging = Self { root, places, prefix, directory, files: files_there, values, asked, syncer };
        let origin = Origin { node: source, boot: u128::from_be_bytes(staging.root.boot_id()), prefix };
        let mut sealed_then = staging.sealed(origin);
        if staging.exists(MANIFEST)? {
            // It was whole, and perhaps opened.
            sealed_then.clear();
        }
        staging.clear(&sealed_then)?;
        let sealed_now: Vec<_> = files.iter().filter(|file| file.sealed).map(Sealed::of).collect();
        store(staging.directory.as_ref(), SOURCE, &encode_source(origin, &sealed_now))?;
        let there = files.iter().map(|file| {
            let same = file.sealed && sealed_then.contains(&Sealed::of(file));
            staging.expect(file, same)
        });
        let there = there.collect::<Result<_>>()?;
        Ok((staging, there))
    }

    /// Receives one more file.
    ///
    /// # Errors
    /// As for [`begin`](Self::begin).
    pub fn also(&mut self, file: &Expected) -> Result<()> {
        self.expect(file, false).map(drop)
    }

    /// The sealed files, with their lengths, of the attempt before, if that was of the same origin.
    fn sealed(&self, origin: Origin) -> Vec<Sealed> {
        let read = || {
            let file = self.directory.open_read_only(SOURCE).ok()?;
            let mut bytes = vec![0; file.len().ok()? as usize];
            file.read_at(0, &mut bytes).ok()?;
            decode_source(&String::from_utf8(bytes).ok()?, origin)
        };
        read().unwrap_or_default()
    }

    fn exists(&self, name: &str) -> Result<bool> {
        self.directory.exists(name).map_err(StorageError::io("look for", self.directory.path(name)))
    }

    /// Removes what is not to be taken up.
    fn clear(&self, sealed: &[Sealed]) -> Result<()> {
        let names = self.directory.list().map_err(StorageError::io("list", self.directory.path("")))?;
        for name in names.iter().filter(|name| sealed.iter().all(|file| file.name != **name)) {
            self.directory.remove(name).map_err(StorageError::io("remove", self.directory.path(name)))?;
        }
        Ok(())
    }

    /// Up to where of a file everything is there already.
    fn expect(&mut self, expected: &Expected, same: bool) -> Result<u64> {
        let Expected { name, bytes, from, .. } = expected;
        let path = self.directory.path(name);
        if !self.is_expectable(name) || from > bytes {
            let reason = "not the name of a file of a snapshot".to_owned();
            return Err(StorageError::Corrupt { path, offset: 0, lsn: Lsn(0), reason });
        }
        if self.is_in_service(name, *bytes)? {
            self.values.push(name.clone());
            return Ok(*bytes);
        }
        let there = same && self.exists(name)?;
        let file = if there { self.directory.open(name) } else { self.directory.create(name) };
        let file: Arc<dyn File> = Arc::from(file.map_err(StorageError::io("open", &path))?);
        let have = if there { file.len().map_err(StorageError::io("measure", &path))?.min(*bytes) } else { 0 };
        if have == *bytes {
            self.syncer.sync(&file);
        }
        self.files.insert(name.clone(), Arriving { file, from: *from, bytes: *bytes });
        Ok(have.max(*from))
    }

    fn is_expectable(&self, name: &str) -> bool {
        match FileName::parse(name) {
            Some(FileName::Segment(..) | FileName::Checkpoint(_) | FileName::Value(_)) => true,
            _ => self.prefix > Lsn(0) && [LIVE, RECORDS].contains(&name),
        }
    }

    /// Whether this is a large value of the shard that is to become the primary's.
    fn is_in_service(&self, name: &str, bytes: u64) -> Result<bool> {
        if self.prefix == Lsn(0) || !matches!(FileName::parse(name), Some(FileName::Value(_))) {
            return Ok(false);
        }
        let path = &self.places.current;
        let current = self.root.subdirectory(path).map_err(StorageError::io("open", self.root.path(path)))?;
        match current.open_read_only(name) {
            Ok(file) => Ok(file.len().map_err(StorageError::io("measure", current.path(name)))? == bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StorageError::io("open", current.path(name))(error)),
        }
    }

    /// Writes a piece of a file that is expected; pieces of a file come in order.
    ///
    /// # Errors
    /// No room; I/O errors.
    pub fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let path = self.directory.path(name);
        let unknown = || std::io::Error::new(std::io::ErrorKind::NotFound, "a piece of a file that nobody announced");
        let Arriving { file, bytes: all, .. } = self.files.get(name).ok_or_else(unknown).map_err(StorageError::io("write", &path))?;
        // Not allocated first: what a kill leaves of the file is as long as what was written of it.
        file.write_at(offset, bytes).map_err(StorageError::io("write", &path))?;
        if offset + bytes.len() as u64 == *all {
            self.syncer.sync(file);
        }
        Ok(())
    }

    /// All has arrived: puts it on the medium as a shard of `node`.
    ///
    /// # Errors
    /// The manifest is no such; I/O errors.
    pub fn finish(self, manifest: &[u8], node: NodeId) -> Result<()> {
        let mut manifest = self.decode(manifest)?;
        manifest.identity.node = node;
        self.syncer.finish()?;
        // Of an earlier attempt.
        let names = self.directory.list().map_err(StorageError::io("list", self.directory.path("")))?;
        for name in names.iter().filter(|name| !self.files.contains_key(*name)) {
            self.directory.remove(name).map_err(StorageError::io("remove", self.directory.path(name)))?;
        }
        self.directory.sync().map_err(StorageError::io("sync", self.directory.path("")))?;
        manifest.store(self.directory.as_ref())
    }

    fn decode(&self, manifest: &[u8]) -> Result<Manifest> {
        Manifest::decode(manifest).map_err(|(offset, error)| StorageError::Corrupt {
            path: self.directory.path(MANIFEST),
            offset: offset as u64,
            lsn: Lsn(0),
            reason: error.to_string(),
        })
    }

    /// All that differs has arrived: makes a copy of `old` that goes up to `lsn`, to take its place. If it lacks something, that has to arrive
    /// [too](Self::also).
    ///
    /// # Errors
    /// The manifest is no such; what arrived is not sound; I/O errors.
    pub fn assemble(&mut self, old: &Shard, manifest: &[u8], lsn: Lsn, node: NodeId) -> Result<Assembled> {
        let sent = self.decode(manifest)?;
        std::mem::replace(&mut self.syncer, Syncer::start()?).finish()?;
        let from = |(name, file): (&String, &Arriving)| (file.from > 0).then(|| (name.clone(), file.from));
        let offsets = self.files.iter().filter_map(from).collect();
        let (root, places, prefix) = (&self.root, self.places.clone(), self.prefix);
        let (values, asked) = (self.values.clone(), self.asked.clone());
        let assembled = Assembly { root, old, places, sent, node, prefix, lsn, offsets, values, asked }.run()?;
        if let Assembled::Lacks(ops) = &assembled {
            self.asked = ops.clone();
        }
        Ok(assembled)
    }
}

/// Where files came from, and in which run of this machine: what was written and not synced may be gone after another start of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    node: NodeId,
    boot: u128,
    prefix: Lsn,
}

/// A line for the origin, then one for each file: its length and its name.
/// A file that will never change again, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sealed {
    bytes: u64,
    /// Where what is sent of it begins: what is before was never there.
    from: u64,
    name: String,
}

impl Sealed {
    fn of(file: &Expected) -> Self {
        Self { bytes: file.bytes, from: file.from, name: file.name.clone() }
    }

    fn decode(line: &str) -> Option<Self> {
        let [bytes, from, name] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        Some(Self { bytes: bytes.parse().ok()?, from: from.parse().ok()?, name: name.to_owned() })
    }
}

fn encode_source(origin: Origin, sealed: &[Sealed]) -> Vec<u8> {
    let files: String = sealed.iter().map(|Sealed { bytes, from, name }| format!("{bytes} {from} {name}\n")).collect();
    format!("{} {:032x} {}\n{files}", origin.node.0, origin.boot, origin.prefix).into_bytes()
}

/// None: of another origin, or not whole.
fn decode_source(text: &str, origin: Origin) -> Option<Vec<Sealed>> {
    let mut lines = text.lines();
    let [node, boot, prefix] = lines.next()?.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let boot = u128::from_str_radix(boot, 16).ok()?;
    let found = Origin { node: NodeId(node.parse().ok()?), boot, prefix: Lsn(prefix.parse().ok()?) };
    if found != origin {
        return None;
    }
    lines.map(Sealed::decode).collect()
}
