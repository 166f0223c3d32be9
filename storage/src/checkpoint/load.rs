//! Loading a checkpoint into an empty index.

use super::format::{self, HEAD, Head, SECTION_HEAD, Section};
use crate::codec::checksum::crc;
use crate::error::{Result, StorageError};
use crate::fs::{Directory, File};
use crate::index::{ExpiredMark, Index, StoredCell, TABLE_SLOTS, TableSlot};
use crate::manifest::Checkpoint;
use crate::segment::names::FileName;
use crate::types::{Lsn, STRIPES, Slot, UnixMillis};

/// Bytes read at a time; every section fits. Little, as the allocator keeps it.
const READ: usize = 256 << 10;

/// What was loaded.
pub(crate) struct Loaded {
    /// The first entry to replay.
    pub(crate) replay_from: Lsn,
    /// The last entry that it may point to.
    pub(crate) reaches: Lsn,
    counted_to: Vec<Lsn>,
    /// Cells loaded.
    pub(crate) keys: u64,
}

impl Loaded {
    /// Up to this LSN the counters of a table in a stripe already hold what the entries change.
    pub(crate) fn counted_to(&self, stripe: usize, table: TableSlot) -> Lsn {
        self.counted_to[stripe * TABLE_SLOTS + table.number()]
    }

    /// The table was emptied while replaying: from here on all that happens to its slot is counted.
    pub(crate) fn forget(&mut self, table: TableSlot) {
        self.counted_to.chunks_mut(TABLE_SLOTS).for_each(|stripe| stripe[table.number()] = Lsn(0));
    }
}

/// Loads the checkpoint that the manifest names. None: it is not there or not sound, which is logged; the log is then replayed from its
/// start, into an index made anew.
pub(crate) fn load(directory: &dyn Directory, checkpoint: &Checkpoint, key_hash_seed: u64, index: &Index) -> Result<Option<Loaded>> {
    let name = FileName::Checkpoint(checkpoint.lsn).to_string();
    let path = directory.path(&name);
    let file = match directory.open_read_only(&name) {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!("cannot open {}: {error}; the whole log is replayed", path.display());
            return Ok(None);
        }
    };
    let mut reader = Reader::new(file.as_ref())?;
    let loaded = reader.load(key_hash_seed, index)?;
    let _ = file.forget(0, 0);
    if loaded.is_none() {
        tracing::warn!("{} does not pass its checks at offset {}; the whole log is replayed", path.display(), reader.position());
    }
    Ok(loaded)
}

struct Reader<'f> {
    file: &'f dyn File,
    len: u64,
    /// Where `buffer` starts in the file.
    start: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl<'f> Reader<'f> {
    fn new(file: &'f dyn File) -> Result<Self> {
        let len = file.len().map_err(StorageError::io("measure", file.path()))?;
        Ok(Self { file, len, start: 0, buffer: Vec::new(), at: 0 })
    }

    fn position(&self) -> u64 {
        self.start + self.at as u64
    }

    /// The next `len` bytes, without going past them; none at the end of the file.
    fn peek(&mut self, len: usize) -> Result<Option<&[u8]>> {
        if self.buffer.len() - self.at < len {
            self.start += self.at as u64;
            self.at = 0;
            let want = (len.max(READ) as u64).min(self.len - self.start) as usize;
            self.buffer.resize(want, 0);
            self.file.read_at(self.start, &mut self.buffer).map_err(StorageError::io("read", self.file.path()))?;
        }
        Ok(self.buffer.get(self.at..self.at + len))
    }

    fn load(&mut self, key_hash_seed: u64, index: &Index) -> Result<Option<Loaded>> {
        let Some(head) = self.peek(HEAD)?.and_then(|bytes| Head::decode(bytes.first_chunk()?)) else { return Ok(None) };
        self.at += HEAD;
        if head.key_hash_seed != key_hash_seed {
            return Ok(None);
        }
        index.set_tables(&head.tables);
        let mut loaded =
            Loaded { replay_from: head.replay_from, reaches: Lsn(0), counted_to: vec![Lsn(0); STRIPES * TABLE_SLOTS], keys: 0 };
        let mut sections = 0;
        loop {
            let Some(section) = self.section(index, &mut loaded)? else { return Ok(None) };
            if section.kind == format::END {
                loaded.reaches = section.lsn;
                return Ok((section.count == sections).then_some(loaded));
            }
            sections += 1;
        }
    }

    fn section(&mut self, index: &Index, loaded: &mut Loaded) -> Result<Option<Section>> {
        let Some(section) = self.peek(SECTION_HEAD)?.and_then(|bytes| bytes.first_chunk()).map(Section::decode) else { return Ok(None) };
        let Some(payload_len) = section.payload_len() else { return Ok(None) };
        let len = SECTION_HEAD + payload_len + 4;
        if len as u64 > self.len {
            return Ok(None);
        }
        let Some(bytes) = self.peek(len)? else { return Ok(None) };
        let (body, stored) = bytes.split_at(len - 4);
        if crc(0, body).to_le_bytes() != stored {
            return Ok(None);
        }
        let sound = apply(&section, &body[SECTION_HEAD..], index, loaded)?;
        self.at += len;
        Ok(sound.then_some(section))
    }
}

fn apply(section: &Section, payload: &[u8], index: &Index, loaded: &mut Loaded) -> Result<bool> {
    if section.kind == format::END {
        return Ok(true);
    }
    if section.kind == format::EXPIRED {
        let Some(at) = payload.first_chunk() else { return Ok(false) };
        index.set_expired(ExpiredMark { at: UnixMillis(i64::from_le_bytes(*at)), lsn: section.lsn });
        return Ok(true);
    }
    if section.kind == format::EVICTED {
        index.set_evicted(section.lsn);
        return Ok(true);
    }
    let number = usize::from(section.stripe);
    let (Some(table), true) = (format::table_slot(section.table), number < STRIPES) else { return Ok(false) };
    let mut stripe = index.stripe(number).write();
    if section.kind == format::EXPECT {
        let keys = section.count as usize;
        index.reserve(keys).and_then(|()| stripe.prepare(index, table, keys as u64)).map_err(|e| no_room(&e))?;
        return Ok(true);
    }
    if section.kind == format::CELLS {
        let cells: Vec<StoredCell> = payload.as_chunks().0.iter().map(format::cell).collect();
        index.reserve(cells.len()).and_then(|()| stripe.load_cells(index, table, &cells)).map_err(|e| no_room(&e))?;
        loaded.keys += cells.len() as u64;
        return Ok(true);
    }
    for (slot, counters) in payload.as_chunks().0.iter().filter_map(format::counters) {
        let slot = Slot(section.stripe * 64 + (slot as u16 & 63));
        stripe.set_slot_counters(index, table, slot, counters).map_err(|e| no_room(&e))?;
    }
    loaded.counted_to[number * TABLE_SLOTS + table.number()] = section.lsn;
    Ok(true)
}

fn no_room(error: &crate::index::IndexError) -> StorageError {
    StorageError::Io { action: "grow", path: "the index".into(), source: std::io::Error::other(error.to_string()) }
}
