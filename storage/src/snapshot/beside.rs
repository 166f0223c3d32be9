//! What the entries of a divergent file need and do not hold: large values, and which table was which database's.
//!
//! They lie in a directory that is named as the file is, without its `.log`, under the names that they have in a shard's directory; there is
//! none if nothing is needed.

use crate::error::{Result, StorageError};
use crate::fs::{Directory, File};
use crate::history::{Controls, tables_at};
use crate::manifest::{Manifest, Tables};
use crate::segment::names::FileName;
use crate::shard::Shard;
use crate::types::Lsn;

/// Bytes copied at a time.
const PIECE: u64 = 1 << 20;

/// Keeps, durably, what the entries above an LSN need.
pub(super) fn keep(shard: &Shard, root: &dyn Directory, file: &str, above: Lsn, values: &[u128]) -> Result<()> {
    let log = shard.log();
    let tables = tables_at(shard.index(), &log.segments().in_order(), &mut Controls::default(), above)?;
    let tables = Tables { lsn: above, next: shard.index().tables().next_id(), databases: tables };
    if values.is_empty() && tables.databases == Tables::default().databases {
        return Ok(());
    }
    let name = file.trim_end_matches(".log");
    let directory = root.subdirectory(name).map_err(StorageError::io("create", root.path(name)))?;
    for id in values {
        copy(log.directory.as_ref(), directory.as_ref(), &FileName::Value(*id).to_string())?;
    }
    let mut manifest = Manifest::new(log.shard, shard.node(), log.history, 0);
    (manifest.tables, manifest.epochs) = (tables, log.lineage().epochs);
    manifest.store(directory.as_ref())
}

/// Copies a file. One that is gone was of a value that nobody could read any more.
fn copy(from: &dyn Directory, to: &dyn Directory, name: &str) -> Result<()> {
    let source = match from.open_read_only(name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(StorageError::io("open", from.path(name)))?,
    };
    let target = to.create(name).map_err(StorageError::io("create", to.path(name)))?;
    copy_bytes(source.as_ref(), target.as_ref())
}

fn copy_bytes(from: &dyn File, to: &dyn File) -> Result<()> {
    let len = from.len().map_err(StorageError::io("measure", from.path()))?;
    to.allocate(0, len).map_err(StorageError::io("allocate", to.path()))?;
    let mut at = 0;
    while at < len {
        let mut piece = vec![0; PIECE.min(len - at) as usize];
        from.read_at(at, &mut piece).map_err(StorageError::io("read", from.path()))?;
        to.write_at(at, &piece).map_err(StorageError::io("write", to.path()))?;
        at += piece.len() as u64;
    }
    to.sync_all().map_err(StorageError::io("sync", to.path()))
}
