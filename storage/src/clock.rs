//! The time of day, and one that tests set. A leaf.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::types::UnixMillis;

/// By which expiry is judged.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's.
    #[default]
    Wall,
    /// What the holder of the number says, in milliseconds since the Unix epoch.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The time.
    #[inline]
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        match self {
            Self::Wall => wall_clock(),
            Self::Manual(now) => UnixMillis(now.load(Ordering::Relaxed)),
        }
    }
}

/// The wall clock.
#[must_use]
pub fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
