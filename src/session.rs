//! What one connection knows of itself between requests.

use esker_storage::types::Db;

/// The state of one connection that commands read and change.
#[derive(Debug, Default)]
pub struct Session {
    /// The connection's id, as CLIENT ID tells it.
    pub id: u64,
    /// The selected database.
    pub db: Db,
}
