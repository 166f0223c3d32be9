//! Value segments: values too long for an entry, one a file, written beside the log and named by an entry.
//!
//! Invariants:
//! - A value segment is whole and on the medium before the entry that names it is appended, whatever the sync mode: so an entry never
//!   names a value that power loss could take away.
//! - Files that no entry names are removed at start and counted.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::buried::Buried;
use crate::clean::SpaceLimit;
use crate::codec::checksum::{ShardSeed, ValueSeed, crc};
use crate::codec::content_hash::ContentHasher;
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

/// Bytes behind the block CRCs: length, CRC, magic.
pub(crate) const VALUE_TRAILER: u64 = 8 + 4 + 8;

/// A value that lies in a value segment and is not yet named by an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredValue {
    pub(crate) reference: ValueRef,
    pub(crate) content_hash: u64,
}

impl StoredValue {
    /// Bytes of the value.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.reference.len
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Writes a value segment piece by piece. Dropped before [`finish`](Self::finish), it leaves nothing behind.
pub struct ValueWriter {
    values: Arc<Values>,
    name: String,
    id: u128,
    len: u64,
    file: Option<Box<dyn File>>,
    seed: ValueSeed,
    crc: u32,
    block: Vec<u8>,
    trailer: Vec<u8>,
    written: u64,
    hasher: ContentHasher,
}

impl ValueWriter {
    fn file(&self) -> &dyn File {
        self.file.as_deref().expect("there until the value is finished")
    }

    /// Bytes still missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.len - self.written - self.block.len() as u64
    }

    /// Takes the next bytes of the value: no more than are [`missing`](Self::missing). Writes to the page cache.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        assert!(bytes.len() as u64 <= self.missing(), "more bytes than the value has");
        self.hasher.update(bytes);
        self.crc = crc(self.crc, bytes);
        while !bytes.is_empty() {
            let step = bytes.len().min(VALUE_BLOCK - self.block.len());
            self.block.extend_from_slice(&bytes[..step]);
            bytes = &bytes[step..];
            if self.block.len() == VALUE_BLOCK {
                self.close_block()?;
            }
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<()> {
        let number = (self.written / VALUE_BLOCK as u64) as u32;
        self.trailer.extend(self.seed.block_crc(number, &self.block).to_le_bytes());
        let at = SEGMENT_HEADER as u64 + self.written;
        self.file().write_at(at, &self.block).map_err(StorageError::io("write", self.file().path()))?;
        self.written += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// Puts the value on the medium; a transaction can then name it. May wait for the medium: not for a worker.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self) -> Result<StoredValue> {
        assert_eq!(self.missing(), 0, "a value is finished when it is whole");
        if !self.block.is_empty() {
            self.close_block()?;
        }
        self.trailer.extend(self.len.to_le_bytes());
        let crc = self.seed.crc(&self.trailer);
        self.trailer.extend(crc.to_le_bytes());
        self.trailer.extend(VALUE_MAGIC);
        let at = SEGMENT_HEADER as u64 + self.len;
        self.file().write_at(at, &self.trailer).map_err(StorageError::io("write", self.file().path()))?;
        self.file().sync_all().map_err(StorageError::io("sync", self.file().path()))?;
        let directory = &self.values.directory;
        directory.sync().map_err(StorageError::io("sync", directory.path("")))?;
        self.values.unfinished.lock().retain(|id| *id != self.id);
        if let Some(file) = self.file.take() {
            self.values.keep(self.id, file.into());
            self.values.cached.lock().touch(self.id, self.len);
        }
        let reference = ValueRef { value_id: self.id, len: self.len, crc: self.crc };
        Ok(StoredValue { reference, content_hash: std::mem::take(&mut self.hasher).finish() })
    }
}

impl Drop for ValueWriter {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // What is left of it is removed at the next start.
            let _ = self.values.directory.remove(&self.name);
            self.values.unfinished.lock().retain(|id| *id != self.id);
        }
    }
}

/// Values that the page cache may hold, the last used at the end.
#[derive(Default)]
struct CachedValues {
    order: VecDeque<(u128, u64)>,
    bytes: u64,
}

