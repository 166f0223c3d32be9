//! An open segment: its mapping, how far it is on the medium, and how to find an LSN in it.
//!
//! Invariants:
//! - Bytes below `map.written()` are frames that passed their checks, written by this process or verified at recovery.
//! - `synced <= map.written()`; bytes below `synced` survive power loss.
//! - A worker reads through the mapping only while the segment is hot; otherwise through `read_nowait` or the reader pool.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::uses::Uses;
use crate::codec::checksum::ShardSeed;
use crate::codec::entry::TIME_OFFSET;
use crate::codec::frame::{FrameKind, FrameStart, SINGLE_HEADER};
use crate::error::{Result, StorageError};
use crate::fs::File;
use crate::mapping::{AppendMap, Appender};
use crate::segment::{Continuity, SEGMENT_HEADER};
use crate::types::{Generation, Lsn, SegmentId, UnixMillis};

/// How many bytes of log lie between two notes of the sparse LSN index.
pub(crate) const NOTE_EVERY: u32 = 64 << 10;

/// What a sealed segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedCounts {
    /// Ops of all kinds.
    pub ops: u64,
    /// Those that give a key a value and were written since the start.
    pub values: u64,
}

/// One segment of the log, active, sealed or spare.
pub struct Segment {
    id: SegmentId,
    generation: Generation,
    seed: ShardSeed,
    base_lsn: OnceLock<Lsn>,
    file: Box<dyn File>,
    map: AppendMap,
    hot: AtomicBool,
    sealed: AtomicBool,
    synced: AtomicUsize,
    /// Whether all its bytes were written by this process.
    own: bool,
    /// Where what was written since the start begins.
    own_from: usize,
    /// Whether records were dropped from it.
    cleaned: bool,
    /// Clock of the log when it was begun.
    created: UnixMillis,
    /// Its live records lie in a cleaned segment.
    retired: AtomicBool,
    /// Its bytes could not be read, or did not pass their checks, the last time.
    bad: AtomicBool,
    /// Whether records in it may name value segments.
    names_values: AtomicBool,
    /// Place in the eviction order.
    stamp: AtomicU64,
    /// Ops that stayed in it for the sake of history, and when they may be judged again: when that has gone on to this LSN.
    held: OnceLock<(u64, Lsn)>,
    /// Clock of its first entry.
    first_time: OnceLock<UnixMillis>,
    /// What was counted when it was sealed.
    counts: OnceLock<SealedCounts>,
    /// Whether the index was told how many of its cells were pointed here while it was written.
    cells_noted: AtomicBool,
    last_lsn: AtomicU64,
    notes: Mutex<Vec<(Lsn, u32)>>,
    /// Whether the page cache may hold some of it while it is not hot.
    cached: AtomicBool,
    uses: Uses,
}

impl Segment {
    pub(crate) fn new(id: SegmentId, generation: Generation, seed: ShardSeed, file: Box<dyn File>, map: AppendMap) -> Self {
        Self {
            id,
            generation,
            seed,
            base_lsn: OnceLock::new(),
            file,
            map,
            hot: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            synced: AtomicUsize::new(0),
            own: true,
            own_from: 0,
            cleaned: false,
            created: UnixMillis(0),
            retired: AtomicBool::new(false),
            bad: AtomicBool::new(false),
            names_values: AtomicBool::new(false),
            stamp: AtomicU64::new(0),
            held: OnceLock::new(),
            first_time: OnceLock::new(),
            counts: OnceLock::new(),
            cells_noted: AtomicBool::new(false),
            last_lsn: AtomicU64::new(0),
            notes: Mutex::new(Vec::new()),
            cached: AtomicBool::new(true),
            uses: Uses::default(),
        }
    }

    /// The same segment with its written end at `written`: when a log is opened, what is mapped is longer than what counts.
    pub(crate) fn reopened(&self, written: usize) -> Result<(Self, Appender)> {
        let file = self.file.try_clone().map_err(StorageError::io("reopen", self.file.path()))?;
        let (map, appender) = AppendMap::new(Arc::clone(self.map.region()), written, self.map.capacity());
        let mut segment = Self::new(self.id, self.generation, self.seed, file, map);
        (segment.own, segment.own_from) = (false, written);
        segment.set_origin(self.stamp.load(Ordering::Relaxed), self.cleaned, self.created);
        segment.names_values = AtomicBool::new(self.names_values());
        if let Some(base) = self.base_lsn() {
            segment.set_base_lsn(base);
        }
        segment.set_last_lsn(self.last_lsn());
        Ok((segment, appender))
    }

