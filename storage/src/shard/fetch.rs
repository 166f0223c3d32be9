//! The reader pool: fetches records that are not in memory, so that no worker waits for the medium and no lock is held meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::chain::{self, Source};
use super::locate;
use super::record::{Fetched, Record};
use super::values::Values;
use crate::codec::op::OpCode;
use crate::codec::value_ref::ValueRef;
use crate::error::{Result, StorageError};
use crate::log::{Log, SegmentTable};
use crate::types::{Location, Lsn};

/// A record that was read from the medium, with its string put together if it is a delta or in a value segment.
#[derive(Debug, Clone)]
pub struct FetchedRecord {
    pub(super) record: Fetched,
    pub(super) value: Option<Arc<[u8]>>,
}

/// Called on a reader thread with what was fetched.
pub type FetchDone = Box<dyn FnOnce(Result<FetchedRecord>) + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<(Location, FetchDone)>,
    taken: u64,
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

    pub(super) fn submit(&self, location: Location, done: FetchDone) {
        let mut queue = self.shared.0.lock();
        queue.jobs.push_back((location, done));
        queue.taken += 1;
        drop(queue);
        self.shared.1.notify_one();
    }

    pub(super) fn count(&self) -> u64 {
        self.shared.0.lock().taken
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
        let (location, done) = {
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
        done(fetch(log, values, location));
    }
}

/// Reads the record at a location, and its string if that is elsewhere, waiting for the medium.
pub(super) fn fetch(log: &Log, values: &Values, location: Location) -> Result<FetchedRecord> {
    let segments = log.segments();
    let source = Waiting { segments: &segments, values };
    let record = source.fetched(location)?;
    let view = Record::fetched(&record)?;
    let elsewhere = view.header.code == OpCode::Delta || view.header.value_segment;
    let value = if elsewhere {
        let mut value = vec![0; chain::value_len(&view)? as usize];
        chain::read_range(&source, &view, 0, &mut value)?;
        Some(value.into())
    } else {
        None
    };
    Ok(FetchedRecord { record, value })
}

/// Records read from the medium.
struct Waiting<'a> {
    segments: &'a SegmentTable,
    values: &'a Values,
}

impl Waiting<'_> {
    fn fetched(&self, location: Location) -> Result<Fetched> {
        let segment = self.segments.get(location.segment()).ok_or(StorageError::Cold(location))?;
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
