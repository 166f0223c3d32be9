//! What connections wait for: flushes, records from disk, checkpoints; and what the storage tells unasked.

use std::sync::Arc;
use std::time::Duration;

use esker_storage::history::{Answer, HistoryError, Question};
use esker_storage::shard::{FetchedRecord, StorageError, Wanted};
use esker_storage::types::Lsn;
use tokio::sync::oneshot;

use super::open::{eviction, sync_mode};
use crate::command::Gates;
use crate::config::{FsyncMode, Kind, parse_retention};
use crate::observe::memory_limit;
use crate::pubsub::class::{EVICTED, EXPIRED};
use crate::server::Server;

/// A worker waits for the medium itself while that takes no longer than waking another thread and being woken by it is worth: all its
/// clients wait for the same flush anyway.
const QUICK_SYNC: Duration = Duration::from_millis(1);

/// How often a connection whose write finds no room looks whether there is some, and how many times: what cleaning has to do for it takes
/// some tenths of a second on a busy machine.
const ROOM_PAUSE: Duration = Duration::from_millis(2);
const ROOM_LOOKS: u32 = 1000;

impl Server {
    /// Connects the syncer with the connections that wait for it.
    pub(crate) fn watch_flushes(&self) {
        let durability = Arc::clone(&self.durability);
        durability.advance(self.shard.flushed_lsn());
        self.shard.on_flush(Box::new(move |flushed| durability.advance(flushed)));
    }

    /// Publishes an event for each key that expires.
    pub(crate) fn watch_expiry(&self) {
        let hub = Arc::clone(&self.hub);
        self.shard.on_expired(Box::new(move |db, key| hub.notify(EXPIRED, "expired", key, db.0)));
    }

    /// Publishes an event for each key that is evicted, and lets commands know when there is no room for more data.
    pub(crate) fn watch_eviction(&self) {
        let hub = Arc::clone(&self.hub);
        self.shard.on_evicted(Box::new(move |db, key| hub.notify(EVICTED, "evicted", key, db.0)));
        let gates = Arc::clone(&self.gates);
        self.shard.on_data_limit(Box::new(move |over| gates.set(Gates::NO_ROOM, over)));
        self.gates.set(Gates::NO_ROOM, self.shard.is_over_data_limit());
    }

    /// Whether replies wait until their writes are flushed.
    #[inline]
    pub(crate) fn waits_for_flush(&self) -> bool {
        self.config.hot().fsync() == FsyncMode::Always
    }

    /// A change of an option that the storage cannot follow as it is now, and why.
    pub(crate) fn refuses<'a>(&self, changes: &[(&'a str, &str)]) -> Option<(&'a str, String)> {
        let (name, value) = changes.iter().find(|(name, _)| name.eq_ignore_ascii_case("memory-limit"))?;
        // What is no value at all is refused by the options themselves.
        let value = Kind::MemoryOrPercent.canonical("", &[value]).ok()?;
        let (limit, least) = (memory_limit(&value), self.shard.least_memory());
        let reason = format!("{limit} bytes are less than the {least} that the index and the server itself take now");
        (limit < least).then_some((*name, reason))
    }

    /// Brings the storage up to date with the options that can be changed.
    pub(crate) fn apply_storage_options(&self) {
        self.shard.log().space().set_limit(self.config.bytes("maxdisk"));
        self.shard.set_data_limit(self.config.bytes("maxmemory"));
        self.shard.set_eviction(eviction(&self.config.text("maxmemory-policy")));
        self.shard.set_memory_limit(self.config.memory_limit());
        self.shard.set_sync_mode(sync_mode(self.config.hot().fsync()));
        self.shard.set_history_retention(parse_retention(&self.config.text("history-retention")).unwrap_or_default());
        let scrub_period = Duration::from_secs(self.config.integer("scrub-period") as u64);
        self.shard.set_scrub_pace(scrub_period, self.config.bytes("scrub-rate"));
        self.shard.set_expiry_sweep_time(Duration::from_secs(self.config.integer("expiry-sweep-time") as u64));
    }

    /// The LSN that must be flushed before the replies of a turn leave that wrote up to `written`. Under
    /// `appendfsync always` replies of reads wait too: what they tell of might be another connection's write that can still be lost.
    #[inline]
    pub(crate) fn lsn_to_flush(&self, written: Lsn) -> Lsn {
        if !self.waits_for_flush() {
            return Lsn(0);
        }
        written.max(self.shard.written_lsn())
    }

    /// Has the log flushed as far as `lsn`: by the worker that calls, if that is quick, or else by the syncer.
    pub(crate) fn have_flushed(&self, lsn: Lsn) {
        let here = self.shard.last_sync_time() <= QUICK_SYNC && self.shard.try_flush();
        if !here {
            self.shard.request_flush(lsn);
        }
    }

    /// Reads a record from disk without blocking the worker. None: it is not there any more, and the command, run again, finds out where
    /// it is now.
    pub(crate) async fn fetch(&self, wanted: Wanted) -> Option<FetchedRecord> {
        let (done, fetched) = oneshot::channel();
        // The connection may be gone before the record is there.
        self.shard.fetch(wanted, Box::new(move |record| drop(done.send(record))));
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
    pub(crate) async fn look_back(&self, question: Question) -> Result<Answer, HistoryError> {
        let (done, answer) = oneshot::channel();
        // The connection may be gone before the answer is there.
        self.shard.ask_history(question, Box::new(move |answer| drop(done.send(answer))));
        answer.await.unwrap_or(Err(HistoryError::Stopping))
    }

    /// Has a checkpoint taken in the background.
    pub(crate) fn start_checkpoint(&self) {
        self.shard.request_checkpoint();
    }

    /// Waits until the log has room for writes again; false if that takes too long.
    pub(crate) async fn room(&self) -> bool {
        for _ in 0..ROOM_LOOKS {
            tokio::time::sleep(ROOM_PAUSE).await;
            if !self.shard.log().awaits_room() {
                return true;
            }
        }
        false
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
