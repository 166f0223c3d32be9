//! What replication tells of itself: this server's part in it, and the replicas that follow it. Whoever drives the links fills it in;
//! INFO, ROLE and the refusal of commands read it. Data only: no sockets, no clocks.
//!
//! Invariants: of a replica, `applied <= received <= sent` and `flushed <= received`, as far as it has told.

use std::collections::BTreeMap;

use esker_storage::types::Lsn;

use super::time::Millis;
use super::trail::{Lag, Trail};

/// The state of a replica's link to its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkState {
    /// It is to be connected.
    #[default]
    Connect,
    /// It is being connected, or the two are finding out what the replica lacks.
    Connecting,
    /// What the replica lacks of the past is under way.
    Sync,
    /// The replica follows.
    Connected,
}

impl LinkState {
    /// Its name, as ROLE tells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Connecting => "connecting",
            Self::Sync => "sync",
            Self::Connected => "connected",
        }
    }
}

/// How much of what a replica lacks of the past has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes in all.
    pub total: u64,
    /// Those that have arrived.
    pub arrived: u64,
    /// When the last of them did.
    pub last_io: Millis,
}

impl Progress {
    /// The share that has arrived, in percent.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.arrived as f64 * 100.0 / self.total as f64 }
    }
}

/// A replica's link to its primary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// The primary's host, as REPLICAOF was given it.
    pub host: String,
    /// Its port.
    pub port: u16,
    state: LinkState,
    /// Since when it is not connected; none: it never was.
    down_since: Option<Millis>,
    /// When something was heard last.
    pub last_io: Option<Millis>,
    /// While the past is under way.
    pub progress: Option<Progress>,
    /// The last entry that was received.
    pub received: Lsn,
}

impl Link {
    /// Its state.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// Changes its state.
    pub fn set_state(&mut self, state: LinkState, now: Millis) {
        match (self.state, state) {
            (_, LinkState::Connected) => self.down_since = None,
            (LinkState::Connected, _) => self.down_since = Some(now),
            _ => {}
        }
        if state != LinkState::Sync {
            self.progress = None;
        }
        self.state = state;
    }

    /// Whether the replica follows.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == LinkState::Connected
    }

    /// For how long it is not connected; none: it never was, or is.
    #[must_use]
    pub fn down_for(&self, now: Millis) -> Option<Millis> {
        self.down_since.map(|since| now - since)
    }
}

/// A server's part in replication.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Role {
    /// It takes writes.
    #[default]
    Primary,
    /// It follows a primary.
    Replica(Link),
}

/// What a primary is doing for a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplicaState {
    /// Finding out what it lacks.
    #[default]
    Wait,
    /// Sending it the past.
    Sync,
    /// Sending it what is written.
    Online,
}

impl ReplicaState {
    /// Its name, as INFO tells it: Redis's words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait_bgsave",
            Self::Sync => "send_bulk",
            Self::Online => "online",
        }
    }
}

/// A replica of this server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replica {
    /// Its address: the one that it is seen at, or the one that it told.
    pub address: String,
    /// The port that it told.
    pub port: u16,
    /// What is being done for it.
    pub state: ReplicaState,
    /// The last entry that was sent to it.
    pub sent: Lsn,
    /// The last entry in its log.
    pub received: Lsn,
    /// The last entry that survives its loss of power.
    pub flushed: Lsn,
    /// The last entry that its readers see.
    pub applied: Lsn,
    /// When it was heard of last.
    pub last_ack: Option<Millis>,
}

impl Replica {
    /// It told how far it is.
    pub fn acknowledge(&mut self, received: Lsn, flushed: Lsn, applied: Lsn, now: Millis) {
        self.received = received;
        self.flushed = flushed;
        self.applied = applied;
        self.last_ack = Some(now);
        debug_assert!(flushed <= received && applied <= received, "{self:?}");
    }

    /// Whole seconds since it was heard of last.
    #[must_use]
    pub fn silence(&self, now: Millis) -> u64 {
        self.last_ack.map_or(0, |last| (now - last).0 / 1000)
    }

    /// Whether it follows, and was heard of in the last so many seconds.
    #[must_use]
    pub fn is_good(&self, now: Millis, max_seconds: u32) -> bool {
        self.state == ReplicaState::Online && self.last_ack.is_some() && self.silence(now) <= u64::from(max_seconds)
    }
}

/// How far a coordinated failover is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failover {
    /// There is none.
    #[default]
    None,
    /// Clients are held back until the replica has all.
    WaitingForSync,
    /// The replica is being told to take over.
    InProgress,
}

impl Failover {
    /// Its name, as INFO tells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "no-failover",
            Self::WaitingForSync => "waiting-for-sync",
            Self::InProgress => "failover-in-progress",
        }
    }
}

