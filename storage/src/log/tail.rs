//! The end of the log: appending entries, and going over to the next segment.
//!
//! Invariants:
//! - One appender at a time, under the tail's lock, for no longer than a bounded copy.
//! - LSNs are given in the order of the bytes, without gaps; the clock of the entries never goes back.
//! - A segment's header is its first append, so a spare without a header holds nothing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;

use super::Log;
use super::segment::{NOTE_EVERY, Segment};
use crate::codec::entry::{EntryHead, EntryView, encode_single, single_len};
use crate::codec::flush_mark::{FLUSH_MARK_LEN, FlushMark};
use crate::codec::op::Op;
use crate::error::{Result, StorageError};
use crate::manifest::Epoch;
use crate::mapping::Appender;
use crate::options::SyncMode;
use crate::segment::{SEGMENT_HEADER, SegmentHeader, SegmentKind};
use crate::types::{EpochNumber, Location, Lsn, SegmentId, UnixMillis, WriterId};

/// How much of the active segment is made present at a time, ahead of the appender: one system call instead of 64 page faults, and
/// little enough that the first sync after it has no more to write than what was appended.
const POPULATE: usize = 256 << 10;
const PAGE: usize = 4096;
/// How long an append waits for a spare that is being made before it gives up.
const SPARE_PATIENCE: Duration = Duration::from_secs(10);

/// Whether what is made present now is likely to be filled between two syncs, as what was made present last. Then it pays to write zeros there
/// first: a write makes large pieces of the page cache at once, a fault a page at a time, which it reads before (0.7 µs a page against 1.1, and
/// much more where memory is short). But each sync writes the whole of a piece in which anything has changed: 256 KiB for a small entry.
fn is_filled_in_one_go(mode: SyncMode, before: Option<u64>, syncs: u64) -> bool {
    mode != SyncMode::Always && before.is_some_and(|before| syncs - before <= 1)
}

/// The active segment and what the next entry gets.
pub(crate) struct Tail {
    pub(crate) segment: Arc<Segment>,
    pub(crate) appender: Appender,
    pub(crate) next: Lsn,
    pub(crate) epoch: EpochNumber,
    pub(crate) writer: WriterId,
    pub(crate) last_time: UnixMillis,
    /// A flush that no mark tells of yet.
    pub(crate) mark_due: Option<Lsn>,
    pub(crate) spare: Option<Spare>,
    /// There is no room for a spare, or only that of the reserve.
    pub(crate) spare_failed: bool,
    /// The segment is of the reserve: only entries that free space go into it.
    pub(crate) reserved: bool,
    pub(crate) populated: usize,
    /// How often the log had been synced when that was done last.
    pub(crate) populated_at: Option<u64>,
    /// The offset from which on the next entry is noted in the segment's sparse LSN index.
    pub(crate) next_note: u32,
    /// Segments that are full and wait to be sealed.
    pub(crate) full: Vec<Arc<Segment>>,
    /// Only the primary's entries are taken.
    pub(crate) is_replica: bool,
}

/// A segment that is allocated and mapped, without a header.
pub(crate) struct Spare {
    pub(crate) segment: Arc<Segment>,
    pub(crate) appender: Appender,
    /// It takes of the space that is kept for cleaning, and for entries that free space.
    pub(crate) reserved: bool,
}

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Anything.
    Any,
    /// The same, and it names value segments: readers of the log are to know before they see it.
    NamesValues,
    /// It deletes keys, which lets cleaning free space: it may go into the reserve.
    Deletes,
    /// It is small and lets much be freed: a flush, what has expired. There is always a place for some of these.
    Frees,
}

impl Purpose {
    /// Whether it may go where only entries that free space go.
    fn frees(self) -> bool {
        matches!(self, Self::Deletes | Self::Frees)
    }
}

/// Where an entry went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appended {
    pub(crate) lsn: Lsn,
    pub(crate) segment: SegmentId,
    pub(crate) offset: u32,
}

