//! Checking value segments, block by block: a value may be larger than memory should be.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use esker_storage::codec::value_ref::ValueRef;
use esker_storage::error::StorageError;
use esker_storage::segment::{SEGMENT_HEADER, SegmentHeader, SegmentKind};
use esker_storage::types::Lsn;

use super::LogError;
use super::verify::{Finding, damage};

const BLOCK: u64 = 64 << 10;
const CRC: u64 = 4;
const MAGIC: &[u8; 8] = b"ESKERVAL";
/// Length, CRC and magic at the end of the file.
const TRAILER: u64 = 8 + CRC + 8;

/// Damage, or an error that keeps us from judging.
type Failure = Result<Finding, LogError>;

/// Checks every byte; returns how many there are.
pub(super) fn verify(path: &Path, id: u128, reference: Option<&ValueRef>) -> Result<u64, Failure> {
    let file = File::open(path).map_err(|error| Err(LogError::read(path)(error)))?;
    let len = file.metadata().map_err(|error| Err(LogError::read(path)(error)))?.len();
    Value { file: &file, path, len, id }.verify(reference).map(|()| len)
}

/// The value in a file that is open, after every byte was checked.
pub(super) fn read(file: &File, path: &Path, reference: &ValueRef) -> Result<Vec<u8>, LogError> {
    let len = file.metadata().map_err(LogError::read(path))?.len();
    let value = Value { file, path, len, id: reference.value_id };
    let read = value.verify(Some(reference)).and_then(|()| value.read(SEGMENT_HEADER as u64, reference.len));
    read.map_err(|failure| match failure {
        Ok(Finding { path, offset, lsn, reason, .. }) => StorageError::Corrupt { path, offset, lsn, reason }.into(),
        Err(error) => error,
    })
}

struct Value<'p> {
    file: &'p File,
    path: &'p Path,
    len: u64,
    id: u128,
}

impl Value<'_> {
    fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, Failure> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.damage(offset, "cut off"));
        }
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| Err(LogError::read(self.path)(error)))?;
        Ok(bytes)
    }

    fn damage(&self, offset: u64, reason: impl Into<String>) -> Failure {
        Ok(damage(self.path, offset, Lsn(0), reason))
    }

    fn verify(&self, reference: Option<&ValueRef>) -> Result<(), Failure> {
        let head = self.read(0, SEGMENT_HEADER as u64)?;
        let header = SegmentHeader::decode(&head).map_err(|error| self.damage(0, format!("segment header: {error}")))?;
        if header.kind != SegmentKind::Value || header.value_id != self.id {
            return Err(self.damage(0, "the header is not that of this value"));
        }
        let seed = header.seed().value(self.id);
        let (len, crcs) = self.trailer(&|bytes| seed.crc(bytes))?;
        let mut offset = SEGMENT_HEADER as u64;
        let end = offset + len;
        for (number, crc) in (0..).zip(crcs.chunks_exact(CRC as usize)) {
            let block = self.read(offset, BLOCK.min(end - offset))?;
            if seed.block_crc(number, &block).to_le_bytes() != crc {
                return Err(self.damage(offset, format!("checksum mismatch in block {number}")));
            }
            offset += block.len() as u64;
        }
        match reference {
            Some(reference) if reference.len != len => Err(self.damage(0, format!("{len} bytes, where the log says {}", reference.len))),
            _ => Ok(()),
        }
    }

    /// The length of the value and the CRCs of its blocks.
    fn trailer(&self, crc: &dyn Fn(&[u8]) -> u32) -> Result<(u64, Vec<u8>), Failure> {
        let at = self.len.saturating_sub(TRAILER);
        let trailer = self.read(at, TRAILER)?;
        let (fields, magic) = trailer.split_at(trailer.len() - MAGIC.len());
        let (length, checksum) = fields.split_at(8);
        if magic != MAGIC {
            return Err(self.damage(at, "no end of a value: it was not finished, or is cut off"));
        }
        let len = u64::from_le_bytes(length.try_into().unwrap_or_default());
        let crcs_len = len.div_ceil(BLOCK).saturating_mul(CRC);
        let fits = (SEGMENT_HEADER as u64).checked_add(len).and_then(|end| end.checked_add(crcs_len)) == Some(at);
        if !fits {
            return Err(self.damage(at, format!("a length of {len} does not fit the file")));
        }
        let mut covered = self.read(at - crcs_len, crcs_len)?;
        covered.extend(length);
        if crc(&covered).to_le_bytes() != checksum {
            return Err(self.damage(at, "checksum mismatch in the block checksums"));
        }
        covered.truncate(crcs_len as usize);
        Ok((len, covered))
    }
}
