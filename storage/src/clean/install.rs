//! Putting cleaned segments in the place of those that they were made of.

use std::sync::Arc;

use super::output::Cleaned;
use super::place::{Place, WINDOW, look_ahead};
use crate::codec::op::OpCode;
use crate::error::Result;
use crate::index::{CounterChange, Index};
use crate::log::{Frames, Log, SealedCounts, Segment, SegmentTable};
use crate::manifest::SegmentState;
use crate::shard::newest_at;
use crate::types::{Location, Lsn, SegmentId};

/// Makes `outputs` part of the log, and of `victims` what index images may still point to. `buried`: value segments that no live record
/// names any more. After an error the log is as it was.
pub(super) fn replace(log: &Log, victims: &[Arc<Segment>], outputs: &[Cleaned], seen: Lsn, buried: &[u128]) -> Result<()> {
    let mut guard = log.manifest.lock();
    let manifest = &mut *guard;
    let before = manifest.clone();
    manifest.segments.extend(outputs.iter().map(|output| output.entry));
    let of_victims = |id: SegmentId| victims.iter().any(|victim| victim.id() == id);
    for entry in manifest.segments.iter_mut().filter(|entry| of_victims(entry.id)) {
        if let SegmentState::Sealed { last, bytes } = entry.state {
            entry.state = SegmentState::Retired { last, bytes };
            manifest.cleaned.reached = manifest.cleaned.reached.max(last);
        }
    }
    manifest.cleaned.horizon = manifest.cleaned.horizon.max(seen);
    // No record that names them is left: the next start would keep the files for ever.
    manifest.value_segments.ids.retain(|id| !buried.contains(id));
    if let Err(error) = log.store_manifest(manifest) {
        *manifest = before;
        return Err(error);
    }
    // Only now, that the manifest lists them; until now no location in them is in the index.
    for output in outputs {
        log.publish(Arc::clone(&output.segment));
    }
    victims.iter().for_each(|victim| victim.retire());
    Ok(())
}

/// Points the index to what a job moved, wherever a cell has not changed since the record was judged.
pub(super) fn follow(log: &Log, index: &Index, cleaned: &Cleaned) -> u64 {
    let generation = cleaned.segment.generation();
    let segments = log.segments();
    let mut moved = 0;
    for moves in cleaned.moves.chunks(WINDOW) {
        look_ahead(index, moves.iter().map(|one| &one.place));
        for one in moves {
            let new = Location::new(cleaned.segment.id(), one.to);
            moved += u64::from(move_cell(index, one.place, one.from, new));
            if let Some(old) = segments.get(one.from.segment()) {
                log.copies.moved(old.copy_of(one.place.hash, one.from), (new, generation));
            }
        }
    }
    index.add_live_cells(cleaned.segment.id(), moved as u32);
    // Tombstones and bases of deltas had to stay: counted as dead, they would have the segment cleaned again and again.
    cleaned.segment.set_counts(SealedCounts { ops: moved, values: moved });
    moved
}

/// Points the index from retired segments that an earlier run left to a cleaned one, wherever the same record lies in both. Done again, it
/// changes nothing. Cells are yet to be counted then.
pub(super) fn point_index(log: &Log, index: &Index, cleaned: &Segment, is_old: &dyn Fn(SegmentId) -> bool) -> Result<u64> {
    let tables = index.tables();
    let mut moved = 0;
    let mut frames = Frames::new(cleaned);
    let mut cells = Vec::new();
    loop {
        let window = frames.window(WINDOW)?;
        if window.is_empty() {
            break;
        }
        for (offset, entry) in window {
            let lsn = entry.head().lsn;
            for (distance, op) in entry.ops().filter(|(_, op)| op.header.code != OpCode::Tombstone) {
                let Some(place) = Place::of(&op, &tables, log.key_hash_seed) else { continue };
                let new = Location::new(cleaned.id(), offset + distance);
                if place.is_at(index, new, &mut cells) {
                    continue;
                }
                let segments = log.segments();
                for old in cells.iter().filter(|old| is_old(old.segment())) {
                    if is_record(&segments, *old, op.key, lsn, op.header.op_number())? {
                        moved += u64::from(move_cell(index, place, *old, new));
                    }
                }
            }
        }
    }
    Ok(moved)
}

fn is_record(segments: &SegmentTable, at: Location, key: &[u8], lsn: Lsn, number: u32) -> Result<bool> {
    let found = newest_at(segments, at, key)?;
    Ok(found.is_some_and(|found| (found.lsn, found.number) == (lsn, number)))
}

/// Moves a cell if it still points to `old`.
fn move_cell(index: &Index, place: Place, old: Location, new: Location) -> bool {
    let mut stripe = index.stripe(place.slot.stripe()).write();
    let found = stripe.lookup(index, place.table, place.hash, |location| Ok::<_, std::convert::Infallible>(location == old));
    let cell = found.unwrap_or_else(|never| match never {});
    if cell.is_some() {
        let moved = stripe.put(index, place.table, place.hash, place.slot, cell, new, &CounterChange::default());
        moved.expect("a cell that is there can always be changed");
    }
    cell.is_some()
}
