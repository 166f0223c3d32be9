//! Keeping what a replica has beyond the log that it shares with its primary.
//!
//! The file is a segment without a footer: the entries with their own bytes, behind a header that says where they come from, so that whatever
//! reads segments reads it. What they refer to and do not hold is in a directory beside it, see `beside`.

use std::path::PathBuf;

use super::beside;
use crate::codec::entry::EntryView;
use crate::codec::op::OpCode;
use crate::codec::value_ref::ValueRef;
use crate::error::{Result, StorageError};
use crate::fs::Directory;
use crate::log::Frames;
use crate::segment::{SEGMENT_HEADER, SegmentHeader, SegmentKind};
use crate::shard::Shard;
use crate::types::{Generation, Lsn, SegmentId, WriterId};

/// Entries read at a time.
const WINDOW: usize = 256;
/// Bytes written at a time.
const PIECE: usize = 1 << 20;

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergent {
    /// The file.
    pub path: PathBuf,
    /// How many entries it holds.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The name of the file of entries above an LSN, the first of which is of this epoch.
fn name(epoch: u32, above: Lsn) -> String {
    format!("divergent-{epoch}-{}.log", above.next())
}

/// How many such files a directory holds.
///
/// # Errors
/// It cannot be listed.
pub fn divergent_files(root: &dyn Directory) -> Result<u64> {
    let names = root.list().map_err(StorageError::io("list", root.path("")))?;
    Ok(names.iter().filter(|name| name.starts_with("divergent-") && name.ends_with(".log")).count() as u64)
}

/// The values of an entry that have segments of their own.
fn values_of(entry: &EntryView<'_>) -> impl Iterator<Item = u128> {
    let puts = entry.ops().filter(|(_, op)| op.header.code == OpCode::Put && op.header.value_segment);
    puts.filter_map(|(_, op)| ValueRef::decode(op.body).ok().map(|value| value.value_id))
}

impl Shard {
    /// Writes the entries above `above` to a file in `root`, durably; none if there are none.
    ///
    /// # Errors
    /// I/O errors; corruption: nothing is lost, as the log stays as it is.
    pub fn save_divergent(&self, root: &dyn Directory, above: Lsn) -> Result<Option<Divergent>> {
        let log = self.log();
        let lineage = log.lineage();
        if lineage.last <= above {
            return Ok(None);
        }
        let epoch = lineage.epochs.iter().rev().find(|epoch| epoch.first <= above.next());
        let (number, writer) = epoch.map_or((Default::default(), WriterId(0)), |epoch| (epoch.number, epoch.writer));
        let name = name(number.0, above);
        let path = root.path(&name);
        let segments = log.segments().in_order();
        let header = SegmentHeader {
            kind: SegmentKind::Log,
            cleaned: true,
            shard: log.shard,
            history: log.history,
            base_lsn: above.next(),
            generation: Generation(0),
            segment_id: SegmentId(0),
            epoch: number,
            writer,
            created: crate::clock::wall_clock(),
            stamp: 0,
            size: 0,
            value_id: 0,
        };
        let file = root.create(&name).map_err(StorageError::io("create", &path))?;
        let mut at = 0;
        let mut put = |bytes: &[u8]| -> Result<()> {
            file.allocate(at, bytes.len() as u64).map_err(StorageError::io("allocate", &path))?;
            file.write_at(at, bytes).map_err(StorageError::io("write", &path))?;
            at += bytes.len() as u64;
            Ok(())
        };
        put(&header.encode())?;
        let (mut piece, mut entries, mut values) = (Vec::new(), 0, Vec::new());
        for segment in segments.iter().filter(|segment| segment.last_lsn() > above) {
            let mut frames = segment.nearest(above).map_or_else(|| Frames::new(segment), |near| Frames::resume(segment, near as usize));
            loop {
                let window = frames.window(WINDOW)?;
                if window.is_empty() {
                    break;
                }
                for (_, entry) in window.iter().filter(|(_, entry)| entry.head().lsn > above) {
                    piece.extend_from_slice(entry.bytes());
                    values.extend(values_of(entry));
                    entries += 1;
                }
                if piece.len() >= PIECE {
                    put(&piece)?;
                    piece.clear();
                }
            }
        }
        put(&piece)?;
        // Before the file counts: whoever finds it whole finds what belongs to it.
        beside::keep(self, root, &name, above, &values)?;
        file.sync_all().map_err(StorageError::io("sync", &path))?;
        root.sync().map_err(StorageError::io("sync", root.path("")))?;
        Ok(Some(Divergent { path, entries, bytes: at - SEGMENT_HEADER as u64 }))
    }
}
