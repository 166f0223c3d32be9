//! Letting keys go: one entry in the log, then one stripe after the other.

use std::convert::Infallible;

use super::pass::Place;
use crate::codec::entry::{encode_single, single_len};
use crate::codec::evicted::Evicted;
use crate::codec::op::{Op, OpCode};
use crate::error::Result;
use crate::index::{CellRef, CounterChange, Stripe, TableMap, TableSlot};
use crate::log::Purpose;
use crate::shard::newest_at;
use crate::types::{DATABASES, Db, KeyHash, Location, Lsn, Slot, UnixMillis};

/// Keys removed under one lock.
const UNDER_ONE_LOCK: usize = 32;

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

/// Evicts keys, which rise by LSN and number. Returns how many were still there.
pub(super) fn remove(place: Place<'_>, leaving: &mut [Leaving]) -> Result<u64> {
    let Some(evicted) = Evicted::new(leaving.iter().map(|one| (one.lsn, one.number)).collect()) else { return Ok(0) };
    let body = evicted.encode();
    let op = Op::control(OpCode::Evict, &body);
    let _evicting = place.index.evicting();
    let fill = |out: &mut [u8], head| encode_single(out, head, place.log.seed, &op);
    let appended = place.log.append_for(Purpose::Deletes, single_len(&op), place.now, fill)?;
    place.index.set_evicted(appended.lsn);
    leaving.sort_unstable_by_key(|one| one.slot.stripe());
    let mut removal = Removal { place, lsn: appended.lsn, tables: place.index.tables(), went: 0 };
    for of_stripe in leaving.chunk_by_mut(|a, b| a.slot.stripe() == b.slot.stripe()) {
        for some in of_stripe.chunks_mut(UNDER_ONE_LOCK) {
            removal.some(some);
        }
    }
    Ok(removal.went)
}

struct Removal<'a> {
    place: Place<'a>,
    lsn: Lsn,
    tables: TableMap,
    went: u64,
}

impl Removal<'_> {
    /// Removes keys of one stripe.
    fn some(&mut self, leaving: &mut [Leaving]) {
        for one in leaving.iter() {
            self.place.index.prefetch_put(one.table, one.hash, one.slot);
        }
        let mut missed = Vec::new();
        let Some(number) = leaving.first().map(|one| one.slot.stripe()) else { return };
        let mut stripe = self.place.index.stripe(number).write();
        for (at, one) in leaving.iter().enumerate() {
            if !self.one(&mut stripe, one) {
                missed.push(at);
            }
        }
        drop(stripe);
        for at in missed {
            self.moved(&mut leaving[at]);
        }
    }

    /// Removes a key if its cell is where it was seen.
    fn one(&mut self, stripe: &mut Stripe, one: &Leaving) -> bool {
        let index = self.place.index;
        let at_place = |at| Ok::<_, Infallible>(at == one.location);
        let found: Option<CellRef> = stripe.lookup(index, one.table, one.hash, at_place).unwrap_or_else(|never| match never {});
        let Some(cell) = found else { return false };
        stripe.remove(index, one.table, one.hash, one.slot, cell, &one.change);
        let last = stripe.last_delete(index).max(self.lsn);
        stripe.set_last_delete(index, last);
        if let Some(value) = one.value {
            self.place.values.bury(value, self.lsn);
        }
        if let Some(db) = (0..DATABASES).map(Db).find(|db| self.tables.slot(*db) == one.table) {
            self.place.limit.evicted(db, &one.key);
        }
        self.went += 1;
        true
    }

    /// The cell has changed since: the key was written again, or is gone, or cleaning has moved its record. What the entry names is the
    /// record, wherever it lies.
    fn moved(&mut self, one: &mut Leaving) {
        let index = self.place.index;
        while let Some(location) = self.whereabouts(one) {
            one.location = location;
            let mut stripe = index.stripe(one.slot.stripe()).write();
            if self.one(&mut stripe, one) {
                return;
            }
        }
    }

    fn whereabouts(&self, one: &Leaving) -> Option<Location> {
        let mut candidates = Vec::new();
        {
            let stripe = self.place.index.stripe(one.slot.stripe()).read();
            let note = |at| {
                candidates.push(at);
                Ok::<_, Infallible>(false)
            };
            let _ = stripe.lookup(self.place.index, one.table, one.hash, note);
        }
        let segments = self.place.log.segments();
        let is_it = |at: &Location| {
            // What cannot be read is not there to be evicted.
            let found = newest_at(&segments, *at, &one.key).ok().flatten();
            found.is_some_and(|found| (found.lsn, found.number) == (one.lsn, one.number))
        };
        candidates.into_iter().find(is_it)
    }
}
