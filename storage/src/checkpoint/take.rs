//! Taking a checkpoint while everything else goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::format::{self, Head, Section};
use crate::clock::wall_clock;
use crate::error::{Result, StorageError};
use crate::fs::File;
use crate::index::{Index, TableMap, TableSlot};
use crate::log::Log;
use crate::manifest::Checkpoint;
use crate::segment::names::FileName;
use crate::types::{DATABASES, Db, Lsn, STRIPES, Slot, UnixMillis};

/// Bytes of cells copied under one lock: some 10 µs of a writer's time.
const PIECE: usize = 16 << 10;
/// How long a checkpoint that nobody waits for works before it rests, and how long it then rests. It does not run at a low priority:
/// a thread that is kept from running while it holds a stripe keeps the writers of that stripe waiting with it.
const WORK: Duration = Duration::from_millis(1);
const REST: Duration = Duration::from_millis(4);
/// Bytes written at a time. The allocator keeps the buffer for the next checkpoint, so it is memory that an idle server has.
const WRITE: usize = 192 << 10;
/// How often the page cache is asked to let go of what was written: without that a checkpoint takes memory by its size.
const DROP: u64 = 4 << 20;
/// Slots of a stripe.
const STRIPE_SLOTS: u16 = 64;

/// Takes checkpoints of one shard, one at a time.
pub struct Checkpointer {
    log: Arc<Log>,
    index: Arc<Index>,
    interval: u64,
    running: AtomicBool,
    /// Checkpoints begun since the start, failed ones too.
    begun: AtomicU64,
    /// Which of them the newest good one is.
    completed: AtomicU64,
    one_at_a_time: Mutex<()>,
    /// How many wait for a checkpoint.
    waiting: AtomicU32,
    /// Space is short, and cleaned segments can go only after the next one.
    urgent: AtomicBool,
    /// Bytes of log appended when the last checkpoint began.
    last_bytes: AtomicU64,
    last_done: AtomicU64,
    last_millis: AtomicU64,
    lsn: AtomicU64,
    count: AtomicU64,
    failed: AtomicBool,
}

/// How checkpoints are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointStatus {
    /// Whether one is being taken.
    pub running: bool,
    /// When the last one was done, since this start (0: none).
    pub last_done: UnixMillis,
    /// Whether the last attempt succeeded.
    pub last_ok: bool,
    /// Bytes of log written since the last one began.
    pub log_bytes_since: u64,
    /// The index is in the newest one up to here.
    pub lsn: Lsn,
    /// How long the last one took.
    pub last_millis: u64,
    /// Those taken since the start.
    pub count: u64,
}

impl Checkpointer {
    pub(crate) fn new(log: &Arc<Log>, index: &Arc<Index>, interval: u64) -> Self {
        Self {
            log: Arc::clone(log),
            index: Arc::clone(index),
            interval,
            running: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            one_at_a_time: Mutex::new(()),
            waiting: AtomicU32::new(0),
            urgent: AtomicBool::new(false),
            last_bytes: AtomicU64::new(0),
            last_done: AtomicU64::new(0),
            last_millis: AtomicU64::new(0),
            lsn: AtomicU64::new(log.manifest.lock().checkpoint.map_or(0, |checkpoint| checkpoint.lsn.0)),
            count: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }

    /// Whether max(interval, 4 × index) bytes of log have been written since the last one.
    pub(crate) fn is_due(&self) -> bool {
        let due = self.interval.max(4 * self.index.bytes_used());
        self.log.appended_bytes() - self.last_bytes.load(Ordering::Relaxed) >= due
    }

    pub(crate) fn status(&self) -> CheckpointStatus {
        CheckpointStatus {
            running: self.running.load(Ordering::Acquire),
            last_done: UnixMillis(self.last_done.load(Ordering::Relaxed) as i64),
            last_ok: !self.failed.load(Ordering::Relaxed),
            log_bytes_since: self.log.appended_bytes() - self.last_bytes.load(Ordering::Relaxed),
            lsn: Lsn(self.lsn.load(Ordering::Relaxed)),
            last_millis: self.last_millis.load(Ordering::Relaxed),
            count: self.count.load(Ordering::Relaxed),
        }
    }

    /// Whether checkpoints do not rest: the space that they set free is needed.
    pub(crate) fn set_urgent(&self, urgent: bool) {
        self.urgent.store(urgent, Ordering::Relaxed);
    }

    /// How many have begun since the start.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// The newest that the manifest names is the so many-th that began since the start; 0: it is of an earlier run.
    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(Ordering::Acquire)
    }

