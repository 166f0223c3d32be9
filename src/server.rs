//! What all connections share.

use esker_storage::shard::Shard;

/// The server's shared state; one a process, behind an `Arc`.
pub struct Server {
    /// The data.
    pub shard: Shard,
}

impl Server {
    /// Whether keyspace events of this class are wanted.
    #[must_use]
    pub fn notifies(&self, _class: u32) -> bool {
        false
    }
}
