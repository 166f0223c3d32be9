//! Eviction on a replica: the keys that the primary's entry names, by LSN and op number, leave here too.

use std::sync::Arc;

use super::pass::Place;
use super::remove::{Leaving, let_go};
use crate::codec::entry::EntryView;
use crate::codec::evicted::Evicted;
use crate::codec::op::OpView;
use crate::codec::value_ref::ValueRef;
use crate::error::Result;
use crate::log::{Frames, Segment};
use crate::segment::footer::key_hash;
use crate::shard::{counted_parts, counter_change};
use crate::slot::slot_of;
use crate::types::{Location, Lsn};

/// Entries read at a time.
const WINDOW: usize = 64;

/// Appends the primary's entry, and lets the keys go that it names.
pub(super) fn replicate(place: Place<'_>, entry: &EntryView<'_>, evicted: &Evicted) -> Result<()> {
    loop {
        let segments = within(place, evicted);
        let leaving = named(place, &segments, evicted)?;
        // Cleaning points cells to another segment: what was read before it began is read again.
        let same = |place: Place<'_>| within(place, evicted).iter().all(|now| segments.iter().any(|then| Arc::ptr_eq(now, then)));
        if let_go(place, &leaving, same, |log| log.append_replicated(entry))?.is_some() {
            return Ok(());
        }
    }
}

fn within(place: Place<'_>, evicted: &Evicted) -> Vec<Arc<Segment>> {
    let (first, last) = evicted.range();
    let mut segments = place.log.segments().in_order();
    segments.retain(|segment| segment.base_lsn().is_some_and(|base| base <= last) && segment.last_lsn() >= first);
    segments
}

fn named(place: Place<'_>, segments: &[Arc<Segment>], evicted: &Evicted) -> Result<Vec<Leaving>> {
    let (first, last) = evicted.range();
    let mut leaving = Vec::new();
    for segment in segments {
        let mut frames = match segment.nearest(first) {
            Some(near) => Frames::resume(segment, near as usize),
            None => Frames::new(segment),
        };
        'segment: loop {
            let window = frames.window(WINDOW)?;
            if window.is_empty() {
                break;
            }
            for (offset, entry) in window {
                let lsn = entry.head().lsn;
                if lsn > last {
                    break 'segment;
                }
                for (distance, op) in entry.ops() {
                    if op.header.code.has_key() && evicted.contains(lsn, op.header.op_number()) {
                        leaving.extend(one(place, lsn, Location::new(segment.id(), offset + distance), &op));
                    }
                }
            }
        }
    }
    Ok(leaving)
}

/// None: its table is no more, or it cannot be counted.
fn one(place: Place<'_>, lsn: Lsn, location: Location, op: &OpView<'_>) -> Option<Leaving> {
    let tables = place.index.tables();
    let table = tables.slot(tables.db_of(op.header.table)?);
    let counted = counted_parts(op).ok()?;
    Some(Leaving {
        lsn,
        number: op.header.op_number(),
        table,
        hash: key_hash(op.key, place.log.key_hash_seed),
        slot: slot_of(op.key),
        location,
        expire_at: op.header.expire_at,
        change: counter_change(Some(&counted), None),
        value: op.header.value_segment.then(|| ValueRef::decode(op.body).ok()).flatten().map(|value| value.value_id),
        key: op.key.into(),
    })
}
