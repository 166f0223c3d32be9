//! How soon entries go out in the asynchronous mode, where nobody waits for them.
//!
//! A piece costs both sides the same whether it holds one entry or a hundred: a write to the socket, a wake on the other side, an
//! acknowledgement. At some thousands of writes a second that would come to more than the writes themselves. So an entry after a silence goes
//! out at once, and after each piece the link rests for about as long as it takes until some entries share the next one.

use std::time::Duration;

use tokio::time::Instant;

/// So many entries share a piece, if they come soon enough.
const SHARE: u32 = 16;
/// The bounds of a rest. What comes meanwhile is lost with the primary.
const LEAST: Duration = Duration::from_micros(500);
const MOST: Duration = Duration::from_millis(5);

/// The pace of one link.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the last piece went out.
    since: Instant,
    rest: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, rest: now }
    }

    /// A piece with so many entries went out.
    pub(super) fn sent(&mut self, entries: u64, now: Instant) {
        let each = (now - self.since) / u32::try_from(entries.max(1)).unwrap_or(u32::MAX);
        self.rest = now + each.saturating_mul(SHARE).clamp(LEAST, MOST);
        self.since = now;
    }

    /// Until when the link rests, if it does.
    pub(super) fn rest(&self, now: Instant) -> Option<Instant> {
        (self.rest > now).then_some(self.rest)
    }

    /// Somebody waits after all.
    pub(super) fn end_rest(&mut self, now: Instant) {
        self.rest = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_entries_share_a_piece_and_none_waits_for_long() {
        let start = Instant::now();
        let at = |micros| start + Duration::from_micros(micros);
        let mut pace = Pace::new(start);
        assert_eq!(pace.rest(at(1)), None, "the first goes out at once");
        pace.sent(1, at(1_000_000));
        assert_eq!(pace.rest(at(1_000_000)), Some(at(1_000_000) + MOST), "after a silence");
        // 10,000 a second.
        pace.sent(50, at(1_005_000));
        assert_eq!(pace.rest(at(1_005_000)), Some(at(1_006_600)));
        assert_eq!(pace.rest(at(1_006_600)), None);
        pace.sent(1000, at(1_006_600));
        assert_eq!(pace.rest(at(1_006_600)), Some(at(1_006_600) + LEAST));
        pace.end_rest(at(1_006_601));
        assert_eq!(pace.rest(at(1_006_601)), None);
    }
}
