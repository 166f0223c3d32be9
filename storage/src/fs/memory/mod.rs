//! A filesystem in memory, for tests.
//!
//! Invariants:
//! - A file has one page cache, a [`Region`](crate::mapping::Region), which all its handles and maps share.
//! - With `tracked` set the disk also keeps what is durable: file images as of the last sync, names as of the directory's.

mod directory;
mod disk;
mod node;

pub(super) use directory::DirectoryNode;
pub(super) use disk::{Disk, Moments};
pub(super) use node::Node;
#[cfg(test)]
pub(super) use node::SECTOR;

use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Directory, File, FileIdentity, LockGuard, LockHeld};
use crate::mapping::Region;

/// A directory in memory. Clones are the same directory.
#[derive(Debug, Clone)]
pub struct MemoryDirectory {
    node: Arc<DirectoryNode>,
}

impl Default for MemoryDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDirectory {
    /// An empty filesystem.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Arc::new(DirectoryNode::new(PathBuf::from("/memory"), Disk::new(false))))
    }

    pub(super) fn over(node: Arc<DirectoryNode>) -> Self {
        Self { node }
    }

    pub(super) fn node(&self) -> &Arc<DirectoryNode> {
        &self.node
    }

    fn handle(&self, name: &str, node: Arc<Node>, read_only: bool) -> Box<dyn File> {
        Box::new(MemoryFile { node, path: self.path(name), read_only })
    }
}

impl Directory for MemoryDirectory {
    fn boot_id(&self) -> [u8; 16] {
        self.node.disk().boot()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let _change = self.node.disk().change();
        Ok(self.handle(name, self.node.create(name)?, false))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.handle(name, self.node.file(name)?, false))
    }

    fn open_read_only(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.handle(name, self.node.file(name)?, true))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.node.file(name).is_ok())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let _step = self.node.disk().step();
        self.node.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let _step = self.node.disk().step();
        self.node.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.node.list())
    }

    fn sync(&self) -> io::Result<()> {
        let _step = self.node.disk().step();
        self.node.sync()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.node.path().join(name)
    }

    fn identity(&self, name: &str) -> io::Result<Option<FileIdentity>> {
        Ok(Some(self.node.file(name)?.identity()))
    }

    fn lock(&self, name: &str) -> io::Result<LockGuard> {
        let names = self.node.locks();
        if !names.lock().insert(name.to_owned()) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, LockHeld { pid: Some(std::process::id()) }));
        }
        let guard: Box<dyn Any + Send + Sync> = Box::new(MemoryLock { names: Arc::clone(names), name: name.to_owned() });
        if self.node.file(name).is_err() {
            self.node.create(name)?;
        }
        Ok(guard)
    }

    fn subdirectory(&self, name: &str) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(Self::over(self.node.subdirectory(name)?)))
    }

    fn has_subdirectory(&self, name: &str) -> io::Result<bool> {
        Ok(self.node.has_subdirectory(name))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let _step = self.node.disk().step();
        self.node.link(from, to)
    }

    fn rename_subdirectory(&self, from: &str, to: &str) -> io::Result<()> {
        self.node.rename_subdirectory(from, to)
    }

    fn remove_subdirectory(&self, name: &str) -> io::Result<()> {
        self.node.remove_subdirectory(name);
        Ok(())
    }

    fn usage(&self) -> io::Result<u64> {
        Ok(self.node.usage())
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(self.node.disk().free())
    }
}

#[derive(Debug)]
struct MemoryLock {
    names: Arc<Mutex<BTreeSet<String>>>,
    name: String,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.names.lock().remove(&self.name);
    }
}

#[derive(Debug)]
struct MemoryFile {
    node: Arc<Node>,
    path: PathBuf,
    read_only: bool,
}

impl MemoryFile {
    fn writable(&self) -> io::Result<&Node> {
        if self.read_only { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(&self.node) }
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.node.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.node.disk().check_readable()?;
        if self.node.read(offset, buf)? == buf.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn read_at_uncached(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }

    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> io::Result<Option<usize>> {
        if self.node.disk().is_cold() { Ok(None) } else { self.node.read(offset, buf).map(Some) }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _change = self.node.disk().change();
        self.writable()?.write(offset, bytes)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let _change = self.node.disk().change();
        self.writable()?.allocate(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _step = self.node.disk().step();
        self.writable()?.set_len(len)
    }

    fn zero_range(&self, offset: u64, len: u64) -> io::Result<()> {
        let _change = self.node.disk().change();
        self.writable()?.zero_range(offset, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let _step = self.node.disk().step();
        self.node.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        let _step = self.node.disk().step();
        self.node.sync()
    }

    fn map(&self, len: usize) -> io::Result<Arc<Region>> {
        self.writable()?.map(len)
    }

    fn try_clone(&self) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Self { node: Arc::clone(&self.node), path: self.path.clone(), read_only: self.read_only }))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;
