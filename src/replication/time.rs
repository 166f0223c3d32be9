//! The time that state machines are told.

use std::fmt;
use std::ops::{Add, Sub};

use esker_storage::types::UnixMillis;

/// Milliseconds on a clock that never goes back, since a moment of the driver's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For pauses and limits.
    pub at: Millis,
    /// For people and other nodes; it may jump.
    pub wall: UnixMillis,
}

impl Add for Millis {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Millis {
    type Output = Self;

    /// Zero where `other` is later: a tick may be handled after a message that came in meanwhile.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