impl CachedValues {
    fn touch(&mut self, id: u128, len: u64) {
        self.forget(id);
        self.order.push_back((id, len));
        self.bytes += len;
    }

    fn forget(&mut self, id: u128) {
        if let Some(at) = self.order.iter().rposition(|(known, _)| *known == id) {
            self.bytes -= self.order.remove(at).map_or(0, |(_, len)| len);
        }
    }

    fn pop_oldest(&mut self) -> Option<u128> {
        let (id, len) = self.order.pop_front()?;
        self.bytes -= len;
        Some(id)
    }
}

/// Fills a buffer from an offset of a file; false if that would have to wait.
type Read<'r> = &'r mut dyn FnMut(u64, &mut [u8]) -> std::io::Result<bool>;

/// The value segments of a shard.
pub(crate) struct Values {
    directory: Arc<dyn Directory>,
    seed: ShardSeed,
    history: HistoryId,
    shard: ShardId,
    open: Mutex<VecDeque<(u128, Arc<dyn File>)>>,
    cached: Mutex<CachedValues>,
    /// Those that have no end yet.
    unfinished: Mutex<Vec<u128>>,
    buried: Buried,
    space: Arc<SpaceLimit>,
}

impl Values {
    pub(crate) fn new(directory: Arc<dyn Directory>, history: HistoryId, shard: ShardId, space: Arc<SpaceLimit>) -> Self {
        Self {
            directory,
            seed: ShardSeed::new(history, shard),
            history,
            shard,
            open: Mutex::new(VecDeque::new()),
            unfinished: Mutex::default(),
            cached: Mutex::new(CachedValues::default()),
            buried: Buried::default(),
            space,
        }
    }

    /// Writes a value into a segment of its own.
    pub(crate) fn store(self: &Arc<Self>, value: &[u8]) -> Result<StoredValue> {
        let mut writer = self.writer(value.len() as u64)?;
        writer.write(value)?;
        writer.finish()
    }

    /// Begins a value segment for a value of `len` bytes, which arrive in pieces. Takes no lock of the shard.
    pub(crate) fn writer(self: &Arc<Self>, len: u64) -> Result<ValueWriter> {
        let id: u128 = rand::random();
        let name = FileName::Value(id).to_string();
        let path = self.directory.path(&name);
        let size = SEGMENT_HEADER as u64 + len + len.div_ceil(VALUE_BLOCK as u64) * 4 + VALUE_TRAILER;
        self.take_room(size)?;
        self.unfinished.lock().push(id);
        let file = self.directory.create(&name).map_err(StorageError::io("create", &path)).inspect_err(|_| {
            self.unfinished.lock().retain(|u| *u != id);
            self.space.give_back(size);
        })?;
        let seed = self.seed.value(id);
        let writer = ValueWriter {
            values: Arc::clone(self),
            name,
            id,
            len,
            file: Some(file),
            seed,
            crc: seed.crc(&[]),
            block: Vec::with_capacity(VALUE_BLOCK),
            trailer: Vec::new(),
            written: 0,
            hasher: ContentHasher::default(),
        };
        let file = writer.file();
        let allocated = file.allocate(0, size).map_err(StorageError::io("allocate", &path)).map_err(|error| self.as_full(error));
        // Given up later it counts until the next measurement.
        allocated.inspect(|()| self.space.settle(size)).inspect_err(|_| self.space.give_back(size))?;
        file.write_at(0, &self.header(id, size).encode()).map_err(StorageError::io("write", &path))?;
        Ok(writer)
    }

    /// Makes the file for a copy of another node's value segment.
    pub(super) fn begin_copy(&self, id: u128, bytes: u64) -> Result<Box<dyn File>> {
        let path = self.path_of(id);
        self.take_room(bytes)?;
        self.unfinished.lock().push(id);
        let name = FileName::Value(id).to_string();
        let made = self.directory.create(&name).map_err(StorageError::io("create", &path)).and_then(|file| {
            file.allocate(0, bytes).map_err(StorageError::io("allocate", &path)).map_err(|error| self.as_full(error))?;
            Ok(file)
        });
        made.inspect(|_| self.space.settle(bytes)).inspect_err(|_| {
            self.space.give_back(bytes);
            drop(self.abandon_copy(id));
        })
    }

