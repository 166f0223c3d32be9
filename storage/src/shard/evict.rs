//! Eviction as the shard has it: its limit, its policy, its figures.

use std::convert::Infallible;
use std::time::Duration;

use super::Shard;
use crate::error::Result;
use crate::evict::{EvictedListener, EvictionFigures, EvictionPolicy, OverListener};
use crate::index::{CellRef, Stripe, TableSlot};
use crate::types::{KeyHash, Location};

impl Shard {
    /// Changes the limit on live data: bytes of keys and values, with [`KEY_BYTES`](crate::evict::KEY_BYTES) for each key; 0: none.
    pub fn set_data_limit(&self, bytes: u64) {
        self.eviction.limit().set_bytes(bytes);
        self.eviction.wake();
    }

    /// Changes what is evicted when a limit is reached; none: nothing.
    pub fn set_eviction(&self, policy: Option<EvictionPolicy>) {
        self.eviction.limit().set_policy(policy);
        self.index.count_uses(policy.is_some_and(|policy| policy.order.counts_use()));
        self.eviction.wake();
    }

    /// What is evicted when a limit is reached.
    #[must_use]
    pub fn eviction(&self) -> Option<EvictionPolicy> {
        self.eviction.limit().policy()
    }

    /// Whether there is more data than its limit allows and nothing that may be evicted: then whoever wants to write more is refused.
    #[inline]
    #[must_use]
    pub fn is_over_data_limit(&self) -> bool {
        self.eviction.limit().is_over()
    }

    /// How long whoever has just written so many bytes should pause, so that cleaning and eviction keep up; none as a rule.
    #[inline]
    #[must_use]
    pub fn write_delay(&self, bytes: u64) -> Option<Duration> {
        self.log.space().write_delay(bytes).max(self.eviction.limit().write_delay())
    }

    /// The newest record of a key is from now on the one at `location`, in the place of that of `replaced`; under the stripe's lock.
    #[inline]
    pub(super) fn note_write(&self, stripe: &Stripe, table: TableSlot, hash: KeyHash, replaced: Option<CellRef>, location: Location) {
        if self.index.counts_uses() {
            self.count_write(stripe, table, hash, replaced, location);
        }
    }

    fn count_write(&self, stripe: &Stripe, table: TableSlot, hash: KeyHash, replaced: Option<CellRef>, location: Location) {
        let limit = self.eviction.limit();
        if let Some(cell) = replaced {
            let segments = self.log.segments();
            let stamp = segments.get(cell.location().segment()).map_or(0, |segment| segment.stamp());
            self.index.used(&cell, limit.uses_of_overwrite(stamp));
            return;
        }
        let start = limit.head_start(hash);
        let found = || stripe.lookup(&self.index, table, hash, |at| Ok::<_, Infallible>(at == location));
        if start > 0
            && let Ok(Some(cell)) = found()
        {
            self.index.set_uses(&cell, start);
        }
    }

    /// Evicts until the data is within its limits, on this thread.
    ///
    /// # Errors
    /// The log takes no entry; I/O errors; corruption.
    pub fn evict(&self) -> Result<()> {
        self.eviction.run()
    }

    /// What eviction has done since the start.
    #[must_use]
    pub fn eviction_figures(&self) -> EvictionFigures {
        self.eviction.limit().figures()
    }

    /// Counts from zero again.
    pub fn reset_eviction_figures(&self) {
        self.eviction.limit().reset_figures();
    }

    /// Sets who is told when [`is_over_data_limit`](Self::is_over_data_limit) changes; once.
    pub fn on_data_limit(&self, listener: OverListener) {
        self.eviction.limit().on_over(listener);
    }

    /// Sets who is told of keys that are evicted; once.
    pub fn on_evicted(&self, listener: EvictedListener) {
        self.eviction.limit().on_evicted(listener);
    }
}
