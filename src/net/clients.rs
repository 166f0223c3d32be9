//! The registry of connected clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use esker_storage::types::UnixMillis;
use parking_lot::RwLock;
use tokio::sync::Notify;

use super::Client;

/// What CLIENT PAUSE holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pause {
    /// Nothing.
    None = 0,
    /// Commands that may write.
    Writes = 1,
    /// All commands.
    All = 2,
}

/// All connected clients, by id.
#[derive(Debug, Default)]
pub struct Clients {
    list: RwLock<BTreeMap<u64, Arc<Client>>>,
    count: AtomicUsize,
    last_id: AtomicU64,
    pause: AtomicU8,
    pause_until: AtomicI64,
    /// Writes are held back apart from that: for a failover, which nobody's CLIENT UNPAUSE ends.
    holds_writes: AtomicBool,
    resumed: Notify,
}

impl Clients {
    /// An id for a new client.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds a client.
    pub fn add(&self, client: Arc<Client>) {
        let mut list = self.list.write();
        list.insert(client.id, client);
        self.count.store(list.len(), Ordering::Relaxed);
    }

    /// Removes a client that has disconnected.
    pub fn remove(&self, id: u64) {
        let mut list = self.list.write();
        list.remove(&id);
        self.count.store(list.len(), Ordering::Relaxed);
    }

    /// How many are connected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The client of an id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.list.read().get(&id).cloned()
    }

    /// All clients, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.list.read().values().cloned().collect()
    }

    /// Holds commands back until `until`. A pause that runs is never made weaker or shorter.
    pub fn pause(&self, what: Pause, until: UnixMillis, now: UnixMillis) {
        let (what, until) = match self.paused_until(now) {
            Pause::None => (what, until.0),
            running => (what.max(running), until.0.max(self.pause_until.load(Ordering::Relaxed))),
        };
        let list = self.list.write();
        self.pause_until.store(until, Ordering::Relaxed);
        self.pause.store(what as u8, Ordering::Release);
        drop(list);
        self.resumed.notify_waiters();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.pause.store(Pause::None as u8, Ordering::Release);
        self.resumed.notify_waiters();
    }

    /// Whether there may be a pause: cheap, for every command.
    #[inline]
    #[must_use]
    pub fn may_be_paused(&self) -> bool {
        self.pause.load(Ordering::Relaxed) != Pause::None as u8 || self.holds_writes.load(Ordering::Relaxed)
    }

    /// Holds writes back until told otherwise.
    pub fn hold_writes(&self, hold: bool) {
        self.holds_writes.store(hold, Ordering::SeqCst);
        self.resumed.notify_waiters();
    }

    /// What is held back now.
    #[must_use]
    pub fn paused(&self, now: UnixMillis) -> Pause {
        let held = if self.holds_writes.load(Ordering::SeqCst) { Pause::Writes } else { Pause::None };
        self.paused_until(now).max(held)
    }

    /// What CLIENT PAUSE holds back now.
    fn paused_until(&self, now: UnixMillis) -> Pause {
        let pause = match self.pause.load(Ordering::Acquire) {
            0 => return Pause::None,
            1 => Pause::Writes,
            _ => Pause::All,
        };
        if self.pause_until.load(Ordering::Relaxed) > now.0 {
            return pause;
        }
        self.end_pause_before(now);
        Pause::None
    }

    /// Forgets a pause that is over, so that commands need not look at the clock any more. Under the list's lock, as is the start of a
    /// pause: one that starts at the same time is not ended.
    #[cold]
    fn end_pause_before(&self, now: UnixMillis) {
        let _list = self.list.write();
        if self.pause_until.load(Ordering::Relaxed) <= now.0 {
            self.pause.store(Pause::None as u8, Ordering::Release);
        }
    }

    /// Returns when the pause changes or has run out.
    pub(super) async fn pause_change(&self, now: UnixMillis) {
        // The pause may end between the command's look and this wait: never wait long without looking again.
        const LONGEST: i64 = 100;
        let left = self.pause_until.load(Ordering::Relaxed).saturating_sub(now.0);
        let left = if self.holds_writes.load(Ordering::Relaxed) { LONGEST } else { left.clamp(1, LONGEST) };
        let wait = std::time::Duration::from_millis(left.unsigned_abs());
        let _ = tokio::time::timeout(wait, self.resumed.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: u64) -> Arc<Client> {
        Arc::new(Client::new(id, String::new(), String::new(), 0, UnixMillis(0)))
    }

    #[test]
    fn clients_are_listed_by_age_until_they_leave() {
        let clients = Clients::default();
        let ids = [(); 3].map(|()| clients.next_id());
        assert_eq!(ids, [1, 2, 3]);
        for id in [3, 1, 2] {
            clients.add(client(id));
        }
        assert_eq!(clients.count(), 3);
        assert_eq!(clients.all().iter().map(|c| c.id).collect::<Vec<_>>(), ids);
        clients.remove(2);
        clients.remove(2);
        assert!(clients.get(2).is_none() && clients.get(3).is_some());
        assert_eq!(clients.count(), 2);
    }

    #[test]
    fn a_pause_is_never_made_weaker_or_shorter() {
        let clients = Clients::default();
        assert!(!clients.may_be_paused());
        clients.pause(Pause::All, UnixMillis(100), UnixMillis(0));
        clients.pause(Pause::Writes, UnixMillis(50), UnixMillis(0));
        assert_eq!(clients.paused(UnixMillis(99)), Pause::All);
        assert_eq!(clients.paused(UnixMillis(100)), Pause::None);
        assert!(!clients.may_be_paused());
        clients.pause(Pause::Writes, UnixMillis(200), UnixMillis(100));
        assert_eq!(clients.paused(UnixMillis(150)), Pause::Writes);
        clients.resume();
        assert_eq!(clients.paused(UnixMillis(150)), Pause::None);
    }

    #[test]
    fn what_a_failover_holds_back_no_client_lets_go() {
        let clients = Clients::default();
        clients.hold_writes(true);
        clients.pause(Pause::All, UnixMillis(100), UnixMillis(0));
        assert_eq!(clients.paused(UnixMillis(50)), Pause::All);
        clients.resume();
        assert_eq!(clients.paused(UnixMillis(50)), Pause::Writes);
        clients.hold_writes(false);
        assert!(!clients.may_be_paused());
    }
}
