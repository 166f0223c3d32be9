//! What connections wait for: flushes, records from disk, checkpoints.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use esker_storage::history::{Answer, HistoryError, Question};
use esker_storage::shard::{FetchedRecord, SlotDigests, StorageError, Wanted};
use esker_storage::types::Lsn;
use tokio::sync::oneshot;

use super::served::Served;
use crate::command::DigestOf;
use crate::config::{FsyncMode, ReplicationMode};
use crate::server::Server;

/// A worker waits for the medium itself while that takes no longer than waking another thread and being woken by it is worth: all its
/// clients wait for the same flush anyway.
const QUICK_SYNC: Duration = Duration::from_millis(1);

/// How often a connection whose write finds no room looks whether there is some, and how many times: what cleaning has to do for it takes
/// some tenths of a second on a busy machine.
const ROOM_PAUSE: Duration = Duration::from_millis(2);
const ROOM_LOOKS: u32 = 1000;

impl Server {
    /// Whether replies wait until their writes are flushed.
    #[inline]
    pub(crate) fn waits_for_flush(&self) -> bool {
        let hot = self.config.hot();
        hot.fsync() == FsyncMode::Always || hot.replication_mode() == ReplicationMode::Sync
    }

    /// Whether replies wait for anything after their commands have run. Those of reads do too: what they tell of might be another
    /// connection's write that can still be lost.
    #[inline]
    pub(crate) fn holds_replies_back(&self) -> bool {
        self.waits_for_flush() || self.waits_for_replicas()
    }

    /// Waits until the log is flushed up to `lsn`, if that is wanted, for no longer than `patience` (none: for ever); whether it is.
    pub(crate) async fn own_flush(&self, lsn: Lsn, wanted: bool, patience: Option<Duration>) -> bool {
        let deadline = patience.map(|patience| tokio::time::Instant::now() + patience);
        let shard = self.shard_owned();
        let in_time = || deadline.is_none_or(|deadline| tokio::time::Instant::now() < deadline);
        // An LSN beyond the end is of a shard that was replaced.
        while wanted && shard.flushed_lsn() < lsn && lsn <= shard.written_lsn() && in_time() && !shard.log().durability().is_poisoned() {
            shard.request_flush(lsn);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        shard.flushed_lsn() >= lsn
    }

    /// Has the log flushed as far as `lsn`: by the worker that calls, if that is quick, or else by the syncer.
    pub(crate) fn have_flushed(&self, lsn: Lsn) {
        let shard = self.shard();
        let here = shard.last_sync_time() <= QUICK_SYNC && shard.try_flush();
        if !here {
            // No more than there is: the LSN may be of a shard that was just replaced, and the syncer would try for ever.
            shard.request_flush(lsn.min(shard.written_lsn()));
        }
    }
}

impl Served {
    /// Reads a record from disk without blocking the worker. None: it is not there any more, and the command, run again, finds out where
    /// it is now.
    pub(crate) async fn fetched(&self, wanted: Wanted) -> Option<FetchedRecord> {
        let (done, fetched) = oneshot::channel();
        // The connection may be gone before the record is there.
        self.fetch(wanted, Box::new(move |record| drop(done.send(record))));
        match fetched.await.ok()? {
            Ok(record) => Some(record),
            Err(StorageError::Cold(_)) => None,
            Err(error) => {
                tracing::error!("cannot fetch a record: {error}");
                Some(FetchedRecord::failed(wanted.location, error))
            }
        }
    }

    /// Asks the storage about the past without blocking the worker.
    pub(crate) async fn looked_back(&self, question: Question) -> Result<Answer, HistoryError> {
        let (done, answer) = oneshot::channel();
        // The connection may be gone before the answer is there.
        self.ask_history(question, Box::new(move |answer| drop(done.send(answer))));
        answer.await.unwrap_or(Err(HistoryError::Stopping))
    }

    /// Waits until the log has room for writes again; false if that takes too long.
    pub(crate) async fn has_room(&self) -> bool {
        for _ in 0..ROOM_LOOKS {
            tokio::time::sleep(ROOM_PAUSE).await;
            if !self.log().awaits_room() {
                return true;
            }
        }
        false
    }

    /// Digests of slots, taken on a thread that may wait for the medium.
    pub(crate) async fn digests_taken(self: Arc<Self>, wanted: DigestOf) -> Result<SlotDigests, StorageError> {
        let taken = tokio::task::spawn_blocking(move || self.slot_digests(wanted.first..=wanted.last, wanted.db)).await;
        taken.unwrap_or(Err(StorageError::Io { action: "sweep", path: PathBuf::new(), source: std::io::ErrorKind::Interrupted.into() }))
    }

    /// Returns when a checkpoint was taken.
    pub(crate) async fn checkpoint_taken(self: Arc<Self>) {
        let taken = tokio::task::spawn_blocking(move || self.checkpoint()).await;
        if let Ok(Err(error)) = taken {
            tracing::error!("the checkpoint failed: {error}");
        }
    }
}
