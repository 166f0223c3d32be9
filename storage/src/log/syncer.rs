//! The syncer: one thread that puts the log on the medium, for everyone who waits (group commit).
//!
//! Under `always` it syncs whenever someone waits, under `everysec` once a second, under `no` only when asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::Log;
use super::durability::Request;
use crate::error::Result;
use crate::options::SyncMode;
use crate::thread::Thread;
use crate::types::Lsn;

/// How often the syncer looks up when nobody asks; also how long a flush waits to be marked while the log is idle.
const TICK: Duration = Duration::from_secs(1);

/// A sync mode that can change while the log is open.
pub(crate) struct SharedMode(AtomicU8);

impl SharedMode {
    pub(crate) fn new(mode: SyncMode) -> Self {
        Self(AtomicU8::new(mode as u8))
    }

    pub(crate) fn get(&self) -> SyncMode {
        match self.0.load(Ordering::Relaxed) {
            0 => SyncMode::Always,
            1 => SyncMode::EverySec,
            _ => SyncMode::No,
        }
    }

    pub(crate) fn set(&self, mode: SyncMode) {
        self.0.store(mode as u8, Ordering::Relaxed);
    }
}

pub(crate) fn spawn(log: &Arc<Log>) -> Result<Thread> {
    let log = Arc::clone(log);
    Thread::start("esker-sync", "the syncer", move || run(&log))
}

fn run(log: &Log) {
    let mut last_tick = Instant::now();
    loop {
        let request = log.durability.next_request(TICK.saturating_sub(last_tick.elapsed()));
        let outcome = match request {
            Request::Stop => return,
            Request::Sync => log.flush().map(drop),
            Request::Timeout => {
                last_tick = Instant::now();
                tick(log)
            }
        };
        if let Err(error) = outcome {
            log.durability.poison(&error);
            return;
        }
    }
}

fn tick(log: &Log) -> Result<()> {
    if log.mode.get() != SyncMode::No && log.durability.written() > log.durability.flushed() {
        log.flush()?;
    } else {
        log.write_due_mark();
    }
    Ok(())
}

impl Log {
    /// Puts everything written so far on the medium and returns up to which LSN that was.
    ///
    /// # Errors
    /// The first failure poisons the log: after it nobody can tell what the kernel dropped.
    pub(crate) fn flush(&self) -> Result<Lsn> {
        let _one_at_a_time = self.flushing.lock();
        self.flush_alone()
    }

    /// As [`flush`](Self::flush), unless a flush is under way: then nothing is done.
    pub(crate) fn try_flush(&self) -> Option<Result<Lsn>> {
        let _one_at_a_time = self.flushing.try_lock()?;
        Some(self.flush_alone())
    }

    /// Called with the lock of flushes held.
    fn flush_alone(&self) -> Result<Lsn> {
        self.durability.check()?;
        let (target, segments) = {
            let tail = self.tail.lock();
            let mut segments = tail.full.clone();
            segments.push(Arc::clone(&tail.segment));
            (Lsn(tail.next.0 - 1), segments)
        };
        if target <= self.durability.flushed() {
            return Ok(target);
        }
        let started = Instant::now();
        for segment in segments {
            if let Err(error) = segment.sync() {
                self.durability.poison(&error);
                return Err(error);
            }
        }
        self.counts.synced(started.elapsed());
        // The mark is due before anyone hears of the flush, so that the next batch carries it.
        self.tail.lock().mark_due = Some(target);
        self.durability.set_flushed(target);
        Ok(target)
    }
}
