//! A directory in memory: its names, and which of them are durable.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use super::node::chance;
use super::{Disk, Node};

type Names = BTreeMap<String, Arc<Node>>;

/// A directory.
#[derive(Debug)]
pub(in crate::fs) struct DirectoryNode {
    disk: Arc<Disk>,
    path: PathBuf,
    state: Mutex<State>,
    locks: Arc<Mutex<BTreeSet<String>>>,
}

#[derive(Debug, Default)]
struct State {
    names: Names,
    durable: Names,
    /// What was done to the names since the last sync.
    pending: Vec<Change>,
    children: BTreeMap<String, Arc<DirectoryNode>>,
}

#[derive(Debug, Clone)]
enum Change {
    Create(String, Arc<Node>),
    Rename(String, String, Arc<Node>),
    Remove(String),
}

impl Change {
    /// Changes `names` as far as it still makes sense, when changes before this one were lost.
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create(name, node) => {
                names.insert(name.clone(), Arc::clone(node));
            }
            Self::Rename(from, to, node) => {
                if names.get(from).is_some_and(|found| Arc::ptr_eq(found, node)) {
                    names.remove(from);
                }
                names.insert(to.clone(), Arc::clone(node));
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl State {
    fn change(&mut self, disk: &Disk, change: Change) {
        change.apply(&mut self.names);
        if disk.is_tracked() {
            self.pending.push(change);
        }
    }

    fn file(&self, name: &str) -> io::Result<Arc<Node>> {
        self.names.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl DirectoryNode {
    pub(in crate::fs) fn new(path: PathBuf, disk: Arc<Disk>) -> Self {
        Self { disk, path, state: Mutex::default(), locks: Arc::default() }
    }

    pub(in crate::fs) fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn locks(&self) -> &Arc<Mutex<BTreeSet<String>>> {
        &self.locks
    }

    pub(super) fn create(&self, name: &str) -> io::Result<Arc<Node>> {
        let mut state = self.state.lock();
        if let Ok(node) = state.file(name) {
            node.set_len(0)?;
            return Ok(node);
        }
        let node = Node::new(&self.disk)?;
        state.change(&self.disk, Change::Create(name.to_owned(), Arc::clone(&node)));
        Ok(node)
    }

    pub(in crate::fs) fn file(&self, name: &str) -> io::Result<Arc<Node>> {
        self.state.lock().file(name)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let node = state.file(from)?;
        state.change(&self.disk, Change::Rename(from.to_owned(), to.to_owned(), node));
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.file(name)?;
        state.change(&self.disk, Change::Remove(name.to_owned()));
        Ok(())
    }

    pub(super) fn list(&self) -> Vec<String> {
        self.state.lock().names.keys().cloned().collect()
    }

    pub(super) fn usage(&self) -> u64 {
        self.state.lock().names.values().map(|node| node.len()).sum()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        self.disk.count_sync()?;
        if self.disk.is_tracked() {
            state.durable = state.names.clone();
            state.pending.clear();
        }
        Ok(())
    }

    /// As in [`RealDirectory`](crate::fs::RealDirectory), a new subdirectory is durable at once.
    pub(in crate::fs) fn subdirectory(self: &Arc<Self>, path: &str) -> io::Result<Arc<Self>> {
        let (parent, name) = self.parent_of(path)?;
        Ok(parent.child(name))
    }

    fn child(&self, name: &str) -> Arc<Self> {
        let mut state = self.state.lock();
        let child = || Arc::new(Self::new(self.path.join(name), Arc::clone(&self.disk)));
        Arc::clone(state.children.entry(name.to_owned()).or_insert_with(child))
    }

    /// Walks to the directory that holds the last part of a path, and gives that part.
    fn parent_of<'n>(self: &Arc<Self>, path: &'n str) -> io::Result<(Arc<Self>, &'n str)> {
        let mut at = Arc::clone(self);
        let mut parts = path.split('/').peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            if parts.peek().is_none() {
                return Ok((at, part));
            }
            let found = at.state.lock().children.get(part).cloned();
            at = found.ok_or(io::ErrorKind::NotFound)?;
        }
    }

    pub(in crate::fs) fn link(self: &Arc<Self>, from: &str, to: &str) -> io::Result<()> {
        let ((from, old), (to, new)) = (self.parent_of(from)?, self.parent_of(to)?);
        let node = from.file(old)?;
        let mut state = to.state.lock();
        if state.names.contains_key(new) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.change(&to.disk, Change::Create(new.to_owned(), node));
        Ok(())
    }

    pub(in crate::fs) fn has_subdirectory(self: &Arc<Self>, path: &str) -> bool {
        self.parent_of(path).is_ok_and(|(parent, name)| parent.state.lock().children.contains_key(name))
    }

    /// Durable at once, like a new one. Paths in messages keep the old name.
    pub(in crate::fs) fn rename_subdirectory(self: &Arc<Self>, from: &str, to: &str) -> io::Result<()> {
        let ((from, old), (to, new)) = (self.parent_of(from)?, self.parent_of(to)?);
        let child = from.state.lock().children.remove(old).ok_or(io::ErrorKind::NotFound)?;
        to.state.lock().children.insert(new.to_owned(), child);
        Ok(())
    }

    pub(in crate::fs) fn remove_subdirectory(self: &Arc<Self>, path: &str) {
        if let Ok((parent, name)) = self.parent_of(path) {
            parent.state.lock().children.remove(name);
        }
    }

    /// This directory as another process finds it after this one was killed.
    pub(in crate::fs) fn after_kill(&self, disk: &Arc<Disk>) -> io::Result<Arc<Self>> {
        let state = self.state.lock();
        let mut copies = BTreeMap::new();
        let mut copy = |node: &Arc<Node>| -> io::Result<Arc<Node>> {
            // A file that has a name both now and durably stays one file.
            Ok(match copies.entry(node.identity().inode) {
                Entry::Occupied(copied) => Arc::clone(copied.get()),
                Entry::Vacant(vacant) => Arc::clone(vacant.insert(node.after_kill(disk)?)),
            })
        };
        let mut copy_names =
            |names: &Names| names.iter().map(|(name, node)| Ok((name.clone(), copy(node)?))).collect::<io::Result<Names>>();
        let (names, durable) = (copy_names(&state.names)?, copy_names(&state.durable)?);
        let mut pending = Vec::new();
        for change in &state.pending {
            pending.push(match change {
                Change::Create(name, node) => Change::Create(name.clone(), copy(node)?),
                Change::Rename(from, to, node) => Change::Rename(from.clone(), to.clone(), copy(node)?),
                Change::Remove(name) => Change::Remove(name.clone()),
            });
        }
        let children = each_child(&state.children, |child| child.after_kill(disk))?;
        Ok(self.rebuilt(disk, State { names, durable, pending, children }))
    }

    /// This directory after power was lost: each change of a name since the last sync happened or did not.
    pub(in crate::fs) fn after_power_loss(&self, disk: &Arc<Disk>, random: &mut StdRng) -> io::Result<Arc<Self>> {
        let state = self.state.lock();
        let mut kept = state.durable.clone();
        let keep = chance(random);
        for change in &state.pending {
            if random.random_bool(keep) {
                change.apply(&mut kept);
            }
        }
        let mut names = Names::new();
        for (name, node) in &kept {
            names.insert(name.clone(), node.after_power_loss(disk, random)?);
        }
        let children = each_child(&state.children, |child| child.after_power_loss(disk, random))?;
        let durable = names.clone();
        Ok(self.rebuilt(disk, State { names, durable, pending: Vec::new(), children }))
    }

    fn rebuilt(&self, disk: &Arc<Disk>, state: State) -> Arc<Self> {
        let (disk, path) = (Arc::clone(disk), self.path.clone());
        Arc::new(Self { disk, path, state: Mutex::new(state), locks: Arc::default() })
    }
}

fn each_child(
    children: &BTreeMap<String, Arc<DirectoryNode>>,
    mut copy: impl FnMut(&DirectoryNode) -> io::Result<Arc<DirectoryNode>>,
) -> io::Result<BTreeMap<String, Arc<DirectoryNode>>> {
    children.iter().map(|(name, child)| Ok((name.clone(), copy(child)?))).collect()
}
