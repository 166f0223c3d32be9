//! Cutting a torn tail: everything cut is saved first.

use super::chain::Chain;
use crate::error::{Result, StorageError};
use crate::segment::names::FileName;
use crate::segment::reader::last_nonzero;
use crate::segment::torn::TornTail;
use crate::shard::wall_clock;
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
    /// Saves the pieces, makes that durable, then cuts; returns the bytes cut. Segments behind the first are removed from the chain.
    pub(super) fn cut(&self, chain: &mut Chain) -> Result<u64> {
        let mut cut = 0;
        for &(at, from, len) in &self.pieces {
            if len > 0 {
                self.save(chain, at, from, len)?;
                cut += len as u64;
            }
        }
        chain.directory.sync().map_err(StorageError::io("sync", chain.directory.path("")))?;
        let (first, from, len) = self.pieces[0];
        zero(chain, first, from, len)?;
        for link in chain.links.drain(first + 1..) {
            let name = FileName::Segment(link.header.base_lsn, link.header.generation).to_string();
            chain.directory.remove(&name).map_err(StorageError::io("remove", chain.directory.path(&name)))?;
        }
        Ok(cut)
    }

    fn save(&self, chain: &Chain, at: usize, from: usize, len: usize) -> Result<()> {
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

fn zero(chain: &Chain, number: usize, from: usize, len: usize) -> Result<()> {
    let link = &chain.links[number];
    let file = link.segment.file();
    if len > 0 {
        file.zero_range(from as u64, len as u64).map_err(StorageError::io("zero the torn end of", file.path()))?;
    }
    file.sync_data().map_err(StorageError::io("sync", file.path()))
}