/// All that replication tells of itself.
#[derive(Debug, Default)]
pub struct Status {
    /// This server's part.
    pub role: Role,
    /// Those that follow it, by numbers of the driver's choice; INFO lists them in their order.
    pub replicas: BTreeMap<u64, Replica>,
    /// When how much was written.
    pub trail: Trail,
    /// FAILOVER, as far as it is.
    pub failover: Failover,
    /// Whether this node lost power, and may lack what it promised.
    pub may_lack: bool,
    /// Whether what arrived is being brought into place, so that reads have to wait.
    pub loading: bool,
    /// Replicas that were sent all there is, since the start.
    pub full_syncs: u64,
    /// Replicas that were sent what they lacked and no more, since the start.
    pub partial_syncs: u64,
    /// Replicas that were sent what differed.
    pub differences: u64,
    /// How often what was damaged here was mended from the primary.
    pub repairs: u64,
    /// Files of entries that were set aside because they were not the primary's.
    pub divergent_files: u64,
}

impl Status {
    /// It follows this primary from now on.
    pub fn follow(&mut self, host: &str, port: u16) {
        self.role = Role::Replica(Link { host: host.to_owned(), port, ..Link::default() });
    }

    /// It is a primary from now on.
    pub fn lead(&mut self) {
        self.role = Role::Primary;
        self.loading = false;
    }

    /// Whether it is a primary that serves nobody, as it may lack what it promised and other nodes may have it.
    #[must_use]
    pub fn awaits_promotion(&self) -> bool {
        self.may_lack && self.role == Role::Primary
    }

    /// The link to the primary, if this server is a replica.
    #[must_use]
    pub fn link(&self) -> Option<&Link> {
        match &self.role {
            Role::Primary => None,
            Role::Replica(link) => Some(link),
        }
    }

    /// The same, to be changed.
    pub fn link_mut(&mut self) -> Option<&mut Link> {
        match &mut self.role {
            Role::Primary => None,
            Role::Replica(link) => Some(link),
        }
    }

    /// Replicas that follow and were heard of in the last so many seconds.
    #[must_use]
    pub fn good_replicas(&self, now: Millis, max_seconds: u32) -> usize {
        self.replicas.values().filter(|replica| replica.is_good(now, max_seconds)).count()
    }

    /// What a loss of this server would cost now: what the replica lacks that lacks least, of those that could be promoted. None: there
    /// is none.
    #[must_use]
    pub fn loss_window(&self, now: Millis, written: Lsn) -> Option<Lag> {
        let online = self.replicas.values().filter(|replica| replica.state == ReplicaState::Online);
        online.map(|replica| replica.received).max().map(|reached| self.trail.lag(now, written, reached))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn online(received: u64, last_ack: Millis) -> Replica {
        let mut replica = Replica { state: ReplicaState::Online, ..Replica::default() };
        replica.acknowledge(Lsn(received), Lsn(received), Lsn(received), last_ack);
        replica
    }

    #[test]
    fn a_link_knows_since_when_it_is_down() {
        let mut status = Status::default();
        status.follow("h", 1);
        let link = status.link_mut().expect("a replica has a link");
        assert_eq!(link.down_for(Millis(5)), None, "it never was up");
        link.set_state(LinkState::Sync, Millis(5));
        link.progress = Some(Progress { total: 200, arrived: 50, last_io: Millis(6) });
        assert!((link.progress.unwrap_or_default().percent() - 25.0).abs() < 1e-9);
        link.set_state(LinkState::Connected, Millis(10));
        assert_eq!((link.down_for(Millis(20)), link.progress), (None, None));
        link.set_state(LinkState::Connect, Millis(30));
        link.set_state(LinkState::Connecting, Millis(40));
        assert_eq!(link.down_for(Millis(50)), Some(Millis(20)));
    }

    #[test]
    fn replicas_count_while_they_follow_and_are_heard_of() {
        let mut status = Status::default();
        status.replicas.insert(1, online(5, Millis(10_000)));
        status.replicas.insert(2, Replica { state: ReplicaState::Sync, ..online(5, Millis(10_000)) });
        status.replicas.insert(3, Replica { state: ReplicaState::Online, ..Replica::default() });
        assert_eq!(status.good_replicas(Millis(20_999), 10), 1);
        assert_eq!(status.good_replicas(Millis(21_000), 10), 0);
    }

    #[test]
    fn a_loss_costs_what_the_best_replica_lacks() {
        let mut status = Status::default();
        for n in 1..=10 {
            status.trail.note(Millis(n), Lsn(n), n * 100);
        }
        assert_eq!(status.loss_window(Millis(12), Lsn(10)), None);
        status.replicas.insert(1, online(4, Millis(12)));
        status.replicas.insert(2, online(8, Millis(12)));
        status.replicas.insert(3, Replica { state: ReplicaState::Sync, ..online(10, Millis(12)) });
        assert_eq!(status.loss_window(Millis(12), Lsn(10)), Some(Lag { entries: 2, bytes: 200, millis: 3 }));
    }
}
