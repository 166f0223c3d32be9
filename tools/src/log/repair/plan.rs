//! What is to be done about what was found.

use esker_storage::manifest::Manifest;
use esker_storage::segment::SegmentKind;
use esker_storage::types::{Lsn, UnixMillis};

use super::super::LogError;
use super::super::directory::{DataDirectory, Listing};
use super::walk::{Hole, Walked, walk};

/// A torn tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Torn {
    /// The segment that is cut; those behind it go.
    pub(super) segment: usize,
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) lsn: Lsn,
    pub(super) reason: String,
}

/// What is to be done.
pub(super) struct Plan {
    pub(super) manifest: Manifest,
    pub(super) walked: Vec<Walked>,
    pub(super) torn: Option<Torn>,
    pub(super) flushed: Lsn,
}

impl Plan {
    /// Reads the whole log.
    pub(super) fn make(directory: &DataDirectory, listing: Listing) -> Result<Self, LogError> {
        let manifest = listing.manifest;
        let mut walked: Vec<Walked> = Vec::new();
        for file in listing.segments.iter().filter(|file| file.kind == SegmentKind::Log) {
            let time = walked.last().map_or(UnixMillis(0), |segment| segment.time);
            let missing = |error: LogError| match error {
                error if error.is_not_found() => LogError::CannotRepair {
                    path: directory.path(&file.name()),
                    offset: 0,
                    lsn: file.base,
                    reason: "the manifest lists this segment, and it is missing: restore it from a backup".to_owned(),
                },
                error => error,
            };
            walked.push(walk(file, &manifest, time).map_err(missing)?);
        }
        let stopped = manifest.clean_stop.map_or(Lsn(0), |stop| stop.flushed);
        let checkpoint = manifest.checkpoint.map_or(Lsn(0), |checkpoint| checkpoint.lsn);
        let marks = walked.iter().map(|segment| segment.flushed).max().unwrap_or_default();
        let mut plan = Self { manifest, walked, torn: None, flushed: stopped.max(checkpoint).max(marks) };
        for number in 0..plan.walked.len() {
            if plan.torn.is_none() {
                plan.judge(number)?;
            }
        }
        Ok(plan)
    }

    /// Judges how a segment ends.
    fn judge(&mut self, number: usize) -> Result<(), LogError> {
        let next = self.walked.get(number + 1).map(|next| next.header.base_lsn);
        let flushed = self.flushed;
        let reached = self.manifest.cleaned.reached;
        // Where everything was dead, cleaning left nothing.
        let cleaned = |missing: Lsn, next: Lsn| missing < next && next <= reached.next();
        let segment = &mut self.walked[number];
        let missing = segment.last.next();
        let bad = segment.bad_end.take();
        match segment.sealed_last() {
            Some(last) => {
                // A cleaned segment stands for LSNs that it does not hold, too.
                if bad.is_some() || (segment.last < last && !segment.header.cleaned) {
                    let reason = bad.as_ref().map_or_else(|| "it ends too early".to_owned(), |bad| bad.reason.clone());
                    segment.push_open_hole(bad.map_or(0, |bad| bad.len), last, reason);
                }
                segment.last = segment.last.max(last);
            }
            None => match bad {
                // A footer that was being written: the next start writes it again.
                Some(_) if next == Some(missing) => {}
                Some(bad) if missing > flushed => {
                    self.torn = Some(Torn { segment: number, offset: bad.offset, len: bad.len, lsn: missing, reason: bad.reason });
                    return self.nothing_sealed_behind(number);
                }
                Some(bad) => {
                    let last = next.map_or(flushed, |next| Lsn(next.0.saturating_sub(1)));
                    segment.push_open_hole(bad.len, last, bad.reason);
                }
                None if next.is_some_and(|next| next > missing && !cleaned(missing, next)) && missing > flushed => {
                    let (offset, reason) = (segment.end, "entries are missing behind it that were never flushed".to_owned());
                    self.torn = Some(Torn { segment: number, offset, len: 0, lsn: missing, reason });
                    return self.nothing_sealed_behind(number);
                }
                None => {}
            },
        }
        let segment = &self.walked[number];
        match next {
            Some(next) if next != segment.last.next() && !cleaned(segment.last.next(), next) => Err(LogError::CannotRepair {
                path: self.walked[number + 1].file.path.clone(),
                offset: 0,
                lsn: segment.last.next(),
                reason: format!("the segment before it ends with LSN {}: what is missing is in no file; restore a backup", segment.last),
            }),
            _ => Ok(()),
        }
    }

    fn nothing_sealed_behind(&self, number: usize) -> Result<(), LogError> {
        match self.walked[number + 1..].iter().find(|segment| segment.sealed_last().is_some()) {
            Some(sealed) => Err(LogError::CannotRepair {
                path: sealed.file.path.clone(),
                offset: 0,
                lsn: sealed.header.base_lsn,
                reason: "it is sealed, and entries before it are missing: restore a backup".to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// The last LSN of the log as it will be.
    pub(super) fn last(&self) -> Lsn {
        let end = self.torn.as_ref().map_or(self.walked.len(), |torn| torn.segment + 1);
        self.walked[..end].last().map_or(Lsn(0), |segment| segment.last)
    }

    /// Whether there is anything to be done to the log.
    pub(super) fn is_needed(&self) -> bool {
        self.torn.is_some() || self.walked.iter().any(Walked::is_damaged)
    }
}

impl Walked {
    /// What is lost at the end, up to an LSN that must have been there.
    fn push_open_hole(&mut self, len: usize, last: Lsn, reason: String) {
        let (from, first) = (self.end, self.last.next());
        let (epoch, time) = (self.epoch, self.time);
        self.holes.push(Hole { from, to: from + len, first, last, fixed: false, every: !self.header.cleaned, epoch, time, reason });
        self.last = self.last.max(last);
    }

    /// Whether the segment itself has to be written again.
    pub(super) fn is_damaged(&self) -> bool {
        let footer_missing = self.sealed_last().is_some() && self.footer.is_none();
        !self.holes.is_empty() || self.header_lost.is_some() || footer_missing
    }
}
