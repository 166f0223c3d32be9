//! One pass: everything that is sealed, once.

use std::sync::{Arc, Weak};

use super::figures::{BadSegment, Counts};
use super::piece::{Pieces, Stopped};
use super::{segment, value};
use crate::error::{Result, StorageError};
use crate::fs::File;
use crate::log::{Log, Segment};
use crate::segment::names::FileName;
use crate::shard::Values;
use crate::types::Lsn;

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubPass {
    /// Files read to their end.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Files that did not pass their checks.
    pub bad: u64,
}

/// What a pass reads.
pub(super) struct Scrubber {
    pub(super) log: Arc<Log>,
    pub(super) values: Arc<Values>,
}

/// One file to read. What waits for its turn is not pinned: a pass may take weeks.
pub(super) enum Job {
    Segment(Weak<Segment>),
    Value(u128),
}

/// Told of each piece and of what is left of the pass; false: stop.
pub(super) type Rest<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

impl Scrubber {
    /// What there is to read, with its bytes.
    pub(super) fn jobs(&self) -> Result<Vec<(Job, u64)>> {
        let segments = self.log.segments().in_order().into_iter().filter(|segment| segment.is_sealed());
        let mut jobs: Vec<_> = segments.map(|segment| (Job::Segment(Arc::downgrade(&segment)), segment.map().written() as u64)).collect();
        let directory = &self.log.directory;
        for name in directory.list().map_err(StorageError::io("list", directory.path("")))? {
            if let Some(FileName::Value(id)) = FileName::parse(&name)
                && let Ok(file) = directory.open_read_only(&name)
            {
                jobs.push((Job::Value(id), file.len().unwrap_or(0)));
            }
        }
        Ok(jobs)
    }

    /// Reads one file; false: told to stop.
    fn run(&self, job: &Job, counts: &Counts, pass: &mut ScrubPass, rest: &mut dyn FnMut(u64) -> bool) -> bool {
        let mut stopped = false;
        let mut bytes = 0;
        match job {
            Job::Segment(segment) => {
                let Some(segment) = segment.upgrade() else { return true };
                let mut after = |read: u64| {
                    bytes += read;
                    stopped = !rest(read);
                    !stopped && !segment.is_retired()
                };
                let mut pieces = Pieces { file: segment.file(), forget: !segment.is_hot(), rest: &mut after };
                let checked = segment::check(&segment, &mut pieces);
                // What was removed meanwhile is no finding.
                let checked = if segment.is_retired() { Err(Stopped::Left) } else { checked };
                self.note(&of_segment(&segment), checked, counts, pass, |bad| segment.set_bad(bad))
            }
            Job::Value(id) => {
                let mut after = |read: u64| {
                    bytes += read;
                    stopped = !rest(read);
                    !stopped
                };
                let checked = self.check_value(*id, &mut after);
                self.note(&FileName::Value(*id).to_string(), checked, counts, pass, |_| ())
            }
        }
        pass.bytes += bytes;
        !stopped
    }

    fn check_value(&self, id: u128, rest: &mut dyn FnMut(u64) -> bool) -> Result<(), Stopped> {
        // One that is being written has no end yet; it is read in the next pass.
        let file: Box<dyn File> = match self.values.finished(id) {
            None => return Err(Stopped::Left),
            Some(name) => match self.log.directory.open_read_only(&name) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Stopped::Left),
                Err(error) => return Err(StorageError::io("open", self.log.directory.path(&name))(error).into()),
            },
        };
        value::check(id, &mut Pieces { file: file.as_ref(), forget: true, rest })
    }

    /// Notes what came of reading a file.
    fn note(&self, name: &str, checked: Result<(), Stopped>, counts: &Counts, pass: &mut ScrubPass, mark: impl Fn(bool)) {
        match checked {
            Ok(()) => {
                pass.files += 1;
                mark(false);
                if counts.bad.lock().remove(name).is_some() {
                    tracing::warn!("scrub: {name} passes its checks again: what it met before was in memory or on the way to it");
                }
            }
            Err(Stopped::Bad(error)) => {
                pass.bad += 1;
                mark(true);
                self.report(name, &error, counts);
            }
            Err(Stopped::Left) => {}
        }
    }

    fn report(&self, name: &str, error: &StorageError, counts: &Counts) {
        let path = self.log.directory.path(name);
        let found = match error {
            StorageError::Corrupt { offset, lsn, reason, .. } | StorageError::Unsupported { offset, lsn, reason, .. } => {
                BadSegment { path, offset: *offset, lsn: *lsn, reason: reason.clone() }
            }
            error => BadSegment { path, offset: 0, lsn: Lsn(0), reason: error.to_string() },
        };
        let BadSegment { path, offset, lsn, reason } = &found;
        let known = counts.bad.lock().insert(name.to_owned(), found.clone());
        if known.as_ref() != Some(&found) {
            tracing::error!(
                "scrub: {} is bad at offset {offset}, LSN {lsn}: {reason}. Sound records of it stay readable, and cleaning leaves it alone. \
                 Look at the disk; `esker-log verify` lists all damage; `esker-log repair`, on the stopped node, sets it aside",
                path.display()
            );
        }
    }

    /// Forgets findings about files that are not there any more.
    pub(super) fn forget_removed(&self, counts: &Counts) {
        counts.bad.lock().retain(|name, _| self.log.directory.exists(name).unwrap_or(true));
    }

    /// Reads everything once, telling `rest` of each piece; none if that told it to stop.
    pub(super) fn pass(&self, counts: &Counts, first: usize, rest: Rest<'_>) -> Result<Option<ScrubPass>> {
        let mut jobs = self.jobs()?;
        let mut left: u64 = jobs.iter().map(|(_, bytes)| bytes).sum();
        let count = jobs.len().max(1);
        jobs.rotate_left(first % count);
        let mut pass = ScrubPass::default();
        for (job, bytes) in jobs {
            left = left.saturating_sub(bytes);
            let mut of_job = bytes;
            let mut after = |read: u64| {
                of_job = of_job.saturating_sub(read);
                counts.read.fetch_add(read, std::sync::atomic::Ordering::Relaxed);
                rest(read, left + of_job)
            };
            if !self.run(&job, counts, &mut pass, &mut after) {
                return Ok(None);
            }
        }
        self.forget_removed(counts);
        Ok(Some(pass))
    }
}

fn of_segment(segment: &Segment) -> String {
    FileName::Segment(segment.base_lsn().unwrap_or_default(), segment.generation()).to_string()
}
