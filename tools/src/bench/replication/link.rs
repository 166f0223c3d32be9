//! What a link does to what it carries, without sockets and clocks.
//!
//! Invariant: bytes of one connection arrive in their order, and none before they have travelled for the delay.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

/// Bytes that one packet carries: what an Ethernet frame leaves TCP with timestamps.
const SEGMENT: usize = 1448;

/// A link, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    /// How long a byte travels, one way.
    pub(super) delay: Duration,
    /// Bytes a second; none: no limit.
    pub(super) rate: Option<f64>,
    /// Share of the segments that are lost on their way. Each is there a round trip later than it would have been, and so is all behind it.
    pub(super) loss: f64,
}

impl Shape {
    /// Whether it changes nothing.
    pub(super) fn is_plain(&self) -> bool {
        self.delay.is_zero() && self.rate.is_none() && self.loss == 0.0
    }

    fn round_trip(&self) -> Duration {
        2 * self.delay
    }
}

/// One direction of a link, which all its connections share. Times are since its start.
#[derive(Debug)]
pub(super) struct Lane {
    shape: Shape,
    /// When what was sent so far is on its way.
    free_at: Duration,
    rng: SmallRng,
}

/// When a piece may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    /// When its last byte has left the sender.
    pub(super) sent: Duration,
    /// When it is at the other end, unless something before it is late.
    pub(super) due: Duration,
}

impl Lane {
    pub(super) fn new(shape: Shape, rng: SmallRng) -> Self {
        Self { shape, free_at: Duration::ZERO, rng }
    }

    /// A piece of so many bytes is there to be sent.
    pub(super) fn send(&mut self, now: Duration, bytes: usize) -> Passage {
        let takes = self.shape.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 / rate));
        let sent = self.free_at.max(now) + takes;
        self.free_at = sent;
        let segments = bytes.div_ceil(SEGMENT);
        let lost = self.shape.loss > 0.0 && (0..segments).any(|_| self.rng.random::<f64>() < self.shape.loss);
        let again = if lost { self.shape.round_trip() } else { Duration::ZERO };
        Passage { sent, due: sent + self.shape.delay + again }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn lane(delay: u64, rate: Option<f64>, loss: f64) -> Lane {
        Lane::new(Shape { delay: Duration::from_millis(delay), rate, loss }, SmallRng::seed_from_u64(1))
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_sent_is_there_a_delay_later() {
        let mut lane = lane(5, None, 0.0);
        assert_eq!(lane.send(10 * MS, 1_000_000), Passage { sent: 10 * MS, due: 15 * MS });
        assert_eq!(lane.send(10 * MS, 1), Passage { sent: 10 * MS, due: 15 * MS });
    }

    #[test]
    fn a_rate_is_kept_and_time_without_traffic_is_not_saved_up() {
        let mut lane = lane(5, Some(1e6), 0.0);
        assert_eq!(lane.send(Duration::ZERO, 1000).due, 6 * MS);
        assert_eq!(lane.send(Duration::ZERO, 2000).due, 8 * MS, "behind the first");
        assert_eq!(lane.send(100 * MS, 1000), Passage { sent: 101 * MS, due: 106 * MS });
    }

    #[test]
    fn a_lost_segment_is_late_by_a_round_trip() {
        assert_eq!(lane(5, None, 1.0).send(Duration::ZERO, 1).due, 15 * MS);
        let mut some = lane(5, None, 0.1);
        let late = (0..10_000).filter(|_| some.send(Duration::ZERO, SEGMENT).due == 15 * MS).count();
        assert!((800..1200).contains(&late), "{late}");
        let late = (0..10_000).filter(|_| some.send(Duration::ZERO, 10 * SEGMENT).due == 15 * MS).count();
        assert!((6200..6800).contains(&late), "one of ten in 65 %: {late}");
    }
}
