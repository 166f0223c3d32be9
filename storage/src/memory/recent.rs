//! How often each segment was read of late: counts that fade.

use std::collections::HashMap;

use crate::log::Segment;
use crate::types::Generation;

/// What is left of a count at the next look.
const FADE: f64 = 0.8;

/// Recent reads of segments, from memory and from the medium.
#[derive(Default)]
pub(super) struct Recent {
    segments: HashMap<Generation, (f64, f64)>,
    hits: f64,
    hits_before: u64,
    dropped_before: u64,
}

impl Recent {
    /// Takes in what was read since the last look.
    pub(super) fn look<'s>(&mut self, segments: impl Iterator<Item = &'s Segment>) {
        let mut seen = HashMap::with_capacity(self.segments.len());
        for segment in segments {
            let (uses, misses) = self.segments.get(&segment.generation()).copied().unwrap_or_default();
            let (used, missed) = segment.uses().take();
            seen.insert(segment.generation(), (uses * FADE + used as f64, misses * FADE + missed as f64));
        }
        self.segments = seen;
    }

    pub(super) fn of(&self, segment: &Segment) -> (f64, f64) {
        self.segments.get(&segment.generation()).copied().unwrap_or_default()
    }

    /// Whether copies were dropped since the last look; `dropped`: all so far.
    pub(super) fn dropped(&mut self, dropped: u64) -> bool {
        dropped > std::mem::replace(&mut self.dropped_before, dropped)
    }

    /// Recent hits of the copies; `hits`: all so far.
    pub(super) fn hits(&mut self, hits: u64) -> f64 {
        self.hits = self.hits * FADE + hits.saturating_sub(self.hits_before) as f64;
        self.hits_before = hits;
        self.hits
    }
}
