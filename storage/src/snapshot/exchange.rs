//! Putting a copy that is whole in the place of the one in service.
//!
//! Invariants:
//! - At every moment one of the two copies has the shard's name, or the other one gets it back at the next start.

use std::sync::Arc;

use crate::error::{Result, StorageError};
use crate::fs::Directory;
use crate::options::{Options, Role};
use crate::places::{INCOMING, Places};
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
/// the new one is made before.
///
/// # Errors
/// The snapshot cannot be opened: `old` goes on. I/O errors while the directories change names: the next start has one of the two.
pub fn exchange(root: &Arc<dyn Directory>, old: &Shard, aside: Aside, options: Options) -> Result<Exchanged> {
    let shard = options.shard;
    let options = Options { role: Role::Replica, ..options };
    let Places { current, outgoing, target, .. } = Places::of(shard);
    let incoming = root.subdirectory(INCOMING).map_err(StorageError::io("open", root.path(INCOMING)))?;
    Shard::prepare(&incoming, &options)?;
    old.close()?;
    let lock = old.give_up_lock();
    let rename = |from: &str, to: &str| root.rename_subdirectory(from, to).map_err(StorageError::io("rename", root.path(from)));
    remove(root, &outgoing)?;
    rename(&current, &outgoing)?;
    rename(&target, &current)?;
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
    let Places { current, outgoing, .. } = Places::of(shard);
    let there = |name: &str| root.has_subdirectory(name).map_err(StorageError::io("look for", root.path(name)));
    if !there(&current)? && there(&outgoing)? {
        root.rename_subdirectory(&outgoing, &current).map_err(StorageError::io("rename", root.path(&outgoing)))?;
    }
    Ok(())
}
