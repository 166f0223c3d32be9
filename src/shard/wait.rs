//! What connections wait for: flushes, records from disk, checkpoints.

use std::sync::Arc;

use esker_storage::shard::FetchedRecord;
use esker_storage::types::{Location, Lsn};
use tokio::sync::oneshot;

use super::open::sync_mode;
use crate::config::FsyncMode;
use crate::server::Server;

impl Server {
    /// Connects the syncer with the connections that wait for it.
    pub(crate) fn watch_flushes(&self) {
        let durability = Arc::clone(&self.durability);
        durability.advance(self.shard.flushed_lsn());
        self.shard.on_flush(Box::new(move |flushed| durability.advance(flushed)));
    }

    /// Whether replies wait until their writes are flushed.
    #[inline]
    pub(crate) fn waits_for_flush(&self) -> bool {
        self.config.hot().fsync() == FsyncMode::Always
    }

    /// Brings the storage's sync mode up to date with the options.
    pub(crate) fn apply_sync_mode(&self) {
        self.shard.set_sync_mode(sync_mode(self.config.hot().fsync()));
    }

    /// Asks for the flush that replies will wait for, as soon as their writes are in the log.
    #[inline]
    pub(crate) fn request_flush(&self, lsn: Lsn) {
        if lsn > Lsn(0) && self.waits_for_flush() {
            self.shard.request_flush(lsn);
        }
    }

    /// Reads a record from disk without blocking the worker. None: it cannot be read, which the command finds out when it is run again.
    pub(crate) async fn fetch(&self, location: Location) -> Option<FetchedRecord> {
        let (done, fetched) = oneshot::channel();
        // The connection may be gone before the record is there.
        self.shard.fetch(location, Box::new(move |record| drop(done.send(record))));
        match fetched.await.ok()? {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::error!("cannot fetch a record: {error}");
                None
            }
        }
    }

    /// Has a checkpoint taken in the background.
    pub(crate) fn start_checkpoint(&self) {
        self.shard.request_checkpoint();
    }

    /// Returns when a checkpoint was taken.
    pub(crate) async fn checkpoint(self: &Arc<Self>) {
        let server = Arc::clone(self);
        let taken = tokio::task::spawn_blocking(move || server.shard.checkpoint()).await;
        if let Ok(Err(error)) = taken {
            tracing::error!("the checkpoint failed: {error}");
        }
    }
}