    /// All of it is on the medium.
    pub(super) fn end_copy(&self, id: u128) -> Result<()> {
        self.directory.sync().map_err(StorageError::io("sync", self.directory.path("")))?;
        self.unfinished.lock().retain(|unfinished| *unfinished != id);
        Ok(())
    }

    pub(super) fn abandon_copy(&self, id: u128) -> std::io::Result<()> {
        self.unfinished.lock().retain(|unfinished| *unfinished != id);
        self.directory.remove(&FileName::Value(id).to_string())
    }

    pub(super) fn path_of(&self, id: u128) -> std::path::PathBuf {
        self.directory.path(&FileName::Value(id).to_string())
    }

    /// Takes room for a file of this size, under the limit that the log has.
    fn take_room(&self, size: u64) -> Result<()> {
        if self.space.take(size) {
            return Ok(());
        }
        // Files may have gone since it was last measured.
        self.space.measure(self.directory.as_ref()).map_err(StorageError::io("measure", self.directory.path("")))?;
        if self.space.take(size) {
            return Ok(());
        }
        self.space.note_refused();
        Err(StorageError::DiskFull { path: self.directory.path("") })
    }

    /// A disk that is full is the same error whoever finds it so.
    fn as_full(&self, error: StorageError) -> StorageError {
        if error.is_disk_full() { StorageError::DiskFull { path: self.directory.path("") } } else { error }
    }

