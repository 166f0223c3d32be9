//! A sealed segment made of entries that are there already, in memory until it is stored.

use crate::codec::DecodeError;
use crate::codec::entry::EntryView;
use crate::error::Result;
use crate::fs::Directory;
use crate::manifest::{SegmentEntry, SegmentState};
use crate::places::store;
use crate::segment::names::FileName;
use crate::segment::{FooterBuilder, SegmentHeader, SegmentKind};
use crate::types::Lsn;

/// A segment being made.
pub(super) struct Build {
    header: SegmentHeader,
    bytes: Vec<u8>,
    footer: FooterBuilder,
    entries: u64,
}

impl Build {
    pub(super) fn begin(header: SegmentHeader, key_hash_seed: u64) -> Self {
        let footer = FooterBuilder::new(header.base_lsn, key_hash_seed);
        Self { header, bytes: header.encode().to_vec(), footer, entries: 0 }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a whole entry, which was checked before or made here.
    pub(super) fn append(&mut self, entry: &[u8]) -> std::result::Result<(), DecodeError> {
        // A segment is below 1 GiB.
        self.footer.add(self.bytes.len() as u32, &EntryView::trusted(entry)?);
        self.bytes.extend_from_slice(entry);
        self.entries += 1;
        Ok(())
    }

    /// Stores it as what is left up to `last`; none, and no file, if it has no entry. `seen`: the highest LSN consulted to drop records.
    pub(super) fn store(self, directory: &dyn Directory, last: Lsn, seen: Lsn) -> Result<Option<SegmentEntry>> {
        if self.entries == 0 {
            return Ok(None);
        }
        let Self { header, mut bytes, footer, .. } = self;
        let footer = footer.finish(&bytes, seen).encode(header.seed(), bytes.len() as u64);
        bytes.extend(footer);
        let name = FileName::Segment(header.base_lsn, header.generation).to_string();
        store(directory, &name, &bytes)?;
        let state = SegmentState::Sealed { last, bytes: bytes.len() as u64 };
        let SegmentHeader { segment_id: id, generation, base_lsn: base, stamp, .. } = header;
        Ok(Some(SegmentEntry { id, generation, kind: SegmentKind::Log, state, base, stamp }))
    }
}
