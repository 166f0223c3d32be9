//! A look ahead while replaying: the memory that the next ops will touch is asked for before the first of them is applied. Keys lie at random
//! in the index, so that without it most of the time of a replay is waiting for memory, one line after the other.
//!
//! Invariant: only hints are given; nothing that is read here is believed.

use crate::codec::op::OpView;
use crate::index::{Index, TableMap};
use crate::log::SegmentTable;
use crate::types::{KeyHash, Location, Lsn, Slot};

/// Ops to look ahead for at a time: more than a processor has loads under way, few enough that what was loaded is still there when its turn
/// comes.
pub(super) const WINDOW: usize = 64;
/// A cache line.
const LINE: usize = 64;

/// An op on a key that is not applied yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting<'a> {
    pub(super) lsn: Lsn,
    /// Whether its entry holds nothing else.
    pub(super) alone: bool,
    pub(super) location: Location,
    pub(super) slot: Slot,
    pub(super) hash: KeyHash,
    pub(super) op: OpView<'a>,
}

/// Asks for the memory of these ops.
pub(super) fn look_ahead(index: &Index, tables: &TableMap, segments: &SegmentTable, ops: &[Waiting<'_>]) {
    let table = |op: &Waiting<'_>| tables.db_of(op.op.header.table).map(|db| tables.slot(db));
    for op in ops {
        if let Some(table) = table(op) {
            index.prefetch_entry(table, op.hash, op.slot);
        }
    }
    for op in ops {
        if let Some(table) = table(op) {
            index.prefetch_insert(table, op.hash, op.slot);
        }
    }
    for op in ops {
        if let Some(location) = table(op).and_then(|table| index.guess(table, op.hash, op.slot))
            && let Some(segment) = segments.get(location.segment())
        {
            segment.map().prefetch(location.offset() as usize);
            segment.map().prefetch(location.offset() as usize + LINE);
        }
    }
}
