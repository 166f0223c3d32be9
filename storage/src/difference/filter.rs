//! A segment of the replica's own, less what does not live, and with what it lacked.

use super::OpSet;
use super::assembly::{Building, Copy};
use crate::codec::DecodeError;
use crate::codec::checksum::ShardSeed;
use crate::codec::entry::{EntryView, Fate, merge, rewrite};
use crate::codec::op::OpCode;
use crate::error::{Result, StorageError};
use crate::log::{Frames, Segment};
use crate::types::Lsn;

/// Entries read at a time.
const WINDOW: usize = 256;

/// What becomes of a segment.
pub(super) struct Filtered {
    /// Whether all of it stays and nothing was added.
    pub(super) is_whole: bool,
    /// Where reading it failed: what lies behind that was left out.
    pub(super) failed: Option<StorageError>,
}

/// Copies the entries of `segment` up to `prefix`: of ops on keys those in `live`, which are taken out of `missing`. What was sent comes between them.
pub(super) fn filter(
    segment: &Segment,
    prefix: Lsn,
    live: &OpSet,
    missing: &mut OpSet,
    building: &mut Building,
    copy: &mut Copy,
) -> Result<Filtered> {
    let mut filtered = Filtered { is_whole: true, failed: None };
    let mut frames = Frames::new(segment);
    let (mut fates, mut left) = (Vec::new(), Vec::new());
    'segment: loop {
        let window = match frames.window(WINDOW) {
            Ok(window) => window,
            Err(error) => {
                // What it held is asked for like what was never there.
                (filtered.is_whole, filtered.failed) = (false, Some(error));
                break;
            }
        };
        if window.is_empty() {
            break;
        }
        for (_, entry) in window {
            let lsn = entry.head().lsn;
            if lsn > prefix {
                filtered.is_whole = false;
                break 'segment;
            }
            filtered.is_whole &= !insert_before(lsn, building, copy)?;
            fates.clear();
            fates.extend(entry.ops().map(|(_, op)| fate(live, lsn, op.header.code, op.header.op_number())));
            strike(&entry, missing);
            left.clear();
            rewrite(&entry, segment.seed(), &fates, &mut left);
            filtered.is_whole &= fates.iter().all(|fate| *fate == Fate::Keep);
            if let Some(record) = copy.records.next_at(lsn)? {
                filtered.is_whole = false;
                left = joined(&left, record, segment.seed()).map_err(|error| undecodable(segment, lsn, &error))?;
            }
            if !left.is_empty() {
                building.append(lsn, &left, copy)?;
            }
        }
    }
    filtered.is_whole &= !insert_before(segment.last_lsn().min(prefix).next(), building, copy)?;
    Ok(filtered)
}

/// Whether there was anything.
fn insert_before(lsn: Lsn, building: &mut Building, copy: &mut Copy) -> Result<bool> {
    let mut inserted = false;
    while let Some(at) = copy.records.peek().filter(|next| *next < lsn) {
        let record = copy.records.next_at(at)?.unwrap_or_default();
        building.append(at, &record, copy)?;
        inserted = true;
    }
    Ok(inserted)
}

/// What changes whole databases stays: keys that it acted on are not among those that live. A tombstone never lives: one that stands where a record
/// should was put there by cleaning, on account of what is given up.
fn fate(live: &OpSet, lsn: Lsn, code: OpCode, number: u32) -> Fate {
    let lives = code != OpCode::Tombstone && live.contains(lsn, number);
    if !code.has_key() || lives { Fate::Keep } else { Fate::Drop }
}

/// Takes the ops of an entry out of what is missing.
fn strike(entry: &EntryView<'_>, missing: &mut OpSet) {
    for (_, op) in entry.ops().filter(|(_, op)| op.header.code != OpCode::Tombstone) {
        missing.remove(entry.head().lsn, op.header.op_number());
    }
}

/// An entry of which the replica had some ops and the primary has sent others.
fn joined(own: &[u8], sent: Vec<u8>, seed: ShardSeed) -> std::result::Result<Vec<u8>, DecodeError> {
    if own.is_empty() {
        return Ok(sent);
    }
    let mut out = Vec::new();
    merge(&EntryView::trusted(own)?, &EntryView::trusted(&sent)?, seed, &mut out);
    Ok(out)
}

fn undecodable(segment: &Segment, lsn: Lsn, error: &DecodeError) -> StorageError {
    StorageError::Corrupt { path: segment.file().path().to_owned(), offset: 0, lsn, reason: error.to_string() }
}

/// Takes the ops that a segment holds up to `prefix` out of `missing`.
pub(super) fn strike_out(segment: &Segment, prefix: Lsn, missing: &mut OpSet) {
    let mut frames = Frames::new(segment);
    while let Ok(window) = frames.window(WINDOW) {
        for (_, entry) in &window {
            strike(entry, missing);
        }
        if window.last().is_none_or(|(_, entry)| entry.head().lsn >= prefix) {
            return;
        }
    }
}
