//! Receiving a snapshot beside the data that is served, and putting it in that data's place.
//!
//! Invariants:
//! - The staged manifest is written last, when everything that it names is on the medium: with it, the copy is whole.
//! - At every moment one of the two copies has the shard's name, or the other one gets it back at the next start.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use crate::error::{Result, StorageError};
use crate::fs::{Directory, File};
use crate::manifest::Manifest;
use crate::options::{Options, Role};
use crate::segment::names::{FileName, MANIFEST};
use crate::shard::Shard;
use crate::types::{Lsn, NodeId, ShardId};

/// Where a snapshot arrives.
const INCOMING: &str = "incoming";
/// Which node's files these are, and which of them were sealed.
const SOURCE: &str = "SOURCE";

fn shard_name(shard: ShardId) -> String {
    format!("shard-{shard}")
}

fn outgoing_name(shard: ShardId) -> String {
    format!("outgoing-{shard}")
}

/// A snapshot that is arriving.
pub struct Staging {
    directory: Arc<dyn Directory>,
    files: HashMap<String, Arriving>,
    syncer: Syncer,
}

struct Arriving {
    file: Arc<dyn File>,
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
}

impl Staging {
    /// Begins to receive these files of `source`, and tells how many bytes of each are there from an earlier attempt. Only files that were
    /// sealed then are taken up: others may have been cut by a loss of power, and grown again, since.
    ///
    /// # Errors
    /// A name is not that of a file of a snapshot; I/O errors.
    pub fn begin(root: &Arc<dyn Directory>, shard: ShardId, source: NodeId, files: &[Expected]) -> Result<(Self, Vec<u64>)> {
        let name = format!("{INCOMING}/{}", shard_name(shard));
        let incoming = root.subdirectory(INCOMING).map_err(StorageError::io("create", root.path(INCOMING)))?;
        let directory = incoming.subdirectory(&shard_name(shard)).map_err(StorageError::io("create", root.path(&name)))?;
        let mut staging = Self { directory, files: HashMap::new(), syncer: Syncer::start()? };
        let origin = Origin { node: source, boot: u128::from_be_bytes(root.boot_id()) };
        let mut sealed_then = staging.sealed(origin);
        if staging.exists(MANIFEST)? {
            // It was whole, and perhaps opened.
            sealed_then.clear();
        }
        if sealed_then.is_empty() {
            staging.clear()?;
        }
        let sealed_now: Vec<_> = files.iter().filter(|file| file.sealed).map(|file| (file.name.clone(), file.bytes)).collect();
        staging.store(SOURCE, &encode_source(origin, &sealed_now))?;
        let there = files.iter().map(|file| {
            let same = file.sealed && sealed_then.contains(&(file.name.clone(), file.bytes));
            staging.expect(file, same)
        });
        let there = there.collect::<Result<_>>()?;
        Ok((staging, there))
    }

    /// The sealed files, with their lengths, of the attempt before, if that was of the same origin.
    fn sealed(&self, origin: Origin) -> Vec<(String, u64)> {
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

    fn clear(&self) -> Result<()> {
        for name in self.directory.list().map_err(StorageError::io("list", self.directory.path("")))? {
            self.directory.remove(&name).map_err(StorageError::io("remove", self.directory.path(&name)))?;
        }
        Ok(())
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.directory.path(name);
        let file = self.directory.create(name).map_err(StorageError::io("create", &path))?;
        file.allocate(0, bytes.len() as u64).map_err(StorageError::io("allocate", &path))?;
        file.write_at(0, bytes).map_err(StorageError::io("write", &path))?;
        file.sync_all().map_err(StorageError::io("sync", &path))
    }

    /// What of a file is there already, in bytes from its start.
    fn expect(&mut self, expected: &Expected, same: bool) -> Result<u64> {
        let Expected { name, bytes, .. } = expected;
        let path = self.directory.path(name);
        if !matches!(FileName::parse(name), Some(FileName::Segment(..) | FileName::Checkpoint(_) | FileName::Value(_))) {
            let reason = "not the name of a file of a snapshot".to_owned();
            return Err(StorageError::Corrupt { path, offset: 0, lsn: Lsn(0), reason });
        }
        let there = same && self.exists(name)?;
        let file = if there { self.directory.open(name) } else { self.directory.create(name) };
        let file: Arc<dyn File> = Arc::from(file.map_err(StorageError::io("open", &path))?);
        let have = if there { file.len().map_err(StorageError::io("measure", &path))?.min(*bytes) } else { 0 };
        if have == *bytes {
            self.syncer.sync(&file);
        }
        self.files.insert(name.clone(), Arriving { file, bytes: *bytes });
        Ok(have)
    }

    /// Writes a piece of a file that is expected; pieces of a file come in order.
    ///
    /// # Errors
    /// No room; I/O errors.
    pub fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let path = self.directory.path(name);
        let unknown = || std::io::Error::new(std::io::ErrorKind::NotFound, "a piece of a file that nobody announced");
        let Arriving { file, bytes: all } = self.files.get(name).ok_or_else(unknown).map_err(StorageError::io("write", &path))?;
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
        let path = self.directory.path(MANIFEST);
        let corrupt = |(offset, error): (usize, crate::codec::DecodeError)| StorageError::Corrupt {
            path: path.clone(),
            offset: offset as u64,
            lsn: Lsn(0),
            reason: error.to_string(),
        };
        let mut manifest = Manifest::decode(manifest).map_err(corrupt)?;
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
}

/// Where files came from, and in which run of this machine: what was written and not synced may be gone after another start of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    node: NodeId,
    boot: u128,
}