impl Appended {
    /// The location `distance` bytes into the entry.
    #[inline]
    pub(crate) fn location(&self, distance: u32) -> Location {
        Location::new(self.segment, self.offset + distance)
    }
}

impl Log {
    /// Appends one entry of `len` bytes, which `fill` encodes in place.
    #[inline]
    pub(crate) fn append(&self, len: usize, now: UnixMillis, fill: impl FnOnce(&mut [u8], EntryHead)) -> Result<Appended> {
        self.append_for(Purpose::Any, len, now, fill)
    }

    /// The same for an entry of this purpose.
    #[inline]
    pub(crate) fn append_for(
        &self,
        purpose: Purpose,
        len: usize,
        now: UnixMillis,
        fill: impl FnOnce(&mut [u8], EntryHead),
    ) -> Result<Appended> {
        self.durability.check()?;
        let mut tail = self.tail.lock();
        if tail.is_replica {
            return Err(StorageError::Replica);
        }
        self.make_room(&mut tail, purpose, len)?;
        let head = EntryHead { lsn: tail.next, epoch: tail.epoch, time: UnixMillis(now.0.max(tail.last_time.0)) };
        self.put(&mut tail, head, len, fill)
    }

    /// Appends an entry as it stands in the primary's log. Its bytes were checked.
    pub(crate) fn append_replicated(&self, entry: &EntryView<'_>) -> Result<Appended> {
        self.durability.check()?;
        let names_values = entry.ops().any(|(_, op)| op.header.value_segment);
        let purpose = if names_values { Purpose::NamesValues } else { Purpose::Any };
        let mut tail = self.tail.lock();
        let head = entry.head();
        if !tail.is_replica || head.lsn != tail.next || head.epoch < tail.epoch {
            let (last, last_epoch) = (Lsn(tail.next.0 - 1), tail.epoch);
            return Err(StorageError::OutOfOrder { found: head.lsn, epoch: head.epoch, last, last_epoch });
        }
        let bytes = entry.bytes();
        self.make_room(&mut tail, purpose, bytes.len())?;
        tail.epoch = head.epoch;
        self.put(&mut tail, head, bytes.len(), |out, _| out.copy_from_slice(bytes))
    }

    /// Ends being a replica, if it was one, with the first entry of an epoch.
    pub(crate) fn append_epoch_start(&self, epoch: Epoch, now: UnixMillis, op: &Op<'_>) -> Result<Appended> {
        self.durability.check()?;
        let mut tail = self.tail.lock();
        let len = single_len(op);
        let before = (tail.epoch, tail.writer);
        (tail.epoch, tail.writer) = (epoch.number, epoch.writer);
        // On a full disk, too, so that what is there can be read, and deleted.
        if let Err(error) = self.make_room(&mut tail, Purpose::Frees, len) {
            (tail.epoch, tail.writer) = before;
            return Err(error);
        }
        let head = EntryHead { lsn: tail.next, epoch: epoch.number, time: UnixMillis(now.0.max(tail.last_time.0)) };
        let appended = self.put(&mut tail, head, len, |out, head| encode_single(out, head, self.seed, op))?;
        tail.is_replica = false;
        Ok(appended)
    }

