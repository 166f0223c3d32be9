//! How much of the past is kept: from which LSN on every state can still be told.

use std::time::Duration;

use crate::log::{Log, Segment};
use crate::types::{Lsn, UnixMillis};

/// From this share of the space in use on, without what cleaning is about to give back, the past gives way to the present: bit by bit, so that as much of it stays as there is room for.
const GIVES_WAY: f64 = 0.85;
/// From this share on nothing of it is kept: soon after, there is no room for the present.
const GONE: f64 = 0.94;

/// How much of the past cleaning leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HistoryRetention {
    /// Nothing.
    #[default]
    Off,
    /// What the last so many bytes of the log superseded.
    Bytes(u64),
    /// What was superseded in this time.
    Time(Duration),
}

impl HistoryRetention {
    /// What is left of it when so much of the space is in use; the part that is left, 1 as a rule.
    pub(crate) fn within(self, share: f64) -> (Self, f64) {
        let part = ((GONE - share) / (GONE - GIVES_WAY)).clamp(0.0, 1.0);
        let kept = match self {
            _ if part == 0.0 => Self::Off,
            Self::Off => Self::Off,
            Self::Bytes(bytes) => Self::Bytes((bytes as f64 * part) as u64),
            Self::Time(time) => Self::Time(time.mul_f64(part)),
        };
        (kept, part)
    }

    /// The state as of this LSN, and of every later one, is to stay; [`Lsn`]'s greatest: none. A whole number of segments is left alone.
    pub(crate) fn pin(self, log: &Log, now: UnixMillis) -> Lsn {
        let segments = log.segments().in_order();
        let newest_first = segments.iter().rev();
        match self {
            Self::Off | Self::Bytes(0) => Lsn(u64::MAX),
            Self::Bytes(bytes) => {
                let mut sum = 0;
                let begins = newest_first.map(|segment| (segment, segment.map().written() as u64)).find(|(_, written)| {
                    sum += written;
                    sum >= bytes
                });
                before(begins.map(|(segment, _)| segment))
            }
            Self::Time(time) => {
                let since = UnixMillis(now.0.saturating_sub_unsigned(time.as_millis() as u64));
                let mut begun = newest_first.filter(|segment| segment.first_time().is_some_and(|first| first <= since));
                before(begun.next())
            }
        }
    }
}

/// The LSN before a segment; without one all is kept.
fn before(segment: Option<&std::sync::Arc<Segment>>) -> Lsn {
    Lsn(segment.and_then(|segment| segment.base_lsn()).map_or(0, |base| base.0.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_gives_way_bit_by_bit_as_the_space_runs_out() {
        let kept = |share| HistoryRetention::Bytes(1000).within(share).0;
        assert_eq!(kept(0.0), HistoryRetention::Bytes(1000));
        assert_eq!(kept(0.85), HistoryRetention::Bytes(1000));
        assert!(matches!(kept(0.9), HistoryRetention::Bytes(400..500)));
        assert_eq!(kept(0.95), HistoryRetention::Off);
        let hour = HistoryRetention::Time(Duration::from_secs(3600));
        assert!(matches!(hour.within(0.93).0, HistoryRetention::Time(left) if left < Duration::from_secs(500)));
    }
}