    fn header(&self, id: u128, size: u64) -> SegmentHeader {
        SegmentHeader {
            kind: SegmentKind::Value,
            cleaned: false,
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

    /// The name of a value segment's file, unless it is being written.
    pub(crate) fn finished(&self, id: u128) -> Option<String> {
        (!self.unfinished.lock().contains(&id)).then(|| FileName::Value(id).to_string())
    }

    /// Removes a value segment that no entry names.
    pub(crate) fn discard(&self, stored: &StoredValue) -> Result<()> {
        self.open.lock().retain(|(known, _)| *known != stored.reference.value_id);
        self.cached.lock().forget(stored.reference.value_id);
        let name = FileName::Value(stored.reference.value_id).to_string();
        self.directory.remove(&name).map_err(StorageError::io("remove", self.directory.path(&name)))
    }

    /// The live record that named a value segment was superseded by the entry of this LSN, and no other names it.
    pub(crate) fn bury(&self, id: u128, superseder: Lsn) {
        self.buried.add(id, superseder, Instant::now());
    }

    /// Removes the files of buried value segments whose superseders are at or below `settled`: after a while, or at once. Returns how many
    /// went.
    pub(crate) fn remove_buried(&self, settled: Lsn, at_once: bool) -> Result<u64> {
        let due = self.buried.due(settled, Instant::now(), at_once);
        for id in &due {
            self.open.lock().retain(|(known, _)| known != id);
            self.cached.lock().forget(*id);
            let name = FileName::Value(*id).to_string();
            match self.directory.remove(&name) {
                // Buried twice: when its record was superseded, and when cleaning dropped that.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                outcome => outcome.map_err(StorageError::io("remove", self.directory.path(&name)))?,
            }
        }
        if at_once && !due.is_empty() {
            // Their room is wanted, and a filesystem may keep it until their names are gone for good.
            self.directory.sync().map_err(StorageError::io("sync", self.directory.path("")))?;
        }
        Ok(due.len() as u64)
    }

    /// Whether files wait to be removed.
    pub(crate) fn has_buried(&self) -> bool {
        !self.buried.is_empty()
    }

    /// Bytes of values that the page cache may hold.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.cached.lock().bytes
    }

    /// Has the page cache hold no more than `limit` bytes of values, those that were read or written last.
    pub(crate) fn keep_cached(&self, limit: u64) {
        loop {
            let oldest = {
                let mut cached = self.cached.lock();
                if cached.bytes <= limit {
                    return;
                }
                cached.pop_oldest()
            };
            // A file that is gone has given its memory back.
            if let Some(file) = oldest.and_then(|id| self.directory.open(&FileName::Value(id).to_string()).ok()) {
                let _ = file.forget(0, 0);
            }
        }
    }

    fn keep(&self, id: u128, file: Arc<dyn File>) {
        let mut open = self.open.lock();
        open.retain(|(known, _)| *known != id);
        open.push_front((id, file));
        open.truncate(KEPT_OPEN);
    }

    fn open_file(&self, id: u128) -> Option<Arc<dyn File>> {
        self.open.lock().iter().find(|(known, _)| *known == id).map(|(_, file)| Arc::clone(file))
    }

    fn file(&self, id: u128) -> Result<Arc<dyn File>> {
        if let Some(file) = self.open_file(id) {
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
        self.cached.lock().touch(reference.value_id, reference.len);
        self.read_blocks(reference, offset, buf, &mut |at, bytes| file.read_at(at, bytes).map(|()| true), file.path()).map(drop)
    }

    /// The same without waiting for the medium; false if that would be needed.
    pub(crate) fn read_cached(&self, reference: &ValueRef, offset: u64, buf: &mut [u8]) -> Result<bool> {
        if buf.is_empty() {
            return Ok(true);
        }
        // Opening a file may have to wait, too.
        let Some(file) = self.open_file(reference.value_id) else { return Ok(false) };
        let mut read = |mut at: u64, mut bytes: &mut [u8]| {
            while !bytes.is_empty() {
                match file.read_at_nowait(at, bytes)? {
                    None | Some(0) => return Ok(false),
                    Some(count) => (at, bytes) = (at + count as u64, &mut bytes[count..]),
                }
            }
            Ok(true)
        };
        self.read_blocks(reference, offset, buf, &mut read, file.path())
    }

    fn read_blocks(&self, reference: &ValueRef, offset: u64, buf: &mut [u8], read: Read<'_>, path: &Path) -> Result<bool> {
        let first = offset / VALUE_BLOCK as u64;
        let last = (offset + buf.len() as u64 - 1) / VALUE_BLOCK as u64;
        let mut block = vec![0; VALUE_BLOCK];
        for number in first..=last {
            let start = number * VALUE_BLOCK as u64;
            let len = (reference.len - start).min(VALUE_BLOCK as u64) as usize;
            if !self.read_block(reference, number as u32, &mut block[..len], read, path)? {
                return Ok(false);
            }
            let from = offset.max(start);
            let to = (offset + buf.len() as u64).min(start + len as u64);
            buf[(from - offset) as usize..(to - offset) as usize].copy_from_slice(&block[(from - start) as usize..(to - start) as usize]);
        }
        Ok(true)
    }

    fn read_block(&self, reference: &ValueRef, number: u32, block: &mut [u8], read: Read<'_>, path: &Path) -> Result<bool> {
        let at = SEGMENT_HEADER as u64 + u64::from(number) * VALUE_BLOCK as u64;
        let mut stored = [0; 4];
        let crc_at = SEGMENT_HEADER as u64 + reference.len + u64::from(number) * 4;
        let there = read(at, block).and_then(|there| Ok(there && read(crc_at, &mut stored)?));
        if !there.map_err(StorageError::io("read", path))? {
            return Ok(false);
        }
        let crc = self.seed.value(reference.value_id).block_crc(number, block);
        if crc == u32::from_le_bytes(stored) {
            return Ok(true);
        }
        let reason = format!("block {number} of the value has CRC {crc:08x}, {:08x} is stored", u32::from_le_bytes(stored));
        Err(StorageError::Corrupt { path: path.to_owned(), offset: at, lsn: Lsn(0), reason })
    }

    /// The whole value that an encoded reference names.
    pub(crate) fn read_encoded(&self, reference: &[u8]) -> Result<Vec<u8>> {
        let reference = super::chain::value_ref(reference)?;
        let mut value = vec![0; reference.len as usize];
        self.read(&reference, 0, &mut value)?;
        Ok(value)
    }
}
