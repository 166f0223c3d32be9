//! Connecting the server to its shard: options, listeners, and the exchange of one shard for another.
//!
//! Invariants: a shard that is not in service any more changes nothing of the server: no gate, no event, no flushed LSN.

use std::sync::Arc;
use std::time::Duration;

use esker_storage::shard::Shard;
use parking_lot::Mutex;

use super::open::{eviction, sync_mode};
use super::served::{Retired, Served};
use crate::command::Gates;
use crate::config::{Kind, parse_retention};
use crate::net::Flushed;
use crate::observe::memory_limit;
use crate::pubsub::class::{EVICTED, EXPIRED};
use crate::server::{Server, ShardGuard};

/// The number of the shard that is in service, shared with the listeners of all.
#[derive(Debug, Clone, Default)]
pub(crate) struct InService(Arc<Mutex<u64>>);

impl InService {
    fn is(&self, number: u64) -> bool {
        *self.0.lock() == number
    }

    /// Runs `then` if the shard is in service, and keeps it there until that is done.
    fn only_if(&self, number: u64, then: impl FnOnce()) {
        let current = self.0.lock();
        if *current == number {
            then();
        }
    }
}

impl Server {
    /// The shard in service, for a short time: a turn, a look at its figures. What waits takes [`shard_owned`](Self::shard_owned).
    #[inline]
    #[must_use]
    pub fn shard(&self) -> ShardGuard {
        self.shard.load()
    }

    /// The shard in service, for as long as it takes. A shard that was replaced is not closed before.
    #[must_use]
    pub fn shard_owned(&self) -> Arc<Served> {
        self.shard.load_full()
    }

    /// Puts another shard in the place of the one in service, for all that begins from now on; what is under way ends on the old one.
    /// Connections that wait for a flush of the old one are closed without a reply, as nobody can tell what becomes of their writes.
    pub fn replace_shard(&self, new: Shard) -> Retired {
        let _options = self.options.lock();
        let number = self.shard.load().number() + 1;
        let new = Served::new(new, number);
        self.apply_options_to(&new);
        self.listen_to(&new);
        let old = self.shard.swap(Arc::new(new));
        self.update_replication(|status| status.trail.clear());
        Retired(old)
    }

    /// Has the shard tell the server what it is to know, and puts it in service as far as listeners go.
    pub(crate) fn listen_to(&self, shard: &Served) {
        self.watch_expiry(shard);
        self.watch_eviction(shard);
        self.watch_flushes(shard);
        let mut current = self.in_service.0.lock();
        *current = shard.number();
        // What its listener told before was not heard.
        self.gates.set(Gates::NO_ROOM, shard.is_over_data_limit());
    }

    /// Connects those who flush with the connections that wait for it.
    fn watch_flushes(&self, shard: &Served) {
        let flushed = Arc::new(Flushed::new(shard.number()));
        let (durability, own) = (Arc::clone(&self.durability), Arc::clone(&flushed));
        shard.on_flush(Box::new(move |lsn| durability.advance(&own, lsn)));
        flushed.raise(shard.flushed_lsn());
        self.durability.attach(flushed);
    }

    /// Publishes an event for each key that expires.
    fn watch_expiry(&self, shard: &Served) {
        let (hub, in_service, number) = (Arc::clone(&self.hub), self.in_service.clone(), shard.number());
        shard.on_expired(Box::new(move |db, key| {
            if in_service.is(number) {
                hub.notify(EXPIRED, "expired", key, db.0);
            }
        }));
    }

    /// Publishes an event for each key that is evicted, and lets commands know when there is no room for more data.
    fn watch_eviction(&self, shard: &Served) {
        let (hub, in_service, number) = (Arc::clone(&self.hub), self.in_service.clone(), shard.number());
        shard.on_evicted(Box::new(move |db, key| {
            if in_service.is(number) {
                hub.notify(EVICTED, "evicted", key, db.0);
            }
        }));
        let (gates, in_service) = (Arc::clone(&self.gates), self.in_service.clone());
        shard.on_data_limit(Box::new(move |over| in_service.only_if(number, || gates.set(Gates::NO_ROOM, over))));
    }

    /// A change of an option that the storage cannot follow as it is now, and why.
    pub(crate) fn refuses<'a>(&self, changes: &[(&'a str, &str)]) -> Option<(&'a str, String)> {
        let (name, value) = changes.iter().find(|(name, _)| name.eq_ignore_ascii_case("memory-limit"))?;
        // What is no value at all is refused by the options themselves.
        let value = Kind::MemoryOrPercent.canonical("", &[value]).ok()?;
        let (limit, least) = (memory_limit(&value), self.shard().least_memory());
        let reason = format!("{limit} bytes are less than the {least} that the index and the server itself take now");
        (limit < least).then_some((*name, reason))
    }

    /// Brings the storage up to date with the options that can be changed.
    pub(crate) fn apply_storage_options(&self) {
        // A shard that is put in service meanwhile gets them too.
        let _options = self.options.lock();
        self.apply_options_to(&self.shard());
    }

    fn apply_options_to(&self, shard: &Shard) {
        shard.log().space().set_limit(self.config.bytes("maxdisk"));
        shard.set_data_limit(self.config.bytes("maxmemory"));
        shard.set_eviction(eviction(&self.config.text("maxmemory-policy")));
        shard.set_memory_limit(self.config.memory_limit());
        shard.set_sync_mode(sync_mode(self.config.hot().fsync()));
        shard.set_history_retention(parse_retention(&self.config.text("history-retention")).unwrap_or_default());
        let scrub_period = Duration::from_secs(self.config.integer("scrub-period") as u64);
        shard.set_scrub_pace(scrub_period, self.config.bytes("scrub-rate"));
        shard.set_expiry_sweep_time(Duration::from_secs(self.config.integer("expiry-sweep-time") as u64));
    }
}
