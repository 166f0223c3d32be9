//! Cutting a torn tail.
//!
//! Invariants:
//! - Everything that is cut is on the medium in a `torn-*.log` before it is cut.
//! - A segment is removed only after the manifest has ceased to list it, durably.

use super::chain::{Chain, Link};
use crate::clock::wall_clock;
use crate::error::{Result, StorageError};
use crate::segment::names::FileName;
use crate::segment::reader::last_nonzero;
use crate::segment::torn::TornTail;
use crate::types::Lsn;

/// What is to be cut.
pub(crate) struct Torn {
    /// (segment of the chain, offset, bytes) of each piece; of later segments everything behind the header.
    pieces: Vec<(usize, usize, usize)>,
    lsn: Lsn,
}

/// Notes what lies behind `offset` of segment `number`, and in all later segments.
pub(super) fn plan(chain: &Chain, number: usize, offset: usize, lsn: Lsn) -> Result<Torn> {
    let mut pieces = Vec::new();
    for (at, link) in chain.links.iter().enumerate().skip(number) {
        let from = if at == number { offset } else { 0 };
        let bytes = link.segment.bytes(0).unwrap_or_default();
        let len = bytes.get(from..).and_then(last_nonzero).map_or(0, |last| last + 1);
        pieces.push((at, from, len));
    }
    Ok(Torn { pieces, lsn })
}

impl Torn {
    /// Saves the pieces and makes that durable; returns how many bytes they have. The chain ends before what is to be cut from then on.
    pub(super) fn save(&self, chain: &mut Chain) -> Result<Cut> {
        let mut bytes = 0;
        for &(at, from, len) in &self.pieces {
            if len > 0 {
                self.save_piece(chain, at, from, len)?;
                bytes += len as u64;
            }
        }
        chain.directory.sync().map_err(StorageError::io("sync", chain.directory.path("")))?;
        let (first, from, len) = self.pieces[0];
        let behind = chain.links.drain(first + 1..).collect();
        Ok(Cut { bytes, from, len, behind })
    }

    fn save_piece(&self, chain: &Chain, at: usize, from: usize, len: usize) -> Result<()> {
        let link = &chain.links[at];
        let bytes = &link.segment.bytes(0).unwrap_or_default()[from..from + len];
        let torn = TornTail { segment: link.header, offset: from as u64, lsn: self.lsn, bytes }.encode();
        // One file a segment: names differ by the time.
        let name = FileName::Torn(self.lsn, crate::types::UnixMillis(wall_clock().0 + at as i64)).to_string();
        let path = chain.directory.path(&name);
        let file = chain.directory.create(&name).map_err(StorageError::io("save what is cut to", &path))?;
        file.allocate(0, torn.len() as u64).map_err(StorageError::io("save what is cut to", &path))?;
        file.write_at(0, &torn).map_err(StorageError::io("write", &path))?;
        file.sync_all().map_err(StorageError::io("sync", &path))?;
        tracing::warn!(
            "cut {len} bytes behind LSN {} from {}; they are in {}",
            self.lsn.0 - 1,
            link.segment.file().path().display(),
            path.display()
        );
        Ok(())
    }
}

/// What was saved and is still to be taken out of the log.
pub(super) struct Cut {
    /// How much that is.
    pub(super) bytes: u64,
    from: usize,
    len: usize,
    behind: Vec<Link>,
}

impl Cut {
    /// Cuts, once the manifest on the medium lists no segment behind the end of `chain`.
    pub(super) fn finish(self, chain: &Chain) -> Result<()> {
        zero(chain, chain.links.len() - 1, self.from, self.len)?;
        for link in self.behind {
            let name = FileName::Segment(link.header.base_lsn, link.header.generation).to_string();
            chain.directory.remove(&name).map_err(StorageError::io("remove", chain.directory.path(&name)))?;
        }
        Ok(())
    }
}

fn zero(chain: &Chain, number: usize, from: usize, len: usize) -> Result<()> {
    let link = &chain.links[number];
    let file = link.segment.file();
    if len > 0 {
        file.zero_range(from as u64, len as u64).map_err(StorageError::io("zero the torn end of", file.path()))?;
    }
    file.sync_data().map_err(StorageError::io("sync", file.path()))
}
