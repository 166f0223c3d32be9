//! A pass over one segment: which of its keys go.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::policy::{EvictionOrder, EvictionPolicy, Verdict};
use super::queue::{is_main, main_stamp};
use super::remove::{Leaving, remove};
use super::{KEY_BYTES, Limit};
use crate::codec::op::{OpCode, OpView};
use crate::codec::value_ref::ValueRef;
use crate::error::Result;
use crate::index::{CounterChange, Index, TableMap, TableSlot};
use crate::log::{Frames, Log, Segment};
use crate::segment::footer::key_hash;
use crate::shard::{Values, counted_parts, counter_change};
use crate::slot::slot_of;
use crate::types::{KeyHash, Location, Lsn, Slot, UnixMillis};

/// Entries looked up together: the processor fetches their cells while it goes on.
const WINDOW: usize = 64;
/// Most keys of one entry: for so long, some 0.3 ms, all stripes are locked. And bytes of keys: what is held in memory.
const PART_KEYS: usize = 1 << 11;
const PART_BYTES: usize = 4 << 20;

/// What a pass needs.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) log: &'a Log,
    pub(super) index: &'a Index,
    pub(super) values: &'a Values,
    pub(super) limit: &'a Limit,
    /// What an entry is dated.
    pub(super) now: UnixMillis,
}

/// A record that may be its key's newest.
struct Candidate {
    lsn: Lsn,
    number: u32,
    table: TableSlot,
    hash: KeyHash,
    slot: Slot,
    location: Location,
    expire_at: Option<UnixMillis>,
    change: CounterChange,
    value: Option<u128>,
    /// Where its key ends in the batch's keys.
    key_end: usize,
}

/// A segment being looked through.
struct Pass<'a> {
    place: Place<'a>,
    segment: &'a Segment,
    policy: EvictionPolicy,
    tables: TableMap,
    batch: Vec<Candidate>,
    batch_keys: Vec<u8>,
    leaving: Vec<Leaving>,
    evicted: u64,
    kept: u64,
}

/// Looks through a sealed segment and evicts what the policy says. Returns how many keys went.
pub(super) fn pass(place: Place<'_>, segment: &Arc<Segment>, policy: EvictionPolicy) -> Result<u64> {
    let tables = place.index.tables();
    let (batch, batch_keys, leaving) = (Vec::new(), Vec::new(), Vec::new());
    let mut pass = Pass { place, segment, policy, tables, batch, batch_keys, leaving, evicted: 0, kept: 0 };
    let outcome = pass.run();
    let counts = &place.limit.counts;
    counts.passes.fetch_add(1, Relaxed);
    counts.kept.fetch_add(pass.kept, Relaxed);
    counts.read.fetch_add(segment.map().written() as u64, Relaxed);
    outcome.map(|()| pass.evicted)
}

