//! Walking over a segment from sound frame to sound frame, and over what is damaged in between.

use std::path::{Path, PathBuf};

use esker_storage::error::StorageError;
use esker_storage::manifest::{Manifest, SegmentState};
use esker_storage::segment::reader::last_nonzero;
use esker_storage::segment::{BadFrameReason, Continuity, Frame, Hint, SEGMENT_HEADER, SegmentHeader, SegmentReader};
use esker_storage::types::{EpochNumber, Lsn, UnixMillis};

use super::super::LogError;
use super::super::directory::{Segment, SegmentFile};
use super::search::{Demands, highest_mark, search};

/// A damaged stretch with something sound behind it, or the end of a segment that held more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hole {
    /// First damaged byte, and the first behind the damage.
    pub(super) from: usize,
    pub(super) to: usize,
    /// LSNs that were there; none if `last` is below `first`.
    pub(super) first: Lsn,
    pub(super) last: Lsn,
    /// Whether what is behind it must keep its place.
    pub(super) fixed: bool,
    /// Whether each of the LSNs needs an entry; else one is enough.
    pub(super) every: bool,
    pub(super) epoch: EpochNumber,
    pub(super) time: UnixMillis,
    pub(super) reason: String,
}

impl Hole {
    pub(super) fn missing(&self) -> u64 {
        (self.last.0 + 1).saturating_sub(self.first.0)
    }
}

/// Damage with nothing sound behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadEnd {
    pub(super) offset: usize,
    /// Bytes up to the last one that is not zero.
    pub(super) len: usize,
    pub(super) reason: String,
}

/// What a segment was found to be.
#[derive(Debug, Clone)]
pub(super) struct Walked {
    pub(super) file: SegmentFile,
    pub(super) header: SegmentHeader,
    /// The header did not pass and was made anew from the manifest.
    pub(super) header_lost: Option<String>,
    pub(super) holes: Vec<Hole>,
    pub(super) bad_end: Option<BadEnd>,
    /// Behind the last sound frame that is no footer.
    pub(super) end: usize,
    pub(super) last: Lsn,
    pub(super) epoch: EpochNumber,
    pub(super) time: UnixMillis,
    /// `seen_lsn` of the footer, if there is a sound one.
    pub(super) footer: Option<Lsn>,
    /// What the footer tells of the holes.
    pub(super) hints: Vec<Hint>,
    /// The highest flushed LSN that marks in it tell.
    pub(super) flushed: Lsn,
}

impl Walked {
    /// The last LSN that the manifest demands.
    pub(super) fn sealed_last(&self) -> Option<Lsn> {
        match self.file.state {
            SegmentState::Sealed { last, .. } => Some(last),
            _ => None,
        }
    }
}

/// The bytes of a segment, with a header made anew if its own does not pass.
pub(super) fn load(file: &SegmentFile, manifest: &Manifest) -> Result<(Vec<u8>, SegmentHeader, Option<String>), LogError> {
    match Segment::load(file) {
        Ok(segment) => Ok((segment.bytes, segment.header, None)),
        Err(LogError::Storage(StorageError::Corrupt { reason, .. })) => {
            let bytes = std::fs::read(&file.path).map_err(LogError::read(&file.path))?;
            let header = header_of(file, manifest, bytes.len() as u64);
            Ok((bytes, header, Some(reason)))
        }
        Err(error) => Err(error),
    }
}

fn header_of(file: &SegmentFile, manifest: &Manifest, size: u64) -> SegmentHeader {
    let epoch = manifest.epoch_at(file.base);
    SegmentHeader {
        kind: file.kind,
        // Up to there any segment may have gaps.
        cleaned: file.base <= manifest.cleaned.reached,
        shard: manifest.identity.shard,
        history: manifest.history_at(file.base),
        base_lsn: file.base,
        generation: file.generation,
        segment_id: file.id,
        epoch: epoch.map_or_else(EpochNumber::default, |epoch| epoch.number),
        writer: epoch.map_or_else(Default::default, |epoch| epoch.writer),
        created: UnixMillis(0),
        stamp: manifest.segment(file.id).map_or(file.base.0, |entry| entry.stamp),
        size,
        value_id: 0,
    }
}

