//! The limit on live data, as those see it who read and write.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::figures::Counts;
use super::ghosts::Ghosts;
use super::policy::{EvictionOrder, EvictionPolicy, PROVEN};
use super::queue::is_main;
use super::{EvictedListener, EvictionFigures, OverListener};
use crate::types::{Db, KeyHash};

/// What the thread that evicts and everybody else share.
#[derive(Default)]
pub(crate) struct Limit {
    /// Bytes of live data; 0: no limit.
    bytes: AtomicU64,
    policy: AtomicU8,
    /// Whether ghosts are asked.
    asks_ghosts: AtomicBool,
    pub(super) ghosts: Ghosts,
    /// There is more data than the limit, and nothing goes.
    over: AtomicBool,
    delay_micros: AtomicU64,
    pub(super) counts: Counts,
    listener: OnceLock<EvictedListener>,
    over_listener: OnceLock<OverListener>,
}

impl Limit {
    /// Bytes of live data that are allowed; 0: no limit.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Relaxed);
    }

    /// The policy; none: nothing is evicted.
    pub(crate) fn policy(&self) -> Option<EvictionPolicy> {
        EvictionPolicy::from_byte(self.policy.load(Relaxed))
    }

    pub(crate) fn set_policy(&self, policy: Option<EvictionPolicy>) {
        self.policy.store(policy.map_or(0, EvictionPolicy::to_byte), Relaxed);
        self.asks_ghosts.store(policy.is_some_and(|policy| policy.order == EvictionOrder::S3Fifo), Relaxed);
    }

    /// A key is about to be there that was not. Returns with how many uses it starts: what failed its probation not long ago, with those that
    /// it takes to pass the next.
    #[inline]
    pub(crate) fn head_start(&self, hash: KeyHash) -> u8 {
        if self.asks_ghosts.load(Relaxed) && self.ghosts.take(hash) {
            self.counts.ghosts.fetch_add(1, Relaxed);
            return PROVEN;
        }
        0
    }

    /// How many uses a write counts for that takes the place of a record in a segment of this stamp: its new record is in probation, where it
    /// must not lose what the key has proved.
    #[inline]
    pub(crate) fn uses_of_overwrite(&self, stamp: u64) -> u8 {
        if self.asks_ghosts.load(Relaxed) && is_main(stamp) { 1 + PROVEN } else { 1 }
    }

    /// Whether writes that need room are to be refused.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub(super) fn set_over(&self, over: bool) {
        if self.over.swap(over, Relaxed) != over
            && let Some(listener) = self.over_listener.get()
        {
            listener(over);
        }
    }

    pub(crate) fn on_over(&self, listener: OverListener) {
        let _ = self.over_listener.set(listener);
    }

    /// How long whoever has just written should pause, so that eviction keeps up; none as a rule.
    #[inline]
    pub(crate) fn write_delay(&self) -> Option<Duration> {
        let micros = self.delay_micros.load(Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    pub(super) fn set_write_delay(&self, delay: Duration) {
        self.delay_micros.store(delay.as_micros() as u64, Relaxed);
    }

    pub(crate) fn on_evicted(&self, listener: EvictedListener) {
        let _ = self.listener.set(listener);
    }

    /// A key was evicted; called under its stripe's lock.
    pub(super) fn evicted(&self, db: Db, key: &[u8]) {
        if let Some(listener) = self.listener.get() {
            listener(db, key);
        }
    }

    pub(crate) fn figures(&self) -> EvictionFigures {
        self.counts.figures()
    }

    pub(crate) fn reset_figures(&self) {
        self.counts.reset();
    }
}

/// Longest pause after a batch of writes.
const LONGEST: Duration = Duration::from_millis(50);

/// How long to pause when there is `used` of `limit` bytes of live data, written in segments of `segment` bytes: nothing up to the limit, more
/// and more within the next 16 segments.
pub(super) fn delay(used: u64, limit: u64, segment: u64) -> Duration {
    let beyond = used.saturating_sub(limit) as f64 / (16.0 * segment.max(1) as f64);
    LONGEST.mul_f64(beyond.min(1.0).powi(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::queue::main_stamp;
    use crate::types::Lsn;

    #[test]
    fn only_those_pause_who_are_beyond_the_limit() {
        assert_eq!(delay(100, 100, 10), Duration::ZERO);
        assert!(delay(110, 100, 10) < Duration::from_millis(1));
        assert!(delay(180, 100, 10) > Duration::from_millis(10));
        assert_eq!(delay(10_000, 100, 10), LONGEST);
    }

    #[test]
    fn a_ghost_and_what_has_proved_itself_start_with_a_pass() {
        let (limit, hash) = (Limit::default(), KeyHash(77));
        let main = main_stamp(Lsn(5));
        assert_eq!((limit.head_start(hash), limit.uses_of_overwrite(main)), (0, 1), "nothing is in probation");
        limit.set_policy(Some(EvictionPolicy::S3_FIFO));
        limit.ghosts.reserve(100);
        assert_eq!(limit.head_start(hash), 0);
        limit.ghosts.add(hash);
        assert_eq!((limit.head_start(hash), limit.head_start(hash)), (PROVEN, 0));
        assert_eq!(limit.figures().ghosts, 1);
        assert_eq!((limit.uses_of_overwrite(main), limit.uses_of_overwrite(5)), (1 + PROVEN, 1));
    }
}
