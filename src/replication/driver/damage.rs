//! When a replica asks its primary for what it cannot read any more of its own log.

use std::time::{Duration, Instant};

use esker_storage::shard::Shard;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);
/// How long what could not be mended is left alone: the primary may be damaged in the same place, or have no room.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is known of it.
#[derive(Debug)]
pub(super) struct Damage {
    next_look: Instant,
    told: Option<Instant>,
}

impl Default for Damage {
    fn default() -> Self {
        Self { next_look: Instant::now(), told: None }
    }
}

impl Damage {
    /// Whether there is some that the primary was not told of lately.
    fn is_to_be_told(&self, shard: &Shard) -> bool {
        self.told.is_none_or(|told| told.elapsed() >= PATIENCE) && shard.is_damaged()
    }

    /// The same, for who asks often.
    pub(super) fn is_found(&mut self, shard: &Shard) -> bool {
        let looks = Instant::now() >= self.next_look;
        if looks {
            self.next_look = Instant::now() + LOOK;
        }
        looks && self.is_to_be_told(shard)
    }

    /// Whether to tell the primary now.
    pub(super) fn tell(&mut self, shard: &Shard) -> bool {
        let tells = self.is_to_be_told(shard);
        if tells {
            self.told = Some(Instant::now());
        }
        tells
    }

    /// A copy is in service: whether that has mended something.
    pub(super) fn mended(&mut self) -> bool {
        self.told.take().is_some()
    }
}