impl Pass<'_> {
    fn run(&mut self) -> Result<()> {
        let mut frames = Frames::new(self.segment);
        loop {
            let window = frames.window(WINDOW)?;
            if window.is_empty() {
                return self.end();
            }
            for (offset, entry) in window {
                for (distance, op) in entry.ops() {
                    self.take(entry.head().lsn, offset + distance, &op);
                }
            }
            self.judge_batch()?;
        }
    }

    fn take(&mut self, lsn: Lsn, offset: u32, op: &OpView<'_>) {
        if !op.header.code.has_key() || op.header.code == OpCode::Tombstone {
            return;
        }
        // What cannot be counted is left to those who read it.
        let (Some(db), Ok(counted)) = (self.tables.db_of(op.header.table), counted_parts(op)) else { return };
        self.batch_keys.extend_from_slice(op.key);
        self.batch.push(Candidate {
            lsn,
            number: op.header.op_number(),
            table: self.tables.slot(db),
            hash: key_hash(op.key, self.place.log.key_hash_seed),
            slot: slot_of(op.key),
            location: Location::new(self.segment.id(), offset),
            expire_at: op.header.expire_at,
            change: counter_change(Some(&counted), None),
            value: op.header.value_segment.then(|| ValueRef::decode(op.body).ok()).flatten().map(|value| value.value_id),
            key_end: self.batch_keys.len(),
        });
    }

    fn judge_batch(&mut self) -> Result<()> {
        let index = self.place.index;
        for one in &self.batch {
            index.prefetch_entry(one.table, one.hash, one.slot);
        }
        for one in &self.batch {
            index.prefetch(one.table, one.hash, one.slot);
        }
        let (batch, keys) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.batch_keys));
        let mut key_start = 0;
        for one in &batch {
            let key = &keys[key_start..one.key_end];
            key_start = one.key_end;
            if let Some(verdict) = self.verdict(one) {
                self.judge(one, key, verdict);
            }
        }
        (self.batch, self.batch_keys) = (batch, keys);
        self.batch.clear();
        self.batch_keys.clear();
        let bytes: usize = self.leaving.iter().map(|one| one.key.len()).sum();
        // Those that expire soonest are known only at the end.
        if self.policy.order != EvictionOrder::Ttl && (self.leaving.len() >= PART_KEYS || bytes >= PART_BYTES) {
            self.let_go()?;
        }
        Ok(())
    }

    /// What becomes of a key, as the policy says; none if this is not its newest record. The count is set under the lock that finds the cell.
    fn verdict(&self, one: &Candidate) -> Option<Verdict> {
        let Place { index, .. } = self.place;
        let stripe = index.stripe(one.slot.stripe()).read();
        let found = stripe.lookup(index, one.table, one.hash, |at| Ok::<_, Infallible>(at == one.location));
        let cell = found.unwrap_or_else(|never| match never {})?;
        if self.policy.volatile_only && one.expire_at.is_none() {
            return Some(Verdict::Stays(0));
        }
        let verdict = self.policy.order.judge(is_main(self.segment.stamp()), index.uses(&cell));
        if let Verdict::Stays(used) = verdict {
            index.set_uses(&cell, used);
        }
        Some(verdict)
    }

    fn judge(&mut self, one: &Candidate, key: &[u8], verdict: Verdict) {
        if let Verdict::Stays(_) = verdict {
            self.kept += 1;
            return;
        }
        if verdict == Verdict::Remembered {
            self.place.limit.ghosts.add(one.hash);
        }
        let Candidate { lsn, number, table, hash, slot, location, expire_at, change, value, .. } = *one;
        self.leaving.push(Leaving { lsn, number, table, hash, slot, location, expire_at, change, value, key: key.into() });
    }

    fn end(&mut self) -> Result<()> {
        if self.policy.order == EvictionOrder::Ttl {
            let all = self.leaving.len();
            self.leaving.sort_by_key(|one| one.expire_at.unwrap_or(UnixMillis(i64::MAX)));
            self.leaving.truncate(all.div_ceil(2));
            self.kept += (all - self.leaving.len()) as u64;
            self.leaving.sort_by_key(|one| (one.lsn, one.number));
        }
        self.let_go()?;
        let stamp = main_stamp(self.place.log.durability().written());
        self.segment.set_stamp(stamp);
        // Stored with the next change of the manifest: a place in the queue is not worth a sync.
        let mut manifest = self.place.log.manifest.lock();
        if let Some(entry) = manifest.segments.iter_mut().find(|entry| entry.id == self.segment.id()) {
            entry.stamp = stamp;
        }
        Ok(())
    }

    fn let_go(&mut self) -> Result<()> {
        let mut leaving = std::mem::take(&mut self.leaving);
        for part in leaving.chunks(PART_KEYS) {
            let bytes: i64 = part.iter().map(|one| -one.change.bytes + KEY_BYTES as i64).sum();
            let went = remove(self.place, part)?;
            self.evicted += went;
            let counts = &self.place.limit.counts;
            counts.entries.fetch_add(1, Relaxed);
            counts.keys.fetch_add(went, Relaxed);
            counts.bytes.fetch_add(bytes.unsigned_abs(), Relaxed);
        }
        leaving.clear();
        self.leaving = leaving;
        Ok(())
    }
}
