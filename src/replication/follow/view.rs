//! How a replica's link is, for those who only look.

use esker_storage::types::{Lsn, NodeId, UnixMillis};

use super::{Follow, Phase, Refused};
use crate::replication::status::LinkState;
use crate::replication::time::Millis;

impl Follow {
    /// The primary, once it has said who it is.
    #[must_use]
    pub fn primary(&self) -> Option<NodeId> {
        self.primary
    }

    /// What the primary's mode has promised, as far as this replica knows.
    #[must_use]
    pub fn committed(&self) -> Lsn {
        self.committed
    }

    /// What clients may read.
    #[must_use]
    pub fn readable(&self) -> Lsn {
        self.committed.min(self.local.applied)
    }

    /// What the primary's log goes up to, and its wall clock, as far as this replica knows.
    #[must_use]
    pub fn primary_written(&self) -> (Lsn, UnixMillis) {
        (self.primary_written, self.primary_time)
    }

    /// What was handed on of the log.
    #[must_use]
    pub fn received(&self) -> Lsn {
        self.received
    }

    /// When the primary was heard last.
    #[must_use]
    pub fn heard(&self) -> Millis {
        self.heard
    }

    /// Whether the log comes in.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        matches!(self.phase, Phase::Streaming)
    }

    /// Why the primary does not serve this replica, if it said so last.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// Bytes of a snapshot that came in on this connection, and bytes that are still to come.
    #[must_use]
    pub fn fetching(&self) -> Option<(u64, u64)> {
        if let Phase::Fetching(fetch) = &self.phase { Some((fetch.fetched(), fetch.missing())) } else { None }
    }

    /// Where the link is, as INFO tells it.
    #[must_use]
    pub fn state(&self) -> LinkState {
        match self.phase {
            Phase::Idle => LinkState::Connect,
            Phase::Standing | Phase::Greeting(_) => LinkState::Connecting,
            Phase::Streaming => LinkState::Connected,
            _ => LinkState::Sync,
        }
    }
}
