//! What scrub did and found.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::types::{Lsn, UnixMillis};

/// A file whose bytes do not pass their checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSegment {
    /// The file.
    pub path: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// The LSN expected there; 0 in value segments.
    pub lsn: Lsn,
    /// What did not pass.
    pub reason: String,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) running: AtomicBool,
    pub(super) passes: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) last_pass: AtomicI64,
    pub(super) last_millis: AtomicU64,
    /// By the name of the file.
    pub(super) bad: Mutex<BTreeMap<String, BadSegment>>,
}

/// The state of scrub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubFigures {
    /// Whether a pass goes on.
    pub running: bool,
    /// Whole passes since the start.
    pub passes: u64,
    /// Bytes read since the start.
    pub read_bytes: u64,
    /// When the last whole pass ended; 0: none did.
    pub last_pass: UnixMillis,
    /// How long it took.
    pub last_pass_millis: u64,
    /// Files that did not pass their checks when they were last read.
    pub bad: Vec<BadSegment>,
}

impl Counts {
    pub(super) fn figures(&self) -> ScrubFigures {
        ScrubFigures {
            running: self.running.load(Relaxed),
            passes: self.passes.load(Relaxed),
            read_bytes: self.read.load(Relaxed),
            last_pass: UnixMillis(self.last_pass.load(Relaxed)),
            last_pass_millis: self.last_millis.load(Relaxed),
            bad: self.bad.lock().values().cloned().collect(),
        }
    }
}
