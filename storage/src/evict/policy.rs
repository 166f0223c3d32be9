//! What goes and what stays: pure functions of how often a key was asked for.

/// Which keys go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvictionOrder {
    /// S3-FIFO: new keys have to prove themselves.
    S3Fifo,
    /// Those not asked for since their segment was last looked at: a clock.
    Lru,
    /// The same with a count that falls by one each time.
    Lfu,
    /// Those of a random segment.
    Random,
    /// Of each segment the half that expires soonest.
    Ttl,
}

/// Which keys are evicted, and in what order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EvictionPolicy {
    /// The order.
    pub order: EvictionOrder,
    /// Only keys that have an expiry go.
    pub volatile_only: bool,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays, and counts as asked for so many times from now on.
    Stays(u8),
    /// It goes.
    Goes,
    /// It goes, and is remembered for a while.
    Remembered,
}

/// Times that a new key must have been asked for to leave its probation.
pub(super) const PROVEN: u8 = 2;

impl EvictionOrder {
    const ALL: [Self; 5] = [Self::S3Fifo, Self::Lru, Self::Lfu, Self::Random, Self::Ttl];

    /// Whether it asks how often a key was used.
    pub(crate) fn counts_use(self) -> bool {
        matches!(self, Self::S3Fifo | Self::Lru | Self::Lfu)
    }

    /// Judges a key that was asked for `used` times; `main`: it has passed its probation.
    pub(super) fn judge(self, main: bool, used: u8) -> Verdict {
        match self {
            Self::S3Fifo if !main => {
                if used >= PROVEN {
                    Verdict::Stays(used - PROVEN)
                } else {
                    Verdict::Remembered
                }
            }
            Self::S3Fifo | Self::Lfu if used > 0 => Verdict::Stays(used - 1),
            Self::Lru if used > 0 => Verdict::Stays(0),
            _ => Verdict::Goes,
        }
    }
}

impl EvictionPolicy {
    /// A policy for caches in which any key may go.
    pub const S3_FIFO: Self = Self { order: EvictionOrder::S3Fifo, volatile_only: false };

    /// A number for it, above 0.
    pub(super) fn to_byte(self) -> u8 {
        let order = EvictionOrder::ALL.iter().position(|order| *order == self.order).unwrap_or(0) as u8;
        1 + 2 * order + u8::from(self.volatile_only)
    }

    /// The policy of a number; none of 0.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let number = byte.checked_sub(1)?;
        Some(Self { order: *EvictionOrder::ALL.get(usize::from(number / 2))?, volatile_only: number % 2 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_numbers() {
        for order in EvictionOrder::ALL {
            for volatile_only in [false, true] {
                let policy = EvictionPolicy { order, volatile_only };
                assert_eq!(EvictionPolicy::from_byte(policy.to_byte()), Some(policy));
            }
        }
        assert_eq!(EvictionPolicy::from_byte(0), None);
        assert_eq!(EvictionPolicy::from_byte(11), None);
    }

    #[test]
    fn probation_is_passed_by_what_was_asked_for_twice() {
        let probation = |used| EvictionOrder::S3Fifo.judge(false, used);
        assert_eq!([0, 1, 2, 3].map(probation), [Verdict::Remembered, Verdict::Remembered, Verdict::Stays(0), Verdict::Stays(1)]);
    }

    #[test]
    fn each_order_forgets_in_its_way() {
        let main = |order: EvictionOrder| [0, 1, 3].map(|used| order.judge(true, used));
        assert_eq!(main(EvictionOrder::S3Fifo), [Verdict::Goes, Verdict::Stays(0), Verdict::Stays(2)]);
        assert_eq!(main(EvictionOrder::Lfu), [Verdict::Goes, Verdict::Stays(0), Verdict::Stays(2)]);
        assert_eq!(main(EvictionOrder::Lru), [Verdict::Goes, Verdict::Stays(0), Verdict::Stays(0)]);
        assert_eq!(main(EvictionOrder::Random), [Verdict::Goes; 3]);
    }
}
