//! Taking the primary's segments above the prefix: their entries are the log's own, their numbers are the replica's.

use super::assembly::{Assembly, Building, Copy};
use crate::codec::DecodeError;
use crate::codec::checksum::ShardSeed;
use crate::codec::entry::EntryView;
use crate::codec::frame::{FrameKind, FrameStart};
use crate::error::{Result, StorageError};
use crate::fs::File;
use crate::manifest::{SegmentEntry, SegmentState};
use crate::segment::names::FileName;
use crate::segment::{SEGMENT_HEADER, SegmentHeader};
use crate::types::{Generation, Lsn, SegmentId};

pub(super) fn adopt(assembly: &Assembly<'_>, copy: &mut Copy) -> Result<()> {
    let mut sent = assembly.sent.segments.clone();
    sent.sort_by_key(|entry| entry.base);
    for entry in &sent {
        if entry.base <= assembly.prefix { copy_above(assembly, entry, copy)? } else { take(assembly, entry, copy)? }
    }
    Ok(())
}

/// Takes a whole segment, under other numbers.
fn take(assembly: &Assembly<'_>, entry: &SegmentEntry, copy: &mut Copy) -> Result<()> {
    let (generation, id) = copy.number()?;
    let name = FileName::Segment(entry.base, generation).to_string();
    assembly.link(&format!("{}/{}", assembly.places.arrived, FileName::Segment(entry.base, entry.generation)), &name)?;
    let path = copy.directory.path(&name);
    let file = copy.directory.open(&name).map_err(StorageError::io("open", &path))?;
    renumber(file.as_ref(), generation, id)?;
    copy.manifest.segments.push(SegmentEntry { id, generation, ..*entry });
    Ok(())
}

fn renumber(file: &dyn File, generation: Generation, id: SegmentId) -> Result<()> {
    let mut bytes = [0; SEGMENT_HEADER];
    file.read_at(0, &mut bytes).map_err(StorageError::io("read", file.path()))?;
    let header = SegmentHeader::decode(&bytes).map_err(|error| corrupt(file, 0, Lsn(0), &error))?;
    let header = SegmentHeader { generation, segment_id: id, ..header };
    file.write_at(0, &header.encode()).map_err(StorageError::io("write", file.path()))?;
    file.sync_data().map_err(StorageError::io("sync", file.path()))
}

/// Copies what is above the prefix of the segment in which it ends.
fn copy_above(assembly: &Assembly<'_>, entry: &SegmentEntry, copy: &mut Copy) -> Result<()> {
    let name = FileName::Segment(entry.base, entry.generation).to_string();
    let directory = assembly
        .root
        .subdirectory(&assembly.places.arrived)
        .map_err(StorageError::io("open", assembly.root.path(&assembly.places.arrived)))?;
    let file = directory.open_read_only(&name).map_err(StorageError::io("open", directory.path(&name)))?;
    let mut bytes = vec![0; file.len().map_err(StorageError::io("measure", file.path()))? as usize];
    file.read_at(0, &mut bytes).map_err(StorageError::io("read", file.path()))?;
    let seed = ShardSeed::new(assembly.sent.history_at(entry.base), assembly.sent.identity.shard);
    let mut building = Building::at(assembly.prefix.next(), assembly.lsn).with_stamp(entry.stamp);
    let mut at = assembly.offsets.get(&name).map_or(SEGMENT_HEADER, |offset| (*offset as usize).max(SEGMENT_HEADER));
    let mut last = assembly.prefix;
    while let Some(frame) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let start = FrameStart::parse(frame).map_err(|error| corrupt(file.as_ref(), at, last, &error))?;
        match start.kind {
            FrameKind::Entry => {
                let parsed = EntryView::parse(frame, seed).map_err(|error| corrupt(file.as_ref(), at, last, &error))?;
                if parsed.head().lsn > assembly.prefix {
                    last = parsed.head().lsn;
                    building.append(last, parsed.bytes(), copy)?;
                }
            }
            FrameKind::FlushMark => {}
            FrameKind::Footer => break,
            FrameKind::PackedEntries => return Err(corrupt(file.as_ref(), at, last, &DecodeError::PackedEntries)),
        }
        at += start.len as usize;
    }
    // A cleaned one stands for LSNs that it does not hold.
    let last = if let SegmentState::Sealed { last, .. } = entry.state { last } else { last };
    building.finish(last, copy)
}

fn corrupt(file: &dyn File, at: usize, lsn: Lsn, error: &DecodeError) -> StorageError {
    StorageError::Corrupt { path: file.path().to_owned(), offset: at as u64, lsn: lsn.next(), reason: error.to_string() }
}
