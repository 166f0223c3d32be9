//! Where keys are in the index, asked for before it is needed.

use crate::codec::op::OpView;
use crate::index::{Index, TableMap, TableSlot};
use crate::log::SegmentTable;
use crate::segment::footer::key_hash;
use crate::slot::slot_of;
use crate::types::{KeyHash, Location, Slot};

/// Entries or cells to look ahead for at a time: more than a processor has loads under way, few enough that what was loaded is still there
/// when its turn comes.
pub(super) const WINDOW: usize = 64;
/// A cache line.
const LINE: usize = 64;
/// How far before a record the LSN of its entry may lie, in the commonest kind of entry.
const BEFORE: usize = 16;

/// A key as the index knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) hash: KeyHash,
    pub(crate) slot: Slot,
    pub(crate) table: TableSlot,
}

impl Place {
    /// Where the key of an op is; none if it has no key, or its table was flushed.
    pub(crate) fn of(op: &OpView<'_>, tables: &TableMap, seed: u64) -> Option<Self> {
        let db = tables.db_of(op.header.table).filter(|_| op.header.code.has_key())?;
        Some(Self { hash: key_hash(op.key, seed), slot: slot_of(op.key), table: tables.slot(db) })
    }

    /// Whether the key's cell points to `location`. If not, `others` gets what all cells point to that may be the key's: those of its
    /// hash, as far as the index keeps it.
    pub(crate) fn is_at(&self, index: &Index, location: Location, others: &mut Vec<Location>) -> bool {
        others.clear();
        let stripe = index.stripe(self.slot.stripe()).read();
        let found = stripe.lookup(index, self.table, self.hash, |other| {
            others.push(other);
            Ok::<_, std::convert::Infallible>(other == location)
        });
        found.unwrap_or_else(|never| match never {}).is_some()
    }
}

/// Asks for the cells of these keys, so that looking them up waits for memory about once, and not twice each.
pub(crate) fn look_ahead<'p>(index: &Index, places: impl Iterator<Item = &'p Place> + Clone) {
    for place in places.clone() {
        index.prefetch_entry(place.table, place.hash, place.slot);
    }
    for place in places {
        index.prefetch(place.table, place.hash, place.slot);
    }
}

/// Asks for the record that a key's cell probably points to, unless that is the one at `location`.
pub(super) fn look_at_newest(index: &Index, segments: &SegmentTable, place: &Place, location: Location) {
    if let Some(newest) = index.guess(place.table, place.hash, place.slot)
        && newest != location
        && let Some(segment) = segments.get(newest.segment())
        && segment.is_hot()
    {
        let start = (newest.offset() as usize).saturating_sub(BEFORE);
        segment.map().prefetch(start);
        segment.map().prefetch(start + LINE);
    }
}