    /// Whether only the primary's entries are taken.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.tail.lock().is_replica
    }

    /// Goes over to the next segment, if the entry does not fit in this one; writes the flush mark that is due.
    #[inline]
    fn make_room(&self, tail: &mut MutexGuard<'_, Tail>, purpose: Purpose, len: usize) -> Result<()> {
        let needed = len + if tail.mark_due.is_some() { FLUSH_MARK_LEN } else { 0 };
        let barred = tail.reserved && !purpose.frees();
        let kept = if tail.reserved && purpose == Purpose::Deletes { tail.segment.map().capacity() / 4 } else { 0 };
        if barred || tail.segment.map().written() + needed + kept > tail.segment.map().capacity() {
            self.roll(tail, len, purpose)?;
        }
        if let Some(flushed) = tail.mark_due.take() {
            self.append_mark(tail, flushed);
        }
        if purpose == Purpose::NamesValues {
            tail.segment.set_names_values();
        }
        Ok(())
    }

    #[inline]
    fn put(&self, tail: &mut Tail, head: EntryHead, len: usize, fill: impl FnOnce(&mut [u8], EntryHead)) -> Result<Appended> {
        let start = tail.segment.map().written();
        if start + len > tail.populated {
            self.populate(tail);
        }
        let Some(offset) = tail.segment.map().append_with(&mut tail.appender, len, |bytes| fill(bytes, head)) else {
            return Err(self.entry_too_large(len));
        };
        let offset = offset as u32;
        if offset >= tail.next_note {
            tail.next_note = offset + NOTE_EVERY;
            tail.segment.note(head.lsn, offset);
        }
        tail.segment.set_last_lsn(head.lsn);
        tail.last_time = tail.last_time.max(head.time);
        tail.next = head.lsn.next();
        self.counts.appended(len as u64);
        self.durability.set_written(head.lsn);
        Ok(Appended { lsn: head.lsn, segment: tail.segment.id(), offset })
    }

    /// Makes what comes after the written end present.
    #[cold]
    fn populate(&self, tail: &mut Tail) {
        let syncs = self.counts.syncs();
        let map = tail.segment.map();
        if is_filled_in_one_go(self.mode.get(), tail.populated_at.replace(syncs), syncs) {
            let from = map.written().max(tail.populated).next_multiple_of(PAGE);
            let to = ((map.written() & !(PAGE - 1)) + POPULATE).min(map.capacity());
            // Nobody else writes there, as the tail is locked. Failing only means that the pages are made one by one.
            let _ = tail.segment.file().zero_ahead(from as u64, to.saturating_sub(from));
        }
        // Failing only means that the pages are faulted in one by one.
        let _ = map.populate_ahead(POPULATE);
        tail.populated = (map.written() & !(PAGE - 1)) + POPULATE;
    }

    fn append_mark(&self, tail: &mut Tail, flushed: Lsn) {
        let mark = FlushMark { node: self.node, incarnation: self.incarnation, flushed }.encode(self.seed);
        let done = tail.segment.map().append_with(&mut tail.appender, mark.len(), |bytes| bytes.copy_from_slice(&mark));
        if done.is_none() {
            // No room: the next segment's first append carries it.
            tail.mark_due = Some(flushed);
        }
    }

    /// Writes the mark that is due, if the log has been idle since.
    pub(crate) fn write_due_mark(&self) {
        let mut tail = self.tail.lock();
        if let Some(flushed) = tail.mark_due.take() {
            self.append_mark(&mut tail, flushed);
        }
    }

    fn entry_too_large(&self, len: usize) -> StorageError {
        StorageError::EntryTooLarge { len: len as u64, limit: self.entry_limit() }
    }

    /// The longest entry that fits in a segment.
    pub(crate) fn entry_limit(&self) -> u64 {
        (self.segment_size as usize - SEGMENT_HEADER - FLUSH_MARK_LEN) as u64
    }

    fn roll(&self, tail: &mut MutexGuard<'_, Tail>, len: usize, purpose: Purpose) -> Result<()> {
        if len as u64 > self.entry_limit() {
            return Err(self.entry_too_large(len));
        }
        let spare = self.take_spare(tail, purpose)?;
        let header = SegmentHeader {
            kind: SegmentKind::Log,
            cleaned: false,
            shard: self.shard,
            history: self.history,
            base_lsn: tail.next,
            generation: spare.segment.generation(),
            segment_id: spare.segment.id(),
            epoch: tail.epoch,
            writer: tail.writer,
            created: tail.last_time,
            stamp: tail.next.0,
            size: u64::from(self.segment_size),
            value_id: 0,
        };
        tail.begin(spare, &header);
        self.keeper.wake();
        Ok(())
    }

    /// Whoever has been refused may wait until there is room: whether it should, and does not count as refused.
    #[must_use]
    pub fn take_back_refusal(&self) -> bool {
        let waits = self.awaits_room();
        if waits {
            self.counts.tries_again();
        }
        waits
    }

    /// Whether writes are refused, and cleaning is about to make room for them.
    #[must_use]
    pub fn awaits_room(&self) -> bool {
        self.space.reclaims() && self.tail.lock().spare_failed
    }

    fn take_spare(&self, tail: &mut MutexGuard<'_, Tail>, purpose: Purpose) -> Result<Spare> {
        let fits = |spare: &mut Spare| !spare.reserved || purpose.frees();
        loop {
            if let Some(spare) = tail.spare.take_if(fits) {
                return Ok(spare);
            }
            // Without room only cleaning can help, which wants the locks that a writer holds: who can wait without them tries again.
            let refused = tail.spare_failed;
            let timed_out = !refused && self.spare_ready.wait_for(tail, SPARE_PATIENCE).timed_out();
            if tail.spare.as_mut().is_none_or(|spare| !fits(spare)) && (refused || timed_out) {
                self.counts.refused();
                return Err(StorageError::DiskFull { path: self.directory.path("") });
            }
            self.durability.check()?;
        }
    }
}

