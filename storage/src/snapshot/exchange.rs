//! Putting a copy that is whole in the place of the one in service.
//!
//! Invariants:
//! - At every moment one of the two copies has the shard's name, or the other one gets it back at the next start.

use std::sync::Arc;

use crate::error::{Result, StorageError};
use crate::fs::Directory;
use crate::options::{Options, Role};
use crate::places::{INCOMING, Places};
use crate::segment::names::MANIFEST;
use crate::shard::Shard;
use crate::types::ShardId;

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
/// the new one is made before; then `is_wanted` is asked whether to go on.
///
/// # Errors
/// The snapshot cannot be opened, or is not wanted any more: `old` goes on. I/O errors while the directories change names: the next start has one of the two.
pub fn exchange(root: &Arc<dyn Directory>, old: &Shard, aside: Aside, options: Options, is_wanted: &dyn Fn() -> bool) -> Result<Exchanged> {
    let shard = options.shard;
    let options = Options { role: Role::Replica, ..options };
    let Places { current, outgoing, target, .. } = Places::of(shard);
    let incoming = root.subdirectory(INCOMING).map_err(StorageError::io("open", root.path(INCOMING)))?;
    Shard::prepare(&incoming, &options)?;
    if !is_wanted() {
        let source = std::io::Error::new(std::io::ErrorKind::Interrupted, "another order has come");
        return Err(StorageError::io("take a copy into service from", root.path(&target))(source));
    }
    old.close()?;
    let lock = old.give_up_lock();
    let rename = |from: &str, to: &str| root.rename_subdirectory(from, to).map_err(StorageError::io("rename", root.path(from)));
    // The name says what is to become of it, whenever this ends.
    let kept_as = format!("set-aside-{}-{}", old.log().lineage().history, old.written_lsn());
    let goes_to = if aside == Aside::Keep { &kept_as } else { &outgoing };
    if has(root.as_ref(), &current)? {
        remove(root, goes_to)?;
        rename(&current, goes_to)?;
    }
    rename(&target, &current)?;
    remove(root, INCOMING)?;
    remove(root, &outgoing)?;
    let kept = (aside == Aside::Keep).then(|| root.path(&kept_as));
    Ok(Exchanged { shard: Shard::open_locked(root, options, lock)?, kept })
}

/// Removes what is left of copies that were not taken into service, and of shards whose place one has taken.
///
/// # Errors
/// I/O errors.
pub fn discard_copies(root: &Arc<dyn Directory>, shard: ShardId) -> Result<()> {
    let Places { current, outgoing, .. } = Places::of(shard);
    for name in [INCOMING, &outgoing] {
        if has(root.as_ref(), name)? && has(root.as_ref(), &current)? {
            remove(root, name)?;
        }
    }
    Ok(())
}

fn has(root: &dyn Directory, name: &str) -> Result<bool> {
    root.has_subdirectory(name).map_err(StorageError::io("look for", root.path(name)))
}

fn remove(root: &Arc<dyn Directory>, name: &str) -> Result<()> {
    root.remove_subdirectory(name).map_err(StorageError::io("remove", root.path(name)))
}

/// Ends an exchange that a kill has interrupted: with no shard in service the copy takes its place if it is whole, else the one that was there gets its
/// name back.
pub(crate) fn finish_exchange(root: &dyn Directory, shard: ShardId) -> Result<()> {
    let Places { current, outgoing, target, .. } = Places::of(shard);
    let rename = |from: &str| root.rename_subdirectory(from, &current).map_err(StorageError::io("rename", root.path(from)));
    if has(root, &current)? {
        return Ok(());
    }
    if has(root, &outgoing)? {
        return rename(&outgoing);
    }
    // What it took the place of has been set aside already.
    let is_whole = has(root, &target)? && {
        let copy = root.subdirectory(&target).map_err(StorageError::io("open", root.path(&target)))?;
        copy.exists(MANIFEST).map_err(StorageError::io("look for", copy.path(MANIFEST)))?
    };
    if is_whole { rename(&target) } else { Ok(()) }
}
