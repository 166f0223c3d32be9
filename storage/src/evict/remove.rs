//! Letting keys go: one entry in the log, and its keys out of the index, under the locks of all stripes. Whoever writes a key sees it before the
//! entry or gone after it, so no later record is based on one that an entry before it has evicted, here or on any node that replays both.

use std::convert::Infallible;

use parking_lot::RwLockWriteGuard;

use super::pass::Place;
use crate::codec::entry::{encode_single, single_len};
use crate::codec::evicted::Evicted;
use crate::codec::op::{Op, OpCode};
use crate::error::Result;
use crate::index::{CellRef, CounterChange, Index, Stripe, TableMap, TableSlot};
use crate::log::{Appended, Log, Purpose};
use crate::types::{DATABASES, Db, KeyHash, Location, Lsn, STRIPES, Slot, UnixMillis};

/// A key that goes, by its newest record.
pub(super) struct Leaving {
    pub(super) lsn: Lsn,
    pub(super) number: u32,
    pub(super) table: TableSlot,
    pub(super) hash: KeyHash,
    pub(super) slot: Slot,
    pub(super) location: Location,
    pub(super) expire_at: Option<UnixMillis>,
    /// What its leaving changes in the counters.
    pub(super) change: CounterChange,
    /// The value segment that it names.
    pub(super) value: Option<u128>,
    pub(super) key: Box<[u8]>,
}

/// Evicts keys, which rise by LSN and number. Returns how many were still there: the entry names no others.
pub(super) fn remove(place: Place<'_>, leaving: &[Leaving]) -> Result<u64> {
    let index = place.index;
    for one in leaving {
        index.prefetch_put(one.table, one.hash, one.slot);
    }
    let mut stripes = lock_all(index);
    let there: Vec<&Leaving> = leaving.iter().filter(|one| cell(&stripes[one.slot.stripe()], index, one).is_some()).collect();
    let Some(evicted) = Evicted::new(there.iter().map(|one| (one.lsn, one.number)).collect()) else { return Ok(0) };
    let body = evicted.encode();
    let op = Op::control(OpCode::Evict, &body);
    let fill = |out: &mut [u8], head| encode_single(out, head, place.log.seed, &op);
    let appended = place.log.append_for(Purpose::Deletes, single_len(&op), place.now, fill)?;
    index.set_evicted(appended.lsn);
    take_out(place, &mut stripes, &there, appended.lsn);
    Ok(there.len() as u64)
}

/// The same for keys that the primary evicted, which `append` writes. None, and nothing is done, if under the locks `is_current` denies that
/// the keys are where they were seen.
pub(super) fn let_go(
    place: Place<'_>,
    leaving: &[Leaving],
    is_current: impl FnOnce(Place<'_>) -> bool,
    append: impl FnOnce(&Log) -> Result<Appended>,
) -> Result<Option<Lsn>> {
    let mut stripes = lock_all(place.index);
    if !is_current(place) {
        return Ok(None);
    }
    let lsn = append(place.log)?.lsn;
    place.index.set_evicted(lsn);
    take_out(place, &mut stripes, &leaving.iter().collect::<Vec<_>>(), lsn);
    Ok(Some(lsn))
}

fn lock_all(index: &Index) -> Vec<RwLockWriteGuard<'_, Stripe>> {
    (0..STRIPES).map(|number| index.stripe(number).write()).collect()
}

fn take_out(place: Place<'_>, stripes: &mut [RwLockWriteGuard<'_, Stripe>], leaving: &[&Leaving], lsn: Lsn) {
    let (index, tables) = (place.index, place.index.tables());
    for one in leaving {
        let stripe = &mut stripes[one.slot.stripe()];
        // Two keys of a list may share a line: the first one's removal moves nothing, but ends what was known of cells.
        let Some(cell) = cell(stripe, index, one) else { continue };
        stripe.remove(index, one.table, one.hash, one.slot, cell, &one.change);
        stripe.set_last_delete(index, lsn);
        if let Some(value) = one.value {
            place.values.bury(value, lsn);
        }
        if let Some(db) = db_of(&tables, one.table) {
            place.limit.evicted(db, &one.key);
        }
    }
    stripes.iter_mut().for_each(|stripe| stripe.set_applied(index, lsn));
}

/// The key's cell, if it is where it was seen: else the key was written again, or is gone, or cleaning has moved its record.
fn cell(stripe: &Stripe, index: &Index, one: &Leaving) -> Option<CellRef> {
    let at_place = |at| Ok::<_, Infallible>(at == one.location);
    stripe.lookup(index, one.table, one.hash, at_place).unwrap_or_else(|never| match never {})
}

fn db_of(tables: &TableMap, table: TableSlot) -> Option<Db> {
    (0..DATABASES).map(Db).find(|db| tables.slot(*db) == table)
}