/// A line for the origin, then one for each file: its length and its name.
fn encode_source(origin: Origin, sealed: &[(String, u64)]) -> Vec<u8> {
    let files: String = sealed.iter().map(|(name, bytes)| format!("{bytes} {name}\n")).collect();
    format!("{} {:032x}\n{files}", origin.node.0, origin.boot).into_bytes()
}

fn decode_source(text: &str, origin: Origin) -> Option<Vec<(String, u64)>> {
    let mut lines = text.lines();
    let (node, boot) = lines.next()?.split_once(' ')?;
    let found = Origin { node: NodeId(node.parse().ok()?), boot: u128::from_str_radix(boot, 16).ok()? };
    if found != origin {
        return None;
    }
    lines.map(|line| line.split_once(' ').and_then(|(bytes, name)| Some((name.to_owned(), bytes.parse().ok()?)))).collect()
}

/// What becomes of the data that makes way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// The snapshot has all of it.
    Remove,
    /// It stays, under another name.
    Keep,
}

/// The shard that has taken another's place.
pub struct Exchanged {
    /// It, a replica.
    pub shard: Shard,
    /// Where the data is that made way, if it was kept.
    pub kept: Option<std::path::PathBuf>,
}

/// Puts the snapshot that has arrived in the place of `old`, which answers reads from memory meanwhile and takes no more writes. The index of
/// the new one is made before.
///
/// # Errors
/// The snapshot cannot be opened: `old` goes on. I/O errors while the directories change names: the next start has one of the two.
pub fn exchange(root: &Arc<dyn Directory>, old: &Shard, aside: Aside, options: Options) -> Result<Exchanged> {
    let shard = options.shard;
    let options = Options { role: Role::Replica, ..options };
    let (current, outgoing) = (shard_name(shard), outgoing_name(shard));
    let incoming = root.subdirectory(INCOMING).map_err(StorageError::io("open", root.path(INCOMING)))?;
    Shard::open(&incoming, options.clone())?.close()?;
    old.close()?;
    let lock = old.give_up_lock();
    let rename = |from: &str, to: &str| root.rename_subdirectory(from, to).map_err(StorageError::io("rename", root.path(from)));
    remove(root, &outgoing)?;
    rename(&current, &outgoing)?;
    rename(&format!("{INCOMING}/{current}"), &current)?;
    remove(root, INCOMING)?;
    let kept = match aside {
        Aside::Remove => {
            remove(root, &outgoing)?;
            None
        }
        Aside::Keep => {
            let name = format!("set-aside-{}-{}", old.log().lineage().history, old.written_lsn());
            rename(&outgoing, &name)?;
            Some(root.path(&name))
        }
    };
    Ok(Exchanged { shard: Shard::open_locked(root, options, lock)?, kept })
}

fn remove(root: &Arc<dyn Directory>, name: &str) -> Result<()> {
    root.remove_subdirectory(name).map_err(StorageError::io("remove", root.path(name)))
}

/// Gives the shard its name back after a kill in the middle of an exchange.
pub(crate) fn finish_exchange(root: &dyn Directory, shard: ShardId) -> Result<()> {
    let (current, outgoing) = (shard_name(shard), outgoing_name(shard));
    let there = |name: &str| root.has_subdirectory(name).map_err(StorageError::io("look for", root.path(name)));
    if !there(&current)? && there(&outgoing)? {
        root.rename_subdirectory(&outgoing, &current).map_err(StorageError::io("rename", root.path(&outgoing)))?;
    }
    Ok(())
}
