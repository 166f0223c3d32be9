//! Checking a value segment: header, the CRCs of its blocks, and the CRC over those.

use super::piece::{Pieces, Stopped};
use crate::error::StorageError;
use crate::segment::{SEGMENT_HEADER, SegmentHeader, SegmentKind};
use crate::shard::{VALUE_BLOCK, VALUE_MAGIC, VALUE_TRAILER};
use crate::types::Lsn;

const CRC: u64 = 4;

/// Reads all of it.
pub(super) fn check(id: u128, pieces: &mut Pieces<'_>) -> Result<(), Stopped> {
    let end = pieces.file.len().map_err(StorageError::io("measure", pieces.file.path()))?;
    let start = SEGMENT_HEADER as u64;
    if end < start + VALUE_TRAILER {
        return Err(pieces.corrupt(end, Lsn(0), "cut off"));
    }
    let mut bytes = [0; SEGMENT_HEADER];
    pieces.read(0, &mut bytes)?;
    let header = SegmentHeader::decode(&bytes).map_err(|error| pieces.corrupt(0, Lsn(0), format!("segment header: {error}")))?;
    if header.kind != SegmentKind::Value || header.value_id != id {
        return Err(pieces.corrupt(0, Lsn(0), "the header is not that of this value"));
    }
    let seed = header.seed().value(id);
    let at = end - VALUE_TRAILER;
    let mut trailer = [0; VALUE_TRAILER as usize];
    pieces.read(at, &mut trailer)?;
    if trailer[12..] != VALUE_MAGIC {
        return Err(pieces.corrupt(at, Lsn(0), "no end of a value"));
    }
    let len = trailer.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let crcs_len = len.div_ceil(VALUE_BLOCK as u64).saturating_mul(CRC);
    if start.checked_add(len).and_then(|crcs| crcs.checked_add(crcs_len)) != Some(at) {
        return Err(pieces.corrupt(at, Lsn(0), format!("a length of {len} does not fit the file")));
    }
    let mut crcs = vec![0; crcs_len as usize];
    pieces.read(at - crcs_len, &mut crcs)?;
    let covered = [&crcs, &trailer[..8]].concat();
    if seed.crc(&covered).to_le_bytes() != trailer[8..12] {
        return Err(pieces.corrupt(at, Lsn(0), "checksum mismatch in the block checksums"));
    }
    let mut block = vec![0; VALUE_BLOCK];
    for (number, crc) in (0_u32..).zip(crcs.chunks_exact(CRC as usize)) {
        let offset = u64::from(number) * VALUE_BLOCK as u64;
        let block = &mut block[..(len - offset).min(VALUE_BLOCK as u64) as usize];
        pieces.read(start + offset, block)?;
        if seed.block_crc(number, block).to_le_bytes() != crc {
            return Err(pieces.corrupt(start + offset, Lsn(0), format!("checksum mismatch in block {number}")));
        }
    }
    Ok(())
}
