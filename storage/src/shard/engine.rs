//! The shard: log, index, values and background work under one roof.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::background::Background;
use super::expiry::Expiry;
use super::fetch::{ColdReads, FetchDone, Readers, Wanted};
use super::materialised::Materialised;
use super::transaction::{Table, Transaction};
use super::values::Values;
use super::{Batch, Key, LockPlan};
use crate::checkpoint::Checkpointer;
use crate::clean::{Cleaning, CleaningFigures};
use crate::error::{Result, StorageError};
use crate::evict::{Eviction, Usage};
use crate::fs::LockGuard;
use crate::history::{Answer, AnswerDone, History, HistoryError, HistoryRetention, Question};
use crate::index::{Index, TableMap, TableSlot};
use crate::log::{Log, Threads};
use crate::memory::{Grant, MemoryFigures, WarmQueue};
use crate::options::{Options, SyncMode};
use crate::recovery::{Recovered, RecoveryReport};
use crate::scrub::{Scrub, ScrubFigures, ScrubPass};
use crate::segment::footer::key_hash;
use crate::slot::slot_of;
use crate::types::{DATABASES, Db, Location, Lsn, NodeId, TableId};

/// One shard of a node.
pub struct Shard {
    pub(super) options: Options,
    pub(super) log: Arc<Log>,
    pub(super) index: Arc<Index>,
    pub(super) values: Arc<Values>,
    pub(super) materialised: Materialised,
    pub(super) background: Background,
    pub(super) expiry: Expiry,
    tables: [AtomicU64; DATABASES as usize],
    /// The entry that last changed which table is whose, or what is in all of one.
    tables_lsn: AtomicU64,
    /// The end of the log when the shard was opened.
    recovered: Lsn,
    grant: Grant,
    readers: Readers,
    threads: Mutex<Threads>,
    report: RecoveryReport,
    checkpointer: Arc<Checkpointer>,
    cleaning: Cleaning,
    scrub: Scrub,
    pub(super) eviction: Eviction,
    history: History,
    /// Held for as long as the shard may write.
    lock: Mutex<Option<LockGuard>>,
}

impl Shard {
    /// Opens, recovers or creates the shard in a data directory.
    ///
    /// # Errors
    /// The directory is locked, unfit or of a later version; the log is corrupt.
    pub fn open(directory: &Arc<dyn crate::fs::Directory>, options: Options) -> Result<Self> {
        Self::open_locked(directory, options, None)
    }

    /// The same with the lock of the directory, if somebody has it already.
    /// Recovers the shard of a directory, creating none of its threads, and closes it: the next open finds it as after a clean stop.
    pub(crate) fn prepare(directory: &Arc<dyn crate::fs::Directory>, options: &Options) -> Result<()> {
        let Recovered { log, index, .. } = crate::recovery::open(directory, options, None)?;
        Self::end(&log, &index)
    }

    fn end(log: &Log, index: &Index) -> Result<()> {
        super::background::note_replay_position(log, index);
        log.close()?;
        index.set_clean(true);
        Ok(())
    }

    pub(crate) fn open_locked(directory: &Arc<dyn crate::fs::Directory>, options: Options, lock: Option<LockGuard>) -> Result<Self> {
        let Recovered { log, index, values, report, lock } = crate::recovery::open(directory, &options, lock)?;
        let threads = Threads::start(&log)?;
        let readers = Readers::start(options.reader_threads, &log, &values)?;
        let checkpointer = Arc::new(Checkpointer::new(&log, &index, options.checkpoint_bytes));
        let queue = Arc::new(WarmQueue::default());
        let grant = Grant::start(&log, &index, &values, &queue, &options)?;
        let background = Background::start(&log, &index, &values, &checkpointer, &queue)?;
        let cleaning = Cleaning::start(&log, &index, &values, &checkpointer, background.checkpoint_request(), &options)?;
        let scrub = Scrub::start(&log, &values, options.scrub_period, options.scrub_rate)?;
        let eviction = Eviction::start(&log, &index, &values, &options)?;
        let history = History::start(&log, &index, &values)?;
        let expiry = Expiry::start(&log, &index, &values, &options)?;
        let recovered = log.durability().written();
        let shard = Self {
            materialised: Materialised::new((options.memory_limit / 16).min(64 << 20)),
            options,
            log,
            index,
            values,
            background,
            expiry,
            tables: [const { AtomicU64::new(0) }; DATABASES as usize],
            tables_lsn: AtomicU64::new(0),
            recovered,
            grant,
            readers,
            threads: Mutex::new(threads),
            report,
            checkpointer,
            cleaning,
            scrub,
            eviction,
            history,
            lock: Mutex::new(Some(lock)),
        };
        let tables = shard.index.tables();
        shard.cache_tables(&tables);
        Ok(shard)
    }

