//! A filesystem in memory that can lose power, and whose disk can fail.
//!
//! The faults it injects:
//! - power loss: every 512-byte sector written since its file's last sync is kept or dropped on its own, so writes are lost,
//!   torn and reordered; so are lengths, and names created, renamed or removed since the last sync of their directory;
//! - kill: the page cache survives, locks do not;
//! - a sync that fails, after which the kernel takes the dirty sectors for clean, so that the next sync "succeeds" without them;
//! - a full disk;
//! - a flipped bit;
//! - a cold page cache: reads that must not wait find nothing;
//! - a medium that cannot be read.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Directory;
use super::memory::{DirectoryNode, Disk, MemoryDirectory, Moments, Node};

/// A filesystem with faults: hand [`directory`](Self::directory) to the code under test.
#[derive(Debug, Clone)]
pub struct FaultyDirectory {
    root: MemoryDirectory,
}

impl Default for FaultyDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultyDirectory {
    /// An empty filesystem without faults so far.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Arc::new(DirectoryNode::new(PathBuf::from("/faulty"), Disk::new(true))))
    }

    fn over(node: Arc<DirectoryNode>) -> Self {
        Self { root: MemoryDirectory::over(node) }
    }

    fn disk(&self) -> &Disk {
        self.root.node().disk()
    }

    /// The root directory.
    #[must_use]
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(self.root.clone())
    }

    /// What is found after power was lost now. One seed, one outcome. This filesystem goes on unharmed, so that one moment can
    /// be lost in many ways. Threads may write meanwhile: all that was synced is of one moment, and the rest may be lost anyway.
    pub fn power_loss(&self, seed: u64) -> io::Result<Self> {
        let _still = self.disk().hold_still();
        let disk = self.disk().successor(true);
        let mut random = StdRng::seed_from_u64(seed);
        Ok(Self::over(self.root.node().after_power_loss(&disk, &mut random)?))
    }

    /// What is found after the process was killed now: a copy, page cache included. Threads that write meanwhile may show in
    /// part and out of order, so stop them first.
    pub fn kill(&self) -> io::Result<Self> {
        let _still = self.disk().hold_still();
        Ok(Self::over(self.root.node().after_kill(&self.disk().successor(false))?))
    }

    /// Lets `successes` syncs, of files and directories, pass and the one after them fail.
    pub fn fail_sync_after(&self, successes: u64) {
        self.disk().fail_sync_after(successes);
    }

    /// Has `hook` called before each sync, rename, removal and change of a length, on the thread that asks for it: the moments at
    /// which losing power, or being killed, matters. None: no more.
    pub fn before_each_step(&self, hook: Option<Arc<dyn Fn() + Send + Sync>>) {
        self.disk().set_hook(hook.map(|hook| (hook, Moments::Steps)));
    }

    /// The same before every operation that changes anything: also before files are made, allocated, zeroed and written.
    pub fn before_each_operation(&self, hook: Option<Arc<dyn Fn() + Send + Sync>>) {
        self.disk().set_hook(hook.map(|hook| (hook, Moments::Operations)));
    }

    /// Number of syncs so far, of files and directories.
    #[must_use]
    pub fn sync_count(&self) -> u64 {
        self.disk().syncs()
    }

    /// Sets how many bytes can be allocated in all.
    pub fn set_capacity(&self, bytes: u64) {
        self.disk().set_capacity(bytes);
    }

    /// Bytes allocated.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.disk().used()
    }

    /// Whether reads that must not wait find nothing in the page cache.
    pub fn set_cold(&self, cold: bool) {
        self.disk().set_cold(cold);
    }

    /// Whether reads that may wait fail, as on a bad medium. What is mapped, or found without waiting, is in the page cache.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.disk().set_unreadable(unreadable);
    }

    /// Flips one bit of a file, in the cache and on the medium. `path` is relative to the root, with `/` between its parts.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> io::Result<()> {
        let node = self.find(path)?;
        if offset >= node.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        node.flip_bit(offset, bit % 8);
        Ok(())
    }

    fn find(&self, path: &str) -> io::Result<Arc<Node>> {
        let root = self.root.node();
        match path.rsplit_once('/') {
            Some((directory, name)) => root.subdirectory(directory)?.file(name),
            None => root.file(path),
        }
    }
}

#[cfg(test)]
mod tests;
