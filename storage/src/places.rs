//! Where a shard and the copies of it lie in a data directory, and files that only copies on their way have.

use crate::error::{Result, StorageError};
use crate::fs::Directory;
use crate::types::ShardId;

/// Where a snapshot arrives.
pub(crate) const INCOMING: &str = "incoming";

/// The file that tells which ops live.
pub(crate) const LIVE: &str = "LIVE";
/// The file of what the replica lacked.
pub(crate) const RECORDS: &str = "RECORDS";

/// Paths of directories within the data directory.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The shard in service.
    pub(crate) current: String,
    /// The one that was in service, while another takes its place.
    pub(crate) outgoing: String,
    /// The copy that is to take its place.
    pub(crate) target: String,
    /// What the copy is made of, if it is not what arrives.
    pub(crate) arrived: String,
}

impl Places {
    pub(crate) fn of(shard: ShardId) -> Self {
        Self {
            current: format!("shard-{shard}"),
            outgoing: format!("outgoing-{shard}"),
            target: format!("{INCOMING}/shard-{shard}"),
            arrived: format!("{INCOMING}/difference-{shard}"),
        }
    }
}

/// Writes a file, onto the medium.
pub(crate) fn store(directory: &dyn Directory, name: &str, bytes: &[u8]) -> Result<()> {
    let path = directory.path(name);
    let file = directory.create(name).map_err(StorageError::io("create", &path))?;
    file.allocate(0, bytes.len() as u64).map_err(StorageError::io("allocate", &path))?;
    file.write_at(0, bytes).map_err(StorageError::io("write", &path))?;
    file.sync_all().map_err(StorageError::io("sync", &path))
}
