//! How many replicas a primary has, and when it acknowledges.

use std::fmt;
use std::str::FromStr;

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// There is no replica.
    None,
    /// When it is in the primary's log.
    Async,
    /// When it is in a replica's log too.
    SemiSync,
    /// When it is durable on every in-sync replica.
    Sync,
}

impl Mode {
    /// Its name as the server's option has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Async => "async",
            Self::SemiSync => "semi-sync",
            Self::Sync => "sync",
        }
    }

    /// What all nodes are started with.
    pub(super) fn options(self) -> Vec<String> {
        let mode = if self == Self::None { Self::Async } else { self };
        vec!["--replication-mode".to_owned(), mode.name().to_owned()]
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::None, Self::Async, Self::SemiSync, Self::Sync];
        all.into_iter().find(|mode| mode.name() == text).ok_or_else(|| format!("{text:?} is none of none, async, semi-sync, sync"))
    }
}

/// A primary and its replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) mode: Mode,
    pub(super) replicas: u32,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Mode::None => write!(f, "none"),
            mode => write!(f, "{} {}", mode.name(), self.replicas),
        }
    }
}