    pub(crate) fn set_origin(&mut self, stamp: u64, cleaned: bool, created: UnixMillis) {
        (self.stamp, self.cleaned, self.created) = (AtomicU64::new(stamp), cleaned, created);
    }

    /// Place in the eviction order: of a segment that is as it was written, the LSN that it begins with.
    #[must_use]
    pub fn stamp(&self) -> u64 {
        match self.stamp.load(Ordering::Relaxed) {
            0 => self.base_lsn().unwrap_or_default().0,
            stamp => stamp,
        }
    }

    pub(crate) fn set_stamp(&self, stamp: u64) {
        self.stamp.store(stamp, Ordering::Relaxed);
    }

    /// Whether records in it may name value segments.
    pub(crate) fn names_values(&self) -> bool {
        self.names_values.load(Ordering::Relaxed)
    }

    pub(crate) fn set_names_values(&self) {
        self.names_values.store(true, Ordering::Relaxed);
    }

    /// Whether records were dropped from it.
    #[must_use]
    pub fn is_cleaned(&self) -> bool {
        self.cleaned
    }

    /// Of a cleaned segment the clock of the log when judging began what stays in it; none of others.
    pub(crate) fn judged_at(&self) -> Option<UnixMillis> {
        self.cleaned.then_some(self.created)
    }

    /// What its LSNs must be like.
    #[must_use]
    pub fn continuity(&self) -> Continuity {
        if self.cleaned { Continuity::Rising } else { Continuity::Every }
    }

