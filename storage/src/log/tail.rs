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
use crate::segment::{SEGMENT_HEADER, SegmentHeader, SegmentKind};
use crate::types::{EpochNumber, Location, Lsn, SegmentId, UnixMillis, WriterId};

/// How much of the active segment is made present at a time, ahead of the appender: one system call instead of 64 page faults, and
/// little enough that the first sync after it has no more to write than what was appended.
const POPULATE: usize = 256 << 10;
/// How long an append waits for a spare that is being made before it gives up.
const SPARE_PATIENCE: Duration = Duration::from_secs(10);

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
            tail.populate();
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

    fn populate(&mut self) {
        // Failing only means that the pages are faulted in one by one.
        let _ = self.segment.map().populate_ahead(POPULATE);
        self.populated = (self.segment.map().written() & !4095) + POPULATE;
    }
}
