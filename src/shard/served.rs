//! The shard that is in service, and what becomes of it when another takes its place.
//!
//! Invariants:
//! - Numbers only grow: what a connection keeps of a shard between turns (watched versions, fetched records, uploaded values) is worth
//!   something only to the shard of the same number.
//! - A shard is closed when nobody uses it any more, and never on a thread that serves clients.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use esker_storage::error::Result;
use esker_storage::shard::Shard;

/// How often whoever closes a retired shard looks whether it is still used.
const STILL_USED: Duration = Duration::from_millis(1);

/// A shard in service.
pub struct Served {
    shard: Shard,
    number: u64,
}

impl Served {
    pub(crate) fn new(shard: Shard, number: u64) -> Self {
        Self { shard, number }
    }

    /// Tells it from those that were in service before: 1 for the first.
    #[inline]
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Deref for Served {
    type Target = Shard;

    #[inline]
    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A shard that was replaced. Commands and waits that began on it may still be under way.
#[derive(Debug)]
#[must_use = "close it: dropped, it is closed by whoever uses it last, which may be a thread that serves clients"]
pub struct Retired(pub(super) Arc<Served>);

impl Retired {
    /// Waits until nobody uses the shard, then closes it and gives its directory free. Blocks the thread, for as long as the longest
    /// command or wait on it takes.
    ///
    /// # Errors
    /// As [`Shard::close`].
    pub fn close(self) -> Result<()> {
        let mut shard = self.0;
        loop {
            match Arc::try_unwrap(shard) {
                Ok(unused) => return unused.shard.close(),
                Err(used) => shard = used,
            }
            std::thread::sleep(STILL_USED);
        }
    }
}