    /// Takes one now, for who waits, and returns the LSN from which it is replayed.
    pub(crate) fn take(&self) -> Result<Lsn> {
        self.hurry();
        let outcome = self.take_in_background();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        outcome
    }

    /// The one that is being taken does not rest any more, nor do later ones.
    pub(crate) fn hurry(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one that nobody waits for: most of the processor's time is left to others.
    pub(crate) fn take_in_background(&self) -> Result<Lsn> {
        let _guard = self.one_at_a_time.lock();
        self.running.store(true, Ordering::Release);
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let bytes = self.log.appended_bytes();
        let started = Instant::now();
        let outcome = self.write();
        self.failed.store(outcome.is_err(), Ordering::Relaxed);
        // After a failure, too: the next attempt comes when as much again has been written, not in a busy loop.
        self.last_bytes.store(bytes, Ordering::Relaxed);
        if let Ok(next) = &outcome {
            self.completed.store(number, Ordering::Release);
            self.lsn.store(next.0 - 1, Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
            self.last_millis.store(started.elapsed().as_millis() as u64, Ordering::Relaxed);
            self.last_done.store(wall_clock().0 as u64, Ordering::Relaxed);
        }
        self.running.store(false, Ordering::Release);
        outcome
    }

    fn write(&self) -> Result<Lsn> {
        // Expired keys stay until the image is there. Otherwise its counters might lack one that is in its cells, or that a replayed entry
        // from between the image's start and its counters brings back.
        let no_removals = self.index.unlogged();
        let start = self.log.durability().written();
        let tables = {
            // Whoever changes the tables, or evicts, holds all stripes from before the append until that is done: what was written up to
            // `start` has been done once one of them is free.
            let _none_under_way = self.index.stripe(0).read();
            self.index.tables()
        };
        let name = FileName::Checkpoint(start).to_string();
        let written = self.write_file(&name, start, &tables);
        drop(no_removals);
        let pointed_to = written.inspect_err(|_| drop(self.log.directory.remove(&name)))?;
        while self.log.durability().flushed() < pointed_to {
            self.log.flush()?;
        }
        self.register(start)?;
        Ok(start.next())
    }

    fn write_file(&self, name: &str, start: Lsn, tables: &TableMap) -> Result<Lsn> {
        let directory = &self.log.directory;
        let path = directory.path(name);
        let file = directory.create(name).map_err(StorageError::io("create", &path))?;
        let mut writer =
            Writer { file: file.as_ref(), buffer: Vec::with_capacity(WRITE + PIECE), at: 0, sections: 0, rested: Instant::now() };
        let head = Head { replay_from: start.next(), key_hash_seed: self.log.key_hash_seed, tables: tables.clone() };
        writer.buffer.extend(head.encode());
        let expired = self.index.expired();
        if expired.lsn > Lsn(0) {
            let section = Section { kind: format::EXPIRED, table: 0, stripe: 0, count: 0, lsn: expired.lsn };
            writer.section(&section, |out| out.extend(expired.at.0.to_le_bytes()))?;
        }
        let evicted = self.index.evicted();
        if evicted > Lsn(0) {
            writer.section(&Section { kind: format::EVICTED, table: 0, stripe: 0, count: 0, lsn: evicted }, |_| ())?;
        }
        for stripe in 0..STRIPES {
            for db in (0..DATABASES).map(Db) {
                self.write_table(&mut writer, stripe, tables.slot(db))?;
            }
        }
        let pointed_to = self.log.durability().written();
        let end = Section { kind: format::END, table: 0, stripe: 0, count: writer.sections, lsn: pointed_to };
        end.encode(&mut writer.buffer, |_| ());
        writer.flush()?;
        file.sync_all().map_err(StorageError::io("sync", &path))?;
        // Nobody reads it before the next start.
        let _ = file.forget(0, 0);
        Ok(pointed_to)
    }

    fn write_table(&self, writer: &mut Writer<'_>, stripe: usize, table: TableSlot) -> Result<()> {
        let keys = self.index.stripe(stripe).read().table_keys(&self.index, table);
        if keys > 0 {
            // So that loading makes the leaves once, at their size, and does not grow them key by key.
            let expect =
                Section { kind: format::EXPECT, table: table.number() as u8, stripe: stripe as u16, count: keys as u32, lsn: Lsn(0) };
            writer.section(&expect, |_| ())?;
        }
        let mut cursor = Some(0);
        let mut cells = Vec::new();
        let mut copied = false;
        while let Some(at) = cursor {
            cells.clear();
            let lsn = {
                let stripe = self.index.stripe(stripe).read();
                cursor = stripe.copy_piece(&self.index, table, at, PIECE, &mut cells);
                stripe.applied(&self.index)
            };
            copied |= !cells.is_empty();
            if !cells.is_empty() {
                let section =
                    Section { kind: format::CELLS, table: table.number() as u8, stripe: stripe as u16, count: cells.len() as u32, lsn };
                writer.section(&section, |out| cells.iter().for_each(|cell| format::put_cell(out, cell)))?;
            }
            if self.waiting.load(Ordering::Relaxed) == 0 && !self.urgent.load(Ordering::Relaxed) {
                writer.rest_if_due();
            }
        }
        self.write_counters(writer, stripe, table, copied)
    }

    /// `copied`: cells were; that there are no keys any more has to be told then too.
    fn write_counters(&self, writer: &mut Writer<'_>, number: usize, table: TableSlot, copied: bool) -> Result<()> {
        let (counters, lsn) = {
            let stripe = self.index.stripe(number).read();
            let slots = (0..STRIPE_SLOTS).map(|n| (n, Slot(number as u16 * STRIPE_SLOTS + n)));
            let counters: Vec<_> =
                slots.map(|(n, slot)| (n, stripe.slot_counters(&self.index, table, slot))).filter(|(_, c)| c.keys > 0).collect();
            (counters, stripe.applied(&self.index))
        };
        if counters.is_empty() && !copied {
            return Ok(());
        }
        let section =
            Section { kind: format::SLOT_COUNTERS, table: table.number() as u8, stripe: number as u16, count: counters.len() as u32, lsn };
        writer.section(&section, |out| counters.iter().for_each(|(n, c)| format::put_counters(out, u32::from(*n), c)))
    }

    fn register(&self, start: Lsn) -> Result<()> {
        let directory = &self.log.directory;
        directory.sync().map_err(StorageError::io("sync", directory.path("")))?;
        let mut manifest = self.log.manifest.lock();
        let previous = manifest.checkpoint.replace(Checkpoint { lsn: start, replay_from: start.next() });
        self.log.store_manifest(&mut manifest)?;
        if let Some(previous) = previous.filter(|p| p.lsn != start) {
            // What is left behind is removed at the next start.
            let _ = directory.remove(&FileName::Checkpoint(previous.lsn).to_string());
        }
        Ok(())
    }
}

struct Writer<'f> {
    file: &'f dyn File,
    buffer: Vec<u8>,
    at: u64,
    sections: u32,
    /// The end of the last rest.
    rested: Instant,
}

impl Writer<'_> {
    fn rest_if_due(&mut self) {
        if self.rested.elapsed() >= WORK {
            std::thread::sleep(REST);
            self.rested = Instant::now();
        }
    }

    fn section(&mut self, section: &Section, fill: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        section.encode(&mut self.buffer, fill);
        self.sections += 1;
        if self.buffer.len() >= WRITE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let len = self.buffer.len() as u64;
        self.file.allocate(self.at, len).map_err(StorageError::io("allocate", self.file.path()))?;
        self.file.write_at(self.at, &self.buffer).map_err(StorageError::io("write", self.file.path()))?;
        if self.at / DROP != (self.at + len) / DROP {
            // What is not on the medium yet is on its way to it from then on, and goes the next time.
            let from = self.at.saturating_sub(3 * DROP);
            let _ = self.file.forget(from, self.at - from);
        }
        self.at += len;
        self.buffer.clear();
        Ok(())
    }
}
