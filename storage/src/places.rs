//! Where a shard and the copies of it lie in a data directory, and files that only copies on their way have.

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