    /// A shard in memory, which is gone when it is dropped.
    ///
    /// # Panics
    /// Without address space for it.
    #[must_use]
    pub fn temporary() -> Self {
        let directory: Arc<dyn crate::fs::Directory> = Arc::new(crate::fs::MemoryDirectory::new());
        let small = Options { segment_size: 16 << 20, index_reserve: 1 << 30, ..Options::default() };
        // What uses it goes through time as it likes.
        let options = Options { expiry_sweep_time: Duration::ZERO, ..small };
        Self::open(&directory, options).expect("memory has no faults")
    }

    /// The key with its hash and slot.
    #[inline]
    #[must_use]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key::new(bytes, key_hash(bytes, self.log.key_hash_seed), slot_of(bytes))
    }

    /// Starts a batch of commands: reads the clock once. What has been declared expired stays so, whatever the clock says.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch::at(self.options.clock.now().max(self.expiry.at()))
    }

    /// Locks the stripes of `plan` and begins.
    #[inline]
    #[must_use]
    pub fn begin<'s>(&'s self, batch: &'s Batch, plan: &LockPlan) -> Transaction<'s> {
        Transaction::begin(self, batch, plan)
    }

    /// Asks the processor to load the part of the index where a key will be looked up.
    #[inline]
    pub fn prefetch(&self, db: Db, key: &Key<'_>) {
        self.index.prefetch(self.table(db).slot, key.hash(), key.slot());
    }

    #[inline]
    pub(super) fn table(&self, db: Db) -> Table {
        let packed = self.tables[usize::from(db.0)].load(Ordering::Relaxed);
        let slot = TableSlot::new((packed >> 32) as u8).expect("only slots are stored");
        Table { slot, id: TableId(packed as u32) }
    }

    /// Changes the table map, in the index and in the copy that transactions read; under all stripes' locks.
    pub(super) fn set_tables(&self, tables: &TableMap) {
        self.index.set_tables(tables);
        self.cache_tables(tables);
    }

    fn cache_tables(&self, tables: &TableMap) {
        for db in (0..DATABASES).map(Db) {
            let packed = (tables.slot(db).number() as u64) << 32 | u64::from(tables.id(db).0);
            self.tables[usize::from(db.0)].store(packed, Ordering::Relaxed);
        }
        self.tables_lsn.store(tables.lsn.0, Ordering::Relaxed);
    }

    /// The last flush or swap; under the lock of any stripe.
    pub(super) fn tables_lsn(&self) -> Lsn {
        Lsn(self.tables_lsn.load(Ordering::Relaxed))
    }

    /// The end of the log when the shard was opened.
    pub(super) fn recovered_lsn(&self) -> Lsn {
        self.recovered
    }

    /// Values from this length on lie in value segments.
    #[must_use]
    pub fn large_value_threshold(&self) -> usize {
        self.options.value_segment_threshold()
    }

    /// Begins a large value that arrives in pieces: it is written beside the log, without any lock, and named by
    /// [`Transaction::put_stored`].
    ///
    /// # Errors
    /// No room; I/O errors.
    pub fn value_writer(&self, len: u64) -> Result<super::ValueWriter> {
        self.log.durability().check()?;
        self.values.writer(len)
    }

    /// Removes a value that no entry names.
    ///
    /// # Errors
    /// I/O errors; the next start removes it then.
    pub fn discard_value(&self, stored: &super::StoredValue) -> Result<()> {
        self.values.discard(stored)
    }

    /// Fetches a cold record on a reader thread; `done` is called there with it, for [`Batch::add_fetched`].
    pub fn fetch(&self, wanted: Wanted, done: FetchDone) {
        self.readers.submit(wanted, done);
    }

    /// Fetches a cold record on this thread, which may wait for the medium.
    ///
    /// # Errors
    /// I/O errors, corruption.
    pub fn fetch_now(&self, location: Location) -> Result<super::FetchedRecord> {
        super::fetch::fetch(&self.log, &self.values, Wanted::whole(location))
    }

    /// What was found when the shard was opened.
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.report
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Everything up to here survives power loss.
    #[must_use]
    pub fn flushed_lsn(&self) -> Lsn {
        self.log.durability().flushed()
    }

    /// The LSN of the last entry.
    #[must_use]
    pub fn written_lsn(&self) -> Lsn {
        self.log.durability().written()
    }

    /// Asks for everything up to `lsn` to be put on the medium.
    pub fn request_flush(&self, lsn: Lsn) {
        self.log.durability().request(lsn);
    }

    /// Calls `listener` with the flushed LSN after each flush, on the thread that did it, and when the log is poisoned.
    pub fn on_flush(&self, listener: Box<dyn Fn(Lsn) + Send + Sync>) {
        self.log.durability().on_flush(listener);
    }

    /// When the log is put on the medium.
    #[must_use]
    pub fn sync_mode(&self) -> SyncMode {
        self.log.sync_mode()
    }

    /// Changes when the log is put on the medium.
    pub fn set_sync_mode(&self, mode: SyncMode) {
        self.log.set_sync_mode(mode);
    }

    /// Puts everything on the medium, waiting for it.
    ///
    /// # Errors
    /// The failure that poisoned the log.
    pub fn flush_log(&self) -> Result<Lsn> {
        self.log.flush()
    }

    /// As [`flush_log`](Self::flush_log), unless a flush is under way: then false. A failure has poisoned the log, which its listeners
    /// are told.
    #[must_use]
    pub fn try_flush(&self) -> bool {
        self.log.try_flush().is_some()
    }

    /// How long the newest sync of the log took.
    #[must_use]
    pub fn last_sync_time(&self) -> Duration {
        self.log.counts.last_sync()
    }

    /// Takes a checkpoint, waiting for it.
    ///
    /// # Errors
    /// I/O errors; the log goes on without the checkpoint.
    pub fn checkpoint(&self) -> Result<Lsn> {
        self.checkpointer.take()
    }

    /// The node that this copy of the shard belongs to.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.log.node
    }

    /// Records read from disk because they were not in memory.
    #[must_use]
    pub fn cold_reads(&self) -> ColdReads {
        self.readers.figures()
    }

    /// What memory is used for.
    #[must_use]
    pub fn memory_figures(&self) -> MemoryFigures {
        self.grant.figures()
    }

    /// Changes [`Options::memory_limit`].
    pub fn set_memory_limit(&self, bytes: u64) {
        self.grant.set_limit(bytes);
    }

    /// Bytes of memory below which a limit cannot be kept: those of the index, and anonymous ones as far as they are counted.
    #[must_use]
    pub fn least_memory(&self) -> u64 {
        self.grant.fixed()
    }

    /// Bytes of keys and values that the index points to, all databases together. Takes each stripe's lock for a moment.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        Usage::measure(&self.index).bytes
    }

    /// Whether a checkpoint is being taken, and when the last one was done.
    #[must_use]
    pub fn checkpoint_status(&self) -> crate::checkpoint::CheckpointStatus {
        self.checkpointer.status()
    }

    /// Asks for a checkpoint in the background.
    pub fn request_checkpoint(&self) {
        self.background.request_checkpoint();
    }

    /// What cleaning did and has to do.
    #[must_use]
    pub fn cleaning_figures(&self) -> CleaningFigures {
        self.cleaning.figures()
    }

    /// Asks for a pass of cleaning over all that is worth it, in the background.
    pub fn request_cleaning(&self) {
        self.cleaning.request_pass();
    }

    /// Keeps the state as of `lsn` and of every later LSN: cleaning drops nothing that was superseded after it. `Lsn(u64::MAX)` keeps no
    /// more than the present state.
    pub fn keep_history_from(&self, lsn: Lsn) {
        self.cleaning.pin(lsn);
    }

    /// How much of the past cleaning leaves alone.
    pub fn set_history_retention(&self, retention: HistoryRetention) {
        self.cleaning.set_retention(retention);
    }

    /// Asks about the past; `done` is called on a thread of its own with the answer.
    pub fn ask_history(&self, question: Question, done: AnswerDone) {
        self.history.ask(question, done);
    }

    /// Answers a question about the past on this thread, which waits for the medium.
    ///
    /// # Errors
    /// That part of the past is not in the log; I/O errors, corruption.
    pub fn look_back(&self, question: &Question) -> Result<Answer, HistoryError> {
        self.history.answer(question)
    }

    /// What scrub did and found.
    #[must_use]
    pub fn scrub_figures(&self) -> ScrubFigures {
        self.scrub.figures()
    }

    /// In what time scrub reads everything that is sealed once (zero: it is off), and how many bytes a second at most (0: no limit).
    pub fn set_scrub_pace(&self, period: Duration, rate: u64) {
        self.scrub.set_pace(period, rate);
    }

    /// Reads everything that is sealed once and checks it, on this thread, as fast as it goes. What it finds is in
    /// [`scrub_figures`](Self::scrub_figures).
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn scrub(&self) -> Result<ScrubPass> {
        self.scrub.pass()
    }

    /// Runs a pass of cleaning, waiting for it.
    ///
    /// # Errors
    /// It did not come to its end in `patience`.
    pub fn clean(&self, patience: Duration) -> Result<()> {
        let before = self.cleaning.passes().1;
        self.cleaning.request_pass();
        let deadline = Instant::now() + patience;
        while self.cleaning.passes().1 == before {
            if Instant::now() > deadline {
                let source = std::io::Error::from(std::io::ErrorKind::TimedOut);
                return Err(StorageError::Io { action: "clean", path: self.log.directory.path(""), source });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Whether a pass that was asked for goes on, and how many have ended since the start.
    #[must_use]
    pub fn cleaning_passes(&self) -> (bool, u64) {
        self.cleaning.passes()
    }

    pub(super) fn dangling(&self, location: Location) -> StorageError {
        StorageError::Corrupt {
            path: self.log.directory.path("index"),
            offset: 0,
            lsn: Lsn(0),
            reason: format!("it points to segment {} offset {}, which is not there", location.segment(), location.offset()),
        }
    }

    /// A clean stop: everything is flushed and the index is marked as complete. Also done when the shard is dropped.
    ///
    /// # Errors
    /// What could not be written; the next start then recovers as after a crash.
    pub fn close(&self) -> Result<()> {
        self.stop_threads();
        let mut closed = self.threads.lock();
        if closed.is_closed() {
            return Ok(());
        }
        closed.set_closed();
        self.log.durability().check()?;
        Self::end(&self.log, &self.index)
    }

    /// Ends without a clean stop, as if the process had been killed: for tests of recovery.
    pub fn abandon(self) {
        self.stop_threads();
        self.threads.lock().set_closed();
    }

    /// Hands the directory's lock to whoever takes this shard's place; it is closed.
    pub(crate) fn give_up_lock(&self) -> Option<LockGuard> {
        self.lock.lock().take()
    }

    fn stop_threads(&self) {
        self.expiry.stop();
        self.scrub.stop();
        self.eviction.stop();
        self.history.stop();
        self.cleaning.stop();
        self.background.stop();
        self.grant.stop();
        self.readers.stop();
        self.threads.lock().stop(&self.log);
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!("the shard did not stop cleanly: {error}");
        }
    }
}
