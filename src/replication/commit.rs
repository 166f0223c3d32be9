//! What is committed: promised to clients, as the mode says. A pure tracker of how far every copy of the log is.
//!
//! Invariants:
//! - committed ≤ written, and committed never goes back.
//! - Beyond `async`, nothing is committed before an entry of this epoch is: an entry of an earlier one that copies have acknowledged may still
//!   lose against a log that another writer went on with; from the first entry of this epoch on, no such log is chosen.
//! - A member of the in-sync set stays one until it is removed by name, or the mode is another: only `sync` has members.
//! - Nobody is a member before [`Commit::admit`] says so: a driver keeps the set where a restart finds it, and does that first.

use std::collections::{BTreeMap, BTreeSet};

use esker_storage::types::{Lsn, NodeId};

/// What a reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is in the primary's log.
    Async,
    /// It is in the logs of so many replicas too.
    SemiSync {
        /// Replicas, the primary not counted.
        acks: usize,
    },
    /// It survives a loss of power on every in-sync node.
    Sync {
        /// So many of them there have to be, the primary counted.
        min_in_sync: usize,
    },
}

impl Mode {
    /// Whether a set of replicas is kept that all have to have what is promised.
    #[must_use]
    pub fn has_members(self) -> bool {
        matches!(self, Self::Sync { .. })
    }
}

/// How far a replica is in this primary's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// What its log goes up to.
    pub written: Lsn,
    /// What survives a loss of power there.
    pub flushed: Lsn,
    /// Whether it has a link.
    pub linked: bool,
}

/// How far all copies of the log are, seen from the primary.
#[derive(Debug, Clone)]
pub struct Commit {
    mode: Mode,
    epoch_first: Lsn,
    written: Lsn,
    flushed: Lsn,
    replicas: BTreeMap<NodeId, Position>,
    members: BTreeSet<NodeId>,
    committed: Lsn,
}

impl Commit {
    /// Of a primary whose epoch begins at `epoch_first`, with the replicas that are configured to be in sync.
    #[must_use]
    pub fn new(mode: Mode, epoch_first: Lsn, members: impl IntoIterator<Item = NodeId>) -> Self {
        let members = if mode.has_members() { members.into_iter().collect() } else { BTreeSet::new() };
        let replicas = BTreeMap::new();
        Self { mode, epoch_first, written: Lsn(0), flushed: Lsn(0), replicas, members, committed: Lsn(0) }
    }

    /// What is committed.
    #[must_use]
    pub fn committed(&self) -> Lsn {
        self.committed
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The replicas that are in sync, or count as such until they are removed.
    #[must_use]
    pub fn members(&self) -> &BTreeSet<NodeId> {
        &self.members
    }

    /// How far a replica is.
    #[must_use]
    pub fn position(&self, node: NodeId) -> Option<Position> {
        self.replicas.get(&node).copied()
    }

    /// Changes the mode. What was committed stays so: it has been told. What the in-sync set was good for is given up with `sync`.
    pub fn set_mode(&mut self, mode: Mode) -> Lsn {
        self.mode = mode;
        if !mode.has_members() {
            self.members.clear();
        }
        self.advance()
    }

    /// The primary's own log has come so far.
    pub fn local(&mut self, written: Lsn, flushed: Lsn) -> Lsn {
        self.written = self.written.max(written);
        self.flushed = self.flushed.max(flushed).min(self.written);
        self.advance()
    }

    /// A replica has a link, and its log is this one up to `holds`. That may be less than it acknowledged once: it lost the rest.
    pub fn joined(&mut self, node: NodeId, holds: Lsn) -> Lsn {
        let before = self.replicas.get(&node).copied().unwrap_or_default();
        let position = Position { written: holds, flushed: before.flushed.min(holds), linked: true };
        self.replicas.insert(node, position);
        self.advance()
    }

    /// A replica acknowledged.
    pub fn acknowledged(&mut self, node: NodeId, written: Lsn, flushed: Lsn) -> Lsn {
        let position = self.replicas.entry(node).or_default();
        position.written = position.written.max(written);
        position.flushed = position.flushed.max(flushed).min(position.written);
        self.advance()
    }

    /// Whether a replica that is no member has caught up, and is to be one.
    #[must_use]
    pub fn is_admissible(&self, node: NodeId) -> bool {
        let caught_up = |position: &Position| position.flushed >= self.committed && position.flushed >= self.epoch_first;
        self.mode.has_members() && !self.members.contains(&node) && self.replicas.get(&node).is_some_and(caught_up)
    }

    /// Makes a replica a member, if it is still to be one.
    pub fn admit(&mut self, node: NodeId) -> Lsn {
        if self.is_admissible(node) {
            self.members.insert(node);
        }
        self.advance()
    }

    /// A replica has no link any more. What it acknowledged it still holds, and a member it stays.
    pub fn left(&mut self, node: NodeId) {
        if let Some(position) = self.replicas.get_mut(&node) {
            position.linked = false;
        }
    }

    /// Forgets a replica by its operator's word: it is no member, and what it holds does not count.
    pub fn remove(&mut self, node: NodeId) -> Lsn {
        self.members.remove(&node);
        self.replicas.remove(&node);
        self.advance()
    }

    /// How many linked replicas `WAIT` may count for an LSN.
    #[must_use]
    pub fn replicas_with(&self, lsn: Lsn) -> usize {
        self.replicas.values().filter(|position| position.linked && position.written >= lsn).count()
    }

    /// What `WAITAOF` may count for an LSN: whether it is flushed here, and on how many linked replicas.
    #[must_use]
    pub fn flushed_with(&self, lsn: Lsn) -> (bool, usize) {
        let replicas = self.replicas.values().filter(|position| position.linked && position.flushed >= lsn);
        (self.flushed >= lsn, replicas.count())
    }

    fn advance(&mut self) -> Lsn {
        let reached = match self.mode {
            Mode::Async => self.written,
            Mode::SemiSync { acks } => self.of_this_epoch(self.acknowledged_by(acks)),
            Mode::Sync { min_in_sync } => self.of_this_epoch(self.flushed_in_sync(min_in_sync)),
        };
        self.committed = self.committed.max(reached.min(self.written));
        self.committed
    }

    fn of_this_epoch(&self, reached: Lsn) -> Lsn {
        if reached >= self.epoch_first { reached } else { Lsn(0) }
    }

    /// What at least `acks` replicas have in their logs.
    fn acknowledged_by(&self, acks: usize) -> Lsn {
        let mut written: Vec<Lsn> = self.replicas.values().map(|position| position.written).collect();
        written.sort_unstable_by(|one, other| other.cmp(one));
        match acks.checked_sub(1) {
            None => self.written,
            Some(last) => written.get(last).copied().unwrap_or(Lsn(0)),
        }
    }

    /// What every member has flushed, if there are enough of them.
    fn flushed_in_sync(&self, min_in_sync: usize) -> Lsn {
        if self.members.len() + 1 < min_in_sync {
            return Lsn(0);
        }
        let flushed = |node| self.replicas.get(node).map_or(Lsn(0), |position| position.flushed);
        self.members.iter().map(flushed).fold(self.flushed, Lsn::min)
    }
}

#[cfg(test)]
mod tests;