    /// Whether its live records lie in a cleaned segment.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether its bytes could not be read, or did not pass their checks, the last time: then it is not read through its mapping, where a
    /// medium that fails is a signal and not an error.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.bad.load(Ordering::Acquire)
    }

    pub(crate) fn set_bad(&self, bad: bool) {
        self.bad.store(bad, Ordering::Release);
    }

    /// What was counted when it was sealed, if this process did that.
    #[must_use]
    pub fn counts(&self) -> Option<SealedCounts> {
        self.counts.get().copied()
    }

    pub(crate) fn set_counts(&self, counts: SealedCounts) {
        let _ = self.counts.set(counts);
    }

    /// How many cells were pointed to it while it was written, told once: to whoever asks first after it was sealed.
    pub(crate) fn take_cells(&self) -> Option<u32> {
        let counts = self.counts().filter(|_| self.is_sealed() && !self.cleaned)?;
        (!self.cells_noted.swap(true, Ordering::AcqRel)).then_some(counts.values as u32)
    }

    /// Ops that stayed in it for the sake of history only, once that is kept from `pin` on.
    pub(crate) fn released(&self, pin: Lsn) -> u64 {
        self.held.get().filter(|(_, until)| *until <= pin).map_or(0, |(ops, _)| *ops)
    }

    pub(crate) fn set_held(&self, ops: u64, until: Lsn) {
        let _ = self.held.set((ops, until));
    }

    /// The clock of its first entry; none while it has none. May wait for the medium.
    #[must_use]
    pub fn first_time(&self) -> Option<UnixMillis> {
        if let Some(known) = self.first_time.get() {
            return Some(*known);
        }
        let mut at = SEGMENT_HEADER as u64;
        let end = self.map.written() as u64;
        loop {
            let mut head = [0; SINGLE_HEADER];
            if at + SINGLE_HEADER as u64 > end {
                return None;
            }
            self.file.read_at(at, &mut head).ok()?;
            match FrameStart::parse(&head).ok()?.kind {
                FrameKind::FlushMark => at += u64::from(FrameStart::parse(&head).ok()?.len),
                FrameKind::Entry => break self.first_time_of(&head),
                FrameKind::Footer | FrameKind::PackedEntries => return None,
            }
        }
    }

    fn first_time_of(&self, entry: &[u8; SINGLE_HEADER]) -> Option<UnixMillis> {
        let mut millis = [0; 8];
        millis[..6].copy_from_slice(&entry[TIME_OFFSET..TIME_OFFSET + 6]);
        let time = UnixMillis(i64::from_le_bytes(millis));
        let _ = self.first_time.set(time);
        Some(time)
    }

    /// The number that locations use.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// The number in the file's name.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// What its checksums are seeded by.
    #[must_use]
    pub fn seed(&self) -> ShardSeed {
        self.seed
    }

    /// The LSN of its first entry; none while it is a spare.
    #[must_use]
    pub fn base_lsn(&self) -> Option<Lsn> {
        self.base_lsn.get().copied()
    }

    pub(crate) fn set_base_lsn(&self, lsn: Lsn) {
        let first = self.base_lsn.set(lsn).is_ok();
        debug_assert!(first, "a segment begins once");
    }

    /// The LSN of its last entry so far (base - 1 when there is none).
    #[must_use]
    pub fn last_lsn(&self) -> Lsn {
        Lsn(self.last_lsn.load(Ordering::Acquire))
    }

    pub(crate) fn set_last_lsn(&self, lsn: Lsn) {
        self.last_lsn.store(lsn.0, Ordering::Release);
    }

    pub(crate) fn file(&self) -> &dyn File {
        self.file.as_ref()
    }

    pub(crate) fn map(&self) -> &AppendMap {
        &self.map
    }

    /// Whether workers may read it through its mapping.
    #[inline]
    #[must_use]
    pub fn is_hot(&self) -> bool {
        self.hot.load(Ordering::Relaxed)
    }

    pub(crate) fn set_hot(&self, hot: bool) {
        if hot {
            self.cached.store(true, Ordering::Relaxed);
        }
        self.hot.store(hot, Ordering::Relaxed);
    }

    /// Gives its memory back; it is not hot, and has not been for long enough that no worker still reads it through the mapping.
    pub(crate) fn release(&self) {
        self.cached.store(false, Ordering::Relaxed);
        // What fails here only costs memory.
        let _ = self.map.region().release();
        // Or else records read in order would bring in what follows them, which then stays.
        let _ = self.file.expect_random();
        let _ = self.file.forget(0, 0);
    }

    /// Gives back the memory of its footer, which nobody reads while it is open.
    pub(crate) fn drop_footer(&self) {
        let _ = self.file.forget((self.map.written() as u64).next_multiple_of(4096), 0);
    }

    /// Whether it is worth looking into the page cache before its medium is asked.
    pub(crate) fn may_be_cached(&self) -> bool {
        self.cached.load(Ordering::Relaxed)
    }

    /// Reads from the medium, if it is not hot, in a way that leaves nothing in the page cache.
    pub(crate) fn read_waiting(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let uncached = !self.is_hot() && !self.may_be_cached();
        let read = if uncached { self.file.read_at_uncached(offset, buf) } else { self.file.read_at(offset, buf) };
        read.map_err(|source| {
            if source.kind() != std::io::ErrorKind::UnexpectedEof {
                self.set_bad(true);
            }
            StorageError::io("read", self.file.path())(source)
        })
    }

    /// How often it is read.
    #[inline]
    pub(crate) fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Whether all its bytes were written by this process, so that they need not be checked again.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    /// The offset from which on its bytes were written since the start.
    pub(crate) fn own_from(&self) -> usize {
        self.own_from
    }

    /// Whether it ends with a footer.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(crate) fn set_sealed(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    /// The bytes from `offset` to the written end, if the segment is hot.
    #[inline]
    #[must_use]
    pub fn hot_bytes(&self, offset: u32) -> Option<&[u8]> {
        if self.is_hot() { self.map.read_from(offset as usize) } else { None }
    }

    /// The bytes from `offset` to the written end, whether hot or not: may wait for the medium, so never on a worker.
    #[must_use]
    pub fn bytes(&self, offset: u32) -> Option<&[u8]> {
        self.map.read_from(offset as usize)
    }

    /// Puts everything written so far on the medium.
    pub(crate) fn sync(&self) -> Result<()> {
        let written = self.map.written();
        if self.synced.load(Ordering::Acquire) >= written {
            return Ok(());
        }
        self.file.sync_data().map_err(StorageError::io("sync", self.file.path()))?;
        self.synced.fetch_max(written, Ordering::AcqRel);
        Ok(())
    }

    /// Notes that the entry of `lsn` starts at `offset`; the caller does so about every [`NOTE_EVERY`] bytes.
    pub(crate) fn note(&self, lsn: Lsn, offset: u32) {
        self.notes.lock().push((lsn, offset));
    }

    pub(crate) fn set_notes(&self, notes: Vec<(Lsn, u32)>) {
        *self.notes.lock() = notes;
    }

    /// The offset of an entry at or before `lsn` from which to look for it; none when there are no notes.
    pub(crate) fn nearest(&self, lsn: Lsn) -> Option<u32> {
        let notes = self.notes.lock();
        let after = notes.partition_point(|(noted, _)| *noted <= lsn);
        notes.get(after.checked_sub(1)?).map(|(_, offset)| *offset)
    }
}