/// Walks over a segment. `time` is the clock of the last entry before it.
pub(super) fn walk(file: &SegmentFile, manifest: &Manifest, time: UnixMillis) -> Result<Walked, LogError> {
    let (bytes, header, header_lost) = load(file, manifest)?;
    let mut walked = Walked {
        file: file.clone(),
        header,
        header_lost,
        holes: Vec::new(),
        bad_end: None,
        end: SEGMENT_HEADER,
        last: Lsn(header.base_lsn.0.saturating_sub(1)),
        epoch: header.epoch,
        time,
        footer: None,
        hints: Vec::new(),
        flushed: Lsn(0),
    };
    let continuity = header.continuity();
    let node = manifest.identity.node;
    let mut damaged_from = None;
    loop {
        let mut reader = SegmentReader::resume(&bytes, header.seed(), continuity, walked.end, walked.last, walked.epoch);
        let mut bad = None;
        while let Some(frame) = reader.next() {
            match frame {
                Ok((_, Frame::Entry(entry))) => walked.time = walked.time.max(entry.head().time),
                Ok((_, Frame::FlushMark(mark))) if mark.node == node => walked.flushed = walked.flushed.max(mark.flushed),
                Ok((_, Frame::FlushMark(_))) => {}
                Ok((_, Frame::Footer(footer))) => {
                    let footer = footer.to_footer();
                    walked.footer = Some(footer.seen);
                    let within = |hint: &Hint| walked.holes.iter().any(|hole| (hole.from..hole.to).contains(&(hint.offset as usize)));
                    walked.hints = footer.hints.into_iter().filter(within).collect();
                }
                Err(found) => bad = Some(found),
            }
            if walked.footer.is_none() {
                walked.end = reader.offset();
            }
        }
        (walked.last, walked.epoch) = (reader.last_lsn(), reader.last_epoch());
        let rest = &bytes[walked.end.min(bytes.len())..];
        let Some(len) = last_nonzero(rest).map(|last| last + 1).filter(|_| walked.footer.is_none()) else { break };
        damaged_from = damaged_from.or(Some(walked.end));
        let reason = match bad {
            Some(bad) => {
                refuse(&file.path, &bad.reason, walked.end, walked.last.next())?;
                bad.reason.to_string()
            }
            None => "zeros where a frame belongs".to_owned(),
        };
        let demands = Demands {
            header: &header,
            lsn: walked.last,
            epoch: walked.epoch,
            last: walked.sealed_last().unwrap_or(Lsn(u64::MAX - 1)),
            every: continuity == Continuity::Every,
        };
        let found = search(&bytes, walked.end, &demands);
        match found.map_err(|error| unsupported(&file.path, walked.end, walked.last.next(), &error.to_string()))? {
            Some(found) => {
                let (first, last) = (walked.last.next(), Lsn(found.lsn.0 - 1));
                let (epoch, time) = (walked.epoch, walked.time);
                walked.holes.push(Hole {
                    from: walked.end,
                    to: found.offset,
                    first,
                    last,
                    fixed: true,
                    every: demands.every,
                    epoch,
                    time,
                    reason,
                });
                (walked.end, walked.last) = (found.offset, last);
            }
            None => {
                walked.bad_end = Some(BadEnd { offset: walked.end, len, reason });
                break;
            }
        }
    }
    if let Some(from) = damaged_from {
        walked.flushed = walked.flushed.max(highest_mark(&bytes[from..], &header, node));
    }
    Ok(walked)
}

/// What is sound must not be taken for damage.
fn refuse(path: &Path, reason: &BadFrameReason, offset: usize, lsn: Lsn) -> Result<(), LogError> {
    match reason {
        BadFrameReason::Decode(error) if error.is_unsupported() => Err(unsupported(path, offset, lsn, &error.to_string())),
        BadFrameReason::Lsn { .. } | BadFrameReason::Epoch { .. } => Err(LogError::CannotRepair {
            path: path.to_owned(),
            offset: offset as u64,
            lsn,
            reason: format!(
                "{reason}: the frames are sound and do not follow each other; restore a backup, or take out what is there with `esker-log dump`"
            ),
        }),
        BadFrameReason::Decode(_) | BadFrameReason::AfterFooter => Ok(()),
    }
}

fn unsupported(path: &Path, offset: usize, lsn: Lsn, reason: &str) -> LogError {
    let path: PathBuf = path.to_owned();
    let reason = format!("{reason}; a newer version wrote it: use that version's esker-log");
    LogError::CannotRepair { path, offset: offset as u64, lsn, reason }
}
