//! The segments of a shard by the id that locations use.
//!
//! Invariants:
//! - A table never changes; a new one replaces it. Whoever holds one pins all its segments: their files are unmapped after the last
//!   holder is gone.
//! - A segment is in the published table before a location in it is in the index.

use std::sync::Arc;

use super::segment::Segment;
use crate::types::{Lsn, SegmentId};

/// All segments, spare included.
#[derive(Clone, Default)]
pub struct SegmentTable {
    by_id: Vec<Option<Arc<Segment>>>,
}

impl SegmentTable {
    /// The segment of this id.
    #[inline]
    #[must_use]
    pub fn get(&self, id: SegmentId) -> Option<&Arc<Segment>> {
        self.by_id.get(id.0 as usize)?.as_ref()
    }

    /// A table with this segment too.
    #[must_use]
    pub fn with(&self, segment: Arc<Segment>) -> Self {
        let mut by_id = self.by_id.clone();
        let at = segment.id().0 as usize;
        if by_id.len() <= at {
            by_id.resize(at + 1, None);
        }
        by_id[at] = Some(segment);
        Self { by_id }
    }

    /// A table without this segment.
    #[must_use]
    pub fn without(&self, id: SegmentId) -> Self {
        let mut by_id = self.by_id.clone();
        if let Some(place) = by_id.get_mut(id.0 as usize) {
            *place = None;
        }
        Self { by_id }
    }

    /// The segments that hold the log, those that have begun and are not retired, by base LSN.
    #[must_use]
    pub fn in_order(&self) -> Vec<Arc<Segment>> {
        let mut all: Vec<_> = self.by_id.iter().flatten().filter(|s| s.base_lsn().is_some() && !s.is_retired()).cloned().collect();
        all.sort_by_key(|s| s.base_lsn());
        all
    }

    /// Segments that wait until no index image points to them any more.
    #[must_use]
    pub fn retired(&self) -> Vec<Arc<Segment>> {
        self.by_id.iter().flatten().filter(|s| s.is_retired()).cloned().collect()
    }

    /// The retired segment that held `lsn`, if it is there still.
    #[must_use]
    pub fn retired_of_lsn(&self, lsn: Lsn) -> Option<&Arc<Segment>> {
        let held = |s: &&Arc<Segment>| s.is_retired() && s.base_lsn().is_some_and(|base| base <= lsn) && s.last_lsn() >= lsn;
        self.by_id.iter().flatten().find(held)
    }

    /// The segment that holds `lsn`, if any does.
    #[must_use]
    pub fn of_lsn(&self, lsn: Lsn) -> Option<&Arc<Segment>> {
        let holds = |s: &&Arc<Segment>| !s.is_retired() && s.base_lsn().is_some_and(|base| base <= lsn) && s.last_lsn() >= lsn;
        self.by_id.iter().flatten().find(holds)
    }
}