impl Tail {
    fn begin(&mut self, spare: Spare, header: &SegmentHeader) {
        let Spare { segment, mut appender, reserved } = spare;
        let bytes = header.encode();
        let at = segment.map().append_with(&mut appender, bytes.len(), |to| to.copy_from_slice(&bytes));
        debug_assert_eq!(at, Some(0), "the header is the first append");
        segment.set_base_lsn(header.base_lsn);
        segment.set_last_lsn(Lsn(header.base_lsn.0 - 1));
        segment.set_hot(true);
        self.reserved = reserved;
        self.populated = 0;
        self.next_note = 0;
        self.appender = appender;
        self.full.push(std::mem::replace(&mut self.segment, segment));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;
    use crate::fs::{Directory, RealDirectory};
    use crate::options::Options;
    use crate::shard::Shard;
    use crate::shard::testing::run;
    use crate::types::Db;

    #[test]
    fn large_pieces_are_made_where_few_syncs_write_them() {
        for (mode, before, syncs, large) in [
            (SyncMode::No, None, 0, false),
            (SyncMode::No, Some(7), 7, true),
            (SyncMode::EverySec, Some(7), 8, true),
            (SyncMode::EverySec, Some(7), 9, false),
            (SyncMode::Always, Some(7), 7, false),
        ] {
            assert_eq!(is_filled_in_one_go(mode, before, syncs), large, "{mode:?} {before:?} {syncs}");
        }
    }

    #[test]
    fn zeros_ahead_never_fall_on_what_was_written() {
        let place = tempfile::tempdir().unwrap();
        let root: Arc<dyn Directory> = Arc::new(RealDirectory::open(place.path()).unwrap());
        let options = || Options { segment_size: 1 << 20, index_reserve: 256 << 20, sync: SyncMode::No, ..Options::default() };
        let mut shard = Shard::open(&root, options()).unwrap();
        let value = |n: usize| vec![n as u8 | 1; [1, 100, 4096, 5000, 300_000, 70_000][n % 6] + n];
        for round in 0..3 {
            for n in 0..40 {
                let key = format!("{round} {n}");
                run(&shard, |txn| txn.put(Db(0), &shard.key(key.as_bytes()), &value(n), None)).unwrap();
            }
            // The rest of a page that was begun before the start is made present too.
            shard.abandon();
            shard = Shard::open(&root, options()).unwrap();
        }
        for (round, n) in (0..3).flat_map(|round| (0..40).map(move |n| (round, n))) {
            let key = format!("{round} {n}");
            let found = run(&shard, |txn| Ok(txn.get(Db(0), &shard.key(key.as_bytes()))?.map(|object| object.data.into_owned())));
            assert!(found.unwrap().unwrap() == value(n), "{key}");
        }
    }
}
