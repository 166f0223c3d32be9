//! The reader pool: fetches records that are not in memory, so that no worker waits for the medium and no lock is held meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::chain::{self, Source};
pub use super::fetch_figures::ColdReads;
use super::locate;
use super::record::{Fetched, Record};
use super::values::Values;
use crate::codec::op::OpCode;
use crate::codec::value_ref::ValueRef;
use crate::error::{Result, StorageError};
use crate::log::{Log, SegmentTable};
use crate::types::{Location, Lsn};

/// What to fetch: a record, and of its string, if that is in a value segment, a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Where the record lies.
    pub location: Location,
    start: u64,
    len: u64,
}

impl Wanted {
    /// The record with all of its string.
    #[must_use]
    pub fn whole(location: Location) -> Self {
        Self::range(location, 0, u64::MAX)
    }

    pub(super) fn range(location: Location, start: u64, len: u64) -> Self {
        Self { location, start, len }
    }
}

/// A part of a string that lies elsewhere than its record.
#[derive(Debug, Clone)]
pub(super) struct FetchedValue {
    start: u64,
    bytes: Arc<[u8]>,
    /// Whether the string ends with these bytes.
    to_end: bool,
}

impl FetchedValue {
    pub(super) fn covers(&self, start: u64, len: u64) -> bool {
        start >= self.start && (self.to_end || start.saturating_add(len) <= self.start + self.bytes.len() as u64)
    }

    /// The bytes from `start` on.
    pub(super) fn from(&self, start: u64) -> &[u8] {
        usize::try_from(start - self.start).ok().and_then(|start| self.bytes.get(start..)).unwrap_or_default()
    }
}

/// A record that was read from the medium, with its string put together if it is a delta or in a value segment, or why it could not be.
#[derive(Debug, Clone)]
pub struct FetchedRecord {
    pub(super) location: Location,
    pub(super) outcome: std::result::Result<(Fetched, Option<FetchedValue>), Arc<StorageError>>,
}

impl FetchedRecord {
    /// What a command is to be told of a record that could not be fetched.
    #[must_use]
    pub fn failed(location: Location, error: StorageError) -> Self {
        Self { location, outcome: Err(Arc::new(error)) }
    }
}

/// Called on a reader thread with what was fetched.
pub type FetchDone = Box<dyn FnOnce(Result<FetchedRecord>) + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<(Wanted, FetchDone, Instant)>,
    figures: ColdReads,
    stop: bool,
}

/// The threads that fetch.
pub(super) struct Readers {
    shared: Arc<(Mutex<Queue>, Condvar)>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    pub(super) fn start(threads: usize, log: &Arc<Log>, values: &Arc<Values>) -> Result<Self> {
        let shared = Arc::new((Mutex::new(Queue::default()), Condvar::new()));
        let handles = (0..threads.max(1)).map(|number| {
            let (shared, log, values) = (Arc::clone(&shared), Arc::clone(log), Arc::clone(values));
            let run = move || run(&shared, &log, &values);
            std::thread::Builder::new()
                .name(format!("esker-read-{number}"))
                .spawn(run)
                .map_err(StorageError::io("start a thread for", "the readers"))
        });
        let handles = handles.collect::<Result<Vec<_>>>()?;
        Ok(Self { shared, handles: Mutex::new(handles) })
    }

    pub(super) fn submit(&self, wanted: Wanted, done: FetchDone) {
        let mut queue = self.shared.0.lock();
        queue.jobs.push_back((wanted, done, Instant::now()));
        drop(queue);
        self.shared.1.notify_one();
    }

    pub(super) fn figures(&self) -> ColdReads {
        let queue = self.shared.0.lock();
        let mut figures = queue.figures;
        figures.queued = queue.jobs.len() as u64;
        figures
    }

    pub(super) fn stop(&self) {
        self.shared.0.lock().stop = true;
        self.shared.1.notify_all();
        for handle in self.handles.lock().drain(..) {
            let _ = handle.join();
        }
    }
}

fn run(shared: &(Mutex<Queue>, Condvar), log: &Log, values: &Values) {
    loop {
        let (wanted, done, since) = {
            let mut queue = shared.0.lock();
            loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.stop {
                    return;
                }
                shared.1.wait(&mut queue);
            }
        };
        let outcome = fetch(log, values, wanted);
        shared.0.lock().figures.note(since.elapsed(), outcome.is_err());
        done(outcome);
    }
}

/// Reads the record at a location, and its string if that is elsewhere, waiting for the medium.
pub(super) fn fetch(log: &Log, values: &Values, wanted: Wanted) -> Result<FetchedRecord> {
    let location = wanted.location;
    let segments = log.segments();
    let source = Waiting { segments: &segments, values };
    let record = source.fetched(location)?;
    let view = Record::fetched(&record)?;
    log.copy(&view);
    let total = chain::value_len(&view)?;
    let (start, end) = match view.header.code {
        OpCode::Put if view.header.value_segment => (wanted.start.min(total), wanted.start.saturating_add(wanted.len).min(total)),
        OpCode::Delta => (0, total),
        _ => return Ok(FetchedRecord { location, outcome: Ok((record, None)) }),
    };
    let mut bytes = vec![0; (end - start) as usize];
    chain::read_range(&source, &view, start, &mut bytes)?;
    let value = FetchedValue { start, bytes: bytes.into(), to_end: end == total };
    Ok(FetchedRecord { location, outcome: Ok((record, Some(value))) })
}

/// The whole string of the record at a location.
pub(super) fn whole_value(segments: &SegmentTable, values: &Values, location: Location) -> Result<Vec<u8>> {
    let source = Waiting { segments, values };
    let record = source.fetched(location)?;
    let view = Record::fetched(&record)?;
    let mut value = vec![0; chain::value_len(&view)? as usize];
    chain::read_range(&source, &view, 0, &mut value)?;
    Ok(value)
}

/// Records read from the medium.
struct Waiting<'a> {
    segments: &'a SegmentTable,
    values: &'a Values,
}

impl Waiting<'_> {
    fn fetched(&self, location: Location) -> Result<Fetched> {
        let segment = self.segments.get(location.segment()).ok_or(StorageError::Cold(location))?;
        segment.uses().missed();
        Record::wait(segment, location)
    }
}

impl Source for Waiting<'_> {
    fn record(&self, location: Location) -> Result<Record<'_>> {
        Record::fetched(&self.fetched(location)?)
    }

    fn locate(&self, lsn: Lsn, number: u32) -> Result<Location> {
        locate::waiting(self.segments, lsn, number)
    }

    fn read_value(&self, reference: &ValueRef, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.values.read(reference, offset, buf)
    }
}
