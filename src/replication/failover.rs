//! Who a primary may hand its part over to: the rules of FAILOVER, without IO.
//!
//! Invariants: without force nobody is chosen who lacks an entry.

use std::time::Duration;

use esker_storage::types::Lsn;

use super::status::{Failover, Replica, ReplicaState, Status};

/// What a FAILOVER asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The replica, by the address that INFO tells; none: whoever has everything first.
    pub target: Option<(String, u16)>,
    /// For how long to wait for the replica; none: for ever.
    pub timeout: Option<Duration>,
    /// After the timeout the replica takes over with what it has.
    pub force: bool,
}

impl Wish {
    fn means(&self, replica: &Replica) -> bool {
        self.target.as_ref().is_none_or(|(host, port)| replica.address == *host && replica.port == *port)
    }

    /// Why it cannot begin; Redis's texts.
    #[must_use]
    pub fn refusal(&self, status: &Status) -> Option<&'static str> {
        let mut meant = status.replicas.values().filter(|replica| self.means(replica)).peekable();
        let there_is_one = meant.peek().is_some();
        if status.failover != Failover::None {
            Some("ERR FAILOVER already in progress.")
        } else if status.link().is_some() {
            Some("ERR FAILOVER is not valid when server is a replica.")
        } else if status.replicas.is_empty() {
            Some("ERR FAILOVER requires connected replicas.")
        } else if !there_is_one {
            Some("ERR FAILOVER target HOST and PORT is not a replica.")
        } else if self.target.is_some() && !meant.any(|replica| replica.state == ReplicaState::Online) {
            Some("ERR FAILOVER target replica is not online.")
        } else {
            None
        }
    }

    /// The link of a replica that has all up to `lsn`: the one that has most, and of those the oldest link.
    #[must_use]
    pub fn candidate(&self, status: &Status, lsn: Lsn) -> Option<u64> {
        let online = status.replicas.iter().filter(|(_, replica)| replica.state == ReplicaState::Online && self.means(replica));
        let has_all = online.filter(|(_, replica)| replica.received >= lsn);
        has_all.min_by_key(|(number, replica)| (std::cmp::Reverse(replica.received), **number)).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(target: Option<(&str, u16)>) -> Wish {
        Wish { target: target.map(|(host, port)| (host.to_owned(), port)), timeout: None, force: false }
    }

    fn replica(port: u16, state: ReplicaState, received: u64) -> Replica {
        Replica { address: "h".to_owned(), port, state, received: Lsn(received), ..Replica::default() }
    }

    fn status() -> Status {
        let mut status = Status::default();
        status.replicas.insert(1, replica(1, ReplicaState::Online, 5));
        status.replicas.insert(2, replica(2, ReplicaState::Online, 7));
        status.replicas.insert(3, replica(3, ReplicaState::Sync, 9));
        status
    }

    #[test]
    fn nobody_is_chosen_who_lacks_an_entry() {
        let status = status();
        assert_eq!(wish(None).candidate(&status, Lsn(5)), Some(2));
        assert_eq!(wish(None).candidate(&status, Lsn(8)), None, "the third does not follow yet");
        assert_eq!(wish(Some(("h", 1))).candidate(&status, Lsn(5)), Some(1));
        assert_eq!(wish(Some(("h", 1))).candidate(&status, Lsn(6)), None);
    }

    #[test]
    fn what_cannot_begin_is_refused() {
        let mut status = status();
        let refusal = |status: &Status, target| wish(target).refusal(status).unwrap_or_default();
        assert_eq!(refusal(&status, None), "");
        assert_eq!(refusal(&status, Some(("h", 2))), "");
        assert_eq!(refusal(&status, Some(("h", 3))), "ERR FAILOVER target replica is not online.");
        assert_eq!(refusal(&status, Some(("i", 2))), "ERR FAILOVER target HOST and PORT is not a replica.");
        status.failover = Failover::WaitingForSync;
        assert_eq!(refusal(&status, None), "ERR FAILOVER already in progress.");
        assert_eq!(refusal(&Status::default(), None), "ERR FAILOVER requires connected replicas.");
        let mut follows = Status::default();
        follows.follow("h", 1);
        assert_eq!(refusal(&follows, None), "ERR FAILOVER is not valid when server is a replica.");
    }
}
