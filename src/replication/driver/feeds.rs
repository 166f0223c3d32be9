//! All links to replicas: what they share, and what cleaning has to keep for them.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use esker_storage::types::{Lsn, NodeId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::net::Client;
use crate::server::Server;

/// A connection that was a client's, and is a peer's from now on.
pub struct PeerSocket {
    /// The connection.
    pub stream: TcpStream,
    /// What it has sent already.
    pub input: Vec<u8>,
    /// The client that others see it as.
    pub client: Listed,
}

/// A link among the clients of a server, for as long as this lives.
pub struct Listed {
    server: Arc<Server>,
    client: Arc<Client>,
}

impl Listed {
    /// Lists it, in the place of the client of the same id.
    pub(crate) fn new(server: &Arc<Server>, client: Client) -> Self {
        let listed = Self { server: Arc::clone(server), client: Arc::new(client) };
        listed.server.clients.add(Arc::clone(&listed.client));
        listed
    }
}

impl Deref for Listed {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.server.clients.remove(self.client.id);
    }
}

/// What links to replicas share.
#[derive(Default)]
pub(super) struct Feeds {
    last: AtomicU64,
    pins: Mutex<BTreeMap<NodeId, Pin>>,
    /// Links by replica: a second one of the same replica ends the first.
    current: Mutex<BTreeMap<NodeId, u64>>,
    growth: Notify,
    /// All links are to look around.
    calls: Notify,
    /// Whether some link waits for the log to grow.
    waits: AtomicBool,
}

/// What of the log is kept for a replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// All above this.
    pub(super) lsn: Lsn,
    /// Cleaning rests altogether while there is room: what it reads and writes would slow a snapshot down.
    pub(super) rests: bool,
}

struct Pin {
    kept: Kept,
    /// Since when it has no link.
    left: Option<Instant>,
}

impl Feeds {
    /// A number for a new link.
    pub(super) fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The log has grown, or more of it is committed. Cheap as long as no link waits for that.
    #[inline]
    pub(super) fn grown(&self) {
        if self.waits.load(Ordering::Relaxed) && self.waits.swap(false, Ordering::SeqCst) {
            self.growth.notify_waiters();
        }
    }

    /// Returns when the log has grown after this was called, or `has_grown` says that it has already.
    pub(super) async fn growth(&self, has_grown: impl Fn() -> bool) {
        let growth = self.growth.notified();
        tokio::pin!(growth);
        growth.as_mut().enable();
        self.waits.store(true, Ordering::SeqCst);
        if !has_grown() {
            growth.await;
        }
    }

    /// Returns when links are to look around for another reason than that the log has grown.
    pub(super) async fn called(&self) {
        self.calls.notified().await;
    }

    /// The link is this replica's from now on.
    pub(super) fn claim(&self, replica: NodeId, number: u64) {
        self.current.lock().insert(replica, number);
        self.wake();
    }

    /// Has all links look around.
    pub(super) fn wake(&self) {
        self.growth.notify_waiters();
        self.calls.notify_waiters();
    }

    /// The replica's link.
    pub(super) fn link_of(&self, replica: NodeId) -> Option<u64> {
        self.current.lock().get(&replica).copied()
    }

    /// Whether the replica has a newer link.
    pub(super) fn is_superseded(&self, replica: NodeId, number: u64) -> bool {
        self.current.lock().get(&replica).is_some_and(|current| *current != number)
    }

    /// Keeps some of the log for a replica.
    pub(super) fn pin(&self, replica: NodeId, kept: Kept) {
        self.pins.lock().insert(replica, Pin { kept, left: None });
    }

    /// The replica has no link any more.
    pub(super) fn left(&self, replica: NodeId, number: u64) {
        let mut current = self.current.lock();
        if current.get(&replica) == Some(&number) {
            current.remove(&replica);
            if let Some(pin) = self.pins.lock().get_mut(&replica) {
                pin.left = Some(Instant::now());
                pin.kept.rests = false;
            }
        }
    }

    /// Nothing is kept for anybody: the log is another one.
    pub(super) fn forget(&self) {
        self.pins.lock().clear();
        self.wake();
    }

    /// From where on the log is to be kept, when those who left longer than `patience` ago (none: never) are forgotten.
    pub(super) fn pinned(&self, patience: Option<Duration>, has_room: bool) -> Lsn {
        let mut pins = self.pins.lock();
        pins.retain(|_, pin| pin.left.zip(patience).is_none_or(|(left, patience)| left.elapsed() < patience));
        let from = |kept: Kept| if kept.rests && has_room { Lsn(0) } else { kept.lsn };
        pins.values().map(|pin| from(pin.kept)).min().unwrap_or(Lsn(u64::MAX))
    }
}
