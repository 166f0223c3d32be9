//! Value segments: values too long for an entry, one a file, written beside the log and named by an entry.
//!
//! Invariants:
//! - A value segment is whole and on the medium before the entry that names it is appended, whatever the sync mode: so an entry never
//!   names a value that power loss could take away.
//! - Files that no entry names are removed at start and counted.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::codec::checksum::ShardSeed;
use crate::codec::value_ref::ValueRef;
use crate::error::{Result, StorageError};
use crate::fs::{Directory, File};
use crate::segment::names::FileName;
use crate::segment::{SEGMENT_HEADER, SegmentHeader, SegmentKind};
use crate::types::{EpochNumber, Generation, HistoryId, Lsn, SegmentId, ShardId, UnixMillis, WriterId};

/// Bytes that one CRC of a value segment covers.
pub(crate) const VALUE_BLOCK: usize = 64 << 10;
/// End of a value segment.
pub(crate) const VALUE_MAGIC: [u8; 8] = *b"ESKERVAL";
/// Open files of value segments kept for the next read.
const KEPT_OPEN: usize = 64;

/// The value segments of a shard.
pub(crate) struct Values {
    directory: Arc<dyn Directory>,
    seed: ShardSeed,
    history: HistoryId,
    shard: ShardId,
    open: Mutex<VecDeque<(u128, Arc<dyn File>)>>,
}

impl Values {
    pub(crate) fn new(directory: Arc<dyn Directory>, history: HistoryId, shard: ShardId) -> Self {
        Self { directory, seed: ShardSeed::new(history, shard), history, shard, open: Mutex::new(VecDeque::new()) }
    }

    /// Writes a value into a segment of its own and returns the reference for the entry.
    pub(crate) fn store(&self, value: &[u8]) -> Result<ValueRef> {
        let id: u128 = rand::random();
        let name = FileName::Value(id).to_string();
        let stored = self.write(&name, id, value);
        stored.inspect_err(|_| drop(self.directory.remove(&name)))
    }

    fn write(&self, name: &str, id: u128, value: &[u8]) -> Result<ValueRef> {
        let path = self.directory.path(name);
        let seed = self.seed.value(id);
        let mut trailer = Vec::with_capacity(value.len() / VALUE_BLOCK * 4 + 24);
        for (number, block) in (0_u32..).zip(value.chunks(VALUE_BLOCK)) {
            trailer.extend(seed.block_crc(number, block).to_le_bytes());
        }
        trailer.extend((value.len() as u64).to_le_bytes());
        trailer.extend(seed.crc(&trailer).to_le_bytes());
        trailer.extend(VALUE_MAGIC);
        let size = (SEGMENT_HEADER + value.len() + trailer.len()) as u64;
        let file = self.directory.create(name).map_err(StorageError::io("create", &path))?;
        file.allocate(0, size).map_err(StorageError::io("allocate", &path))?;
        file.write_at(0, &self.header(id, size).encode()).map_err(StorageError::io("write", &path))?;
        file.write_at(SEGMENT_HEADER as u64, value).map_err(StorageError::io("write", &path))?;
        file.write_at((SEGMENT_HEADER + value.len()) as u64, &trailer).map_err(StorageError::io("write", &path))?;
        file.sync_all().map_err(StorageError::io("sync", &path))?;
        self.directory.sync().map_err(StorageError::io("sync", self.directory.path("")))?;
        let crc = seed.crc(value);
        self.keep(id, file.into());
        Ok(ValueRef { value_id: id, len: value.len() as u64, crc })
    }

    fn header(&self, id: u128, size: u64) -> SegmentHeader {
        SegmentHeader {
            kind: SegmentKind::Value,
            shard: self.shard,
            history: self.history,
            base_lsn: Lsn(0),
            generation: Generation(0),
            segment_id: SegmentId(0),
            epoch: EpochNumber(0),
            writer: WriterId(0),
            created: UnixMillis(0),
            stamp: 0,
            size,
            value_id: id,
        }
    }

    fn keep(&self, id: u128, file: Arc<dyn File>) {
        let mut open = self.open.lock();
        open.retain(|(known, _)| *known != id);
        open.push_front((id, file));
        open.truncate(KEPT_OPEN);
    }

    fn file(&self, id: u128) -> Result<Arc<dyn File>> {
        let known = self.open.lock().iter().find(|(known, _)| *known == id).map(|(_, file)| Arc::clone(file));
        if let Some(file) = known {
            return Ok(file);
        }
        let name = FileName::Value(id).to_string();
        let file: Arc<dyn File> = self.directory.open(&name).map_err(StorageError::io("open", self.directory.path(&name)))?.into();
        self.keep(id, Arc::clone(&file));
        Ok(file)
    }

    /// Fills `buf` with the value's bytes from `offset` on; every block touched passes its CRC.
    pub(crate) fn read(&self, reference: &ValueRef, offset: u64, buf: &mut [u8]) -> Result<()> {
        if buf.is_empty() {
            return Ok(());
        }
        let file = self.file(reference.value_id)?;
        let first = offset / VALUE_BLOCK as u64;
        let last = (offset + buf.len() as u64 - 1) / VALUE_BLOCK as u64;
        let mut block = vec![0; VALUE_BLOCK];
        for number in first..=last {
            let start = number * VALUE_BLOCK as u64;
            let len = (reference.len - start).min(VALUE_BLOCK as u64) as usize;
            self.read_block(file.as_ref(), reference, number as u32, &mut block[..len])?;
            let from = offset.max(start);
            let to = (offset + buf.len() as u64).min(start + len as u64);
            buf[(from - offset) as usize..(to - offset) as usize].copy_from_slice(&block[(from - start) as usize..(to - start) as usize]);
        }
        Ok(())
    }

    fn read_block(&self, file: &dyn File, reference: &ValueRef, number: u32, block: &mut [u8]) -> Result<()> {
        let at = SEGMENT_HEADER as u64 + u64::from(number) * VALUE_BLOCK as u64;
        file.read_at(at, block).map_err(StorageError::io("read", file.path()))?;
        let mut stored = [0; 4];
        let crc_at = SEGMENT_HEADER as u64 + reference.len + u64::from(number) * 4;
        file.read_at(crc_at, &mut stored).map_err(StorageError::io("read", file.path()))?;
        let crc = self.seed.value(reference.value_id).block_crc(number, block);
        if crc == u32::from_le_bytes(stored) {
            return Ok(());
        }
        let reason = format!("block {number} of the value has CRC {crc:08x}, {:08x} is stored", u32::from_le_bytes(stored));
        Err(StorageError::Corrupt { path: file.path().to_owned(), offset: at, lsn: Lsn(0), reason })
    }

    /// The whole value that an encoded reference names.
    pub(crate) fn read_encoded(&self, reference: &[u8]) -> Result<Vec<u8>> {
        let reference = super::chain::value_ref(reference)?;
        let mut value = vec![0; reference.len as usize];
        self.read(&reference, 0, &mut value)?;
        Ok(value)
    }
}
