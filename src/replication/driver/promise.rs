//! What the mode promises: how far the log is committed, who waits for that, and who acknowledged how much.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use esker_storage::types::{Lsn, NodeId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::{Hot, ReplicationMode};
use crate::net::{Durability, Flushed};
use crate::replication::commit::{Commit, Mode};
use crate::replication::wire::Ack;

/// How far the log in service is committed.
pub(crate) struct Promise {
    /// Waiters for the committed LSN, as those for the flushed one are kept.
    pub(crate) waiters: Arc<Durability>,
    state: Mutex<State>,
    /// Somebody acknowledged.
    acknowledged: Notify,
    /// Readers may see more.
    moved: Notify,
}

/// What is committed after something has changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committed {
    pub(crate) lsn: Lsn,
    /// Whether that is more than before.
    pub(crate) moved: bool,
}

struct State {
    commit: Commit,
    /// On a replica: what the primary says.
    heard: Lsn,
    /// The word of the shard in service.
    word: Arc<Flushed>,
}

/// The mode as the options have it.
pub(super) fn mode(hot: &Hot) -> Mode {
    match hot.replication_mode() {
        ReplicationMode::Async => Mode::Async,
        ReplicationMode::SemiSync => Mode::SemiSync { acks: hot.min_replicas_to_ack() as usize },
        ReplicationMode::Sync => Mode::Sync { min_in_sync: hot.min_in_sync() as usize },
    }
}

impl Promise {
    pub(crate) fn new(workers: usize) -> Self {
        let word = Arc::new(Flushed::new(0));
        let state = State { commit: Commit::new(Mode::Async, Lsn(0), []), heard: Lsn(0), word };
        Self { waiters: Arc::new(Durability::new(workers)), state: Mutex::new(state), acknowledged: Notify::new(), moved: Notify::new() }
    }

    /// Another log is in service, or this node's part in it has changed: what was acknowledged of the last one says nothing of it.
    /// `members` are those that were in sync before.
    pub(crate) fn begin(&self, mode: Mode, shard: u64, epoch_first: Lsn, members: BTreeSet<NodeId>) {
        let mut state = self.state.lock();
        state.commit = Commit::new(mode, epoch_first, members);
        state.heard = Lsn(0);
        state.word = Arc::new(Flushed::new(shard));
        self.waiters.attach(Arc::clone(&state.word));
        drop(state);
        self.moved.notify_waiters();
    }

    /// The mode was changed.
    pub(crate) fn set_mode(&self, mode: Mode) {
        self.with(|commit| commit.set_mode(mode));
    }

    /// The own log has come so far.
    pub(crate) fn local(&self, written: Lsn, flushed: Lsn) -> Committed {
        self.with(|commit| commit.local(written, flushed))
    }

    /// The primary of this replica says what is committed.
    pub(super) fn told(&self, committed: Lsn) {
        let word = {
            let mut state = self.state.lock();
            state.heard = state.heard.max(committed);
            Arc::clone(&state.word)
        };
        self.waiters.advance(&word, committed);
        self.moved.notify_waiters();
    }

    /// Returns when readers may see more than when this was called, or `is_there` says that they do already.
    pub(super) async fn moved(&self, is_there: impl FnOnce() -> bool) {
        let moved = self.moved.notified();
        tokio::pin!(moved);
        moved.as_mut().enable();
        if !is_there() {
            moved.await;
        }
    }

    /// What the primary of this replica has said is committed.
    pub(super) fn heard(&self) -> Lsn {
        self.state.lock().heard
    }

    pub(super) fn joined(&self, node: NodeId, holds: Lsn) {
        self.with(|commit| commit.joined(node, holds));
    }

    /// A replica has acknowledged. If it is to be a member of the in-sync set, `keep` sees to that it is one after a restart too.
    pub(super) fn acknowledge(&self, node: NodeId, ack: Ack, local: (Lsn, Lsn), keep: impl FnOnce() -> bool) -> Committed {
        let mut committed = self.with(|commit| {
            commit.local(local.0, local.1);
            commit.acknowledged(node, ack.written, ack.flushed)
        });
        // Not under the lock: keeping waits for the medium.
        let admissible = self.state.lock().commit.is_admissible(node);
        if admissible && keep() {
            let admitted = self.with(|commit| commit.admit(node));
            committed = Committed { moved: committed.moved || admitted.moved, ..admitted };
        }
        self.acknowledged.notify_waiters();
        committed
    }

    /// The replicas that are in sync.
    pub(crate) fn members(&self) -> BTreeSet<NodeId> {
        self.state.lock().commit.members().clone()
    }

    pub(super) fn left(&self, node: NodeId) {
        self.state.lock().commit.left(node);
        self.acknowledged.notify_waiters();
    }

    fn with(&self, change: impl FnOnce(&mut Commit) -> Lsn) -> Committed {
        let (before, lsn, word) = {
            let mut state = self.state.lock();
            (state.commit.committed(), change(&mut state.commit), Arc::clone(&state.word))
        };
        self.waiters.advance(&word, lsn);
        // Whoever waits for it looks by calling this: that alone must not wake anybody.
        let moved = lsn > before;
        if moved {
            self.moved.notify_waiters();
        }
        Committed { lsn, moved }
    }

    /// How many replicas have `lsn` in their logs, or on their media.
    #[must_use]
    pub(crate) fn replicas_with(&self, lsn: Lsn, flushed: bool) -> usize {
        let state = self.state.lock();
        if flushed { state.commit.flushed_with(lsn).1 } else { state.commit.replicas_with(lsn) }
    }

    /// Waits until so many replicas have `lsn`, for no longer than `patience` (none: for ever), and returns how many do.
    pub(crate) async fn replicas(&self, lsn: Lsn, flushed: bool, wanted: usize, patience: Option<Duration>) -> usize {
        let enough = async {
            loop {
                let changed = self.acknowledged.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.replicas_with(lsn, flushed) >= wanted {
                    return;
                }
                changed.await;
            }
        };
        match patience {
            Some(patience) => drop(tokio::time::timeout(patience, enough).await),
            None => enough.await,
        }
        self.replicas_with(lsn, flushed)
    }
}
