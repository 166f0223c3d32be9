//! Files of what was cut from the log or set aside, as `dump` shows them.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use esker_storage::codec::DecodeError;
use esker_storage::codec::entry::EntryView;
use esker_storage::codec::frame::{FrameKind, FrameStart};
use esker_storage::error::StorageError;
use esker_storage::manifest::{Manifest, SegmentState};
use esker_storage::segment::SegmentHeader;
use esker_storage::segment::torn::TornTail;
use esker_storage::types::{Lsn, NodeId, UnixMillis};

use super::args::{Format, Selection};
use super::directory::SegmentFile;
use super::scan::visit_entry;
use super::{LogError, Outcome, divergent, filter, output};
use esker_storage::history::Tables;

/// The name of a file of damaged bytes, which has the form of a `torn-*.log`.
pub(super) fn name(lsn: Lsn, time: UnixMillis) -> String {
    format!("corrupt-{:020}-{}.log", lsn.0, time.0)
}

/// Whether a file is one of damaged bytes, and the LSN in its name.
pub(super) fn is_corrupt(file: &str) -> Option<Lsn> {
    let (lsn, time) = file.strip_prefix("corrupt-")?.strip_suffix(".log")?.split_once('-')?;
    let (lsn, time) = (Lsn(lsn.parse().ok()?), UnixMillis(time.parse().ok()?));
    (name(lsn, time) == file).then_some(lsn)
}

/// Prints what can be read of such a file: sound entries as they are, others as far as their bytes make sense, marked as damaged.
pub(super) fn run(path: &Path, selection: &Selection, format: Format, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let bytes = std::fs::read(path).map_err(LogError::read(path))?;
    let corrupt = |error: DecodeError| StorageError::Corrupt { path: path.to_owned(), offset: 0, lsn: Lsn(0), reason: error.to_string() };
    let torn = match TornTail::decode(&bytes) {
        // Entries that a replica had and its primary had not: a segment without a footer.
        Err(DecodeError::Magic) => {
            TornTail { segment: SegmentHeader::decode(&bytes).map_err(corrupt)?, offset: 0, lsn: Lsn(0), bytes: &bytes }
        }
        torn => torn.map_err(corrupt)?,
    };
    let header = torn.segment;
    let file = SegmentFile {
        path: path.to_owned(),
        id: header.segment_id,
        generation: header.generation,
        kind: header.kind,
        base: header.base_lsn,
        state: SegmentState::Active,
    };
    // Which database a table belonged to is not in the file: as at creation, unless it is beside it.
    let mut manifest = Manifest::new(header.shard, NodeId(0), header.history, 0);
    manifest.tables = divergent::tables_beside(path)?;
    let mut tables = Tables::of(&manifest);
    // Behind a whole segment that was cut stand its header's bytes.
    let mut at = if torn.offset == 0 { esker_storage::segment::SEGMENT_HEADER } else { 0 };
    while let Some(rest) = torn.bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let offset = torn.offset + at as u64;
        let checked = EntryView::parse(rest, header.seed());
        let damage = checked.as_ref().err().map(ToString::to_string);
        match checked.or_else(|_| EntryView::trusted(rest)) {
            Ok(entry) => {
                let mut show = |record: &super::scan::Record<'_>| {
                    if filter::selects(selection, record) {
                        if let Some(damage) = damage.as_ref().filter(|_| !format.json) {
                            write!(out, "DAMAGED ({damage})  ")?;
                        }
                        output::write(record, format, out)?;
                    }
                    Ok(ControlFlow::Continue(()))
                };
                let _flow = visit_entry(&file, offset as u32, &entry, &mut tables, Lsn(0), &mut show)?;
                at += entry.bytes().len();
            }
            Err(error) => {
                let mark = FrameStart::parse(rest).ok().filter(|start| start.kind != FrameKind::Entry && start.len as usize <= rest.len());
                if let Some(mark) = mark {
                    at += mark.len as usize;
                    continue;
                }
                if !format.json {
                    let shown = rest[..rest.len().min(48)].escape_ascii();
                    writeln!(out, "offset {offset}: {} bytes that are no entry ({error}): \"{shown}\"…", rest.len())?;
                }
                break;
            }
        }
    }
    Ok(Outcome::Sound)
}
