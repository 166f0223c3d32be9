//! Large values on their way from a primary to a replica: their files, byte by byte.
//!
//! Invariants:
//! - A copy is on the medium before anybody appends an entry that names it.

use std::sync::Arc;

use super::Shard;
use super::values::Values;
use crate::error::{Result, StorageError};
use crate::fs::File;
use crate::segment::names::FileName;
use crate::snapshot::SnapshotFile;

/// A large value's file that is arriving. Dropped before its end, it is removed.
pub struct ValueReceiver {
    values: Arc<Values>,
    id: u128,
    bytes: u64,
    written: u64,
    file: Option<Box<dyn File>>,
}

impl Shard {
    /// The file of a large value, to be sent; none if nothing names it any more.
    #[must_use]
    pub fn value_file(&self, id: u128) -> Option<SnapshotFile> {
        SnapshotFile::open(&self.log().directory, FileName::Value(id).to_string()).ok()
    }

    /// Whether the file of a large value is here, whole.
    #[must_use]
    pub fn has_value(&self, id: u128) -> bool {
        self.values.finished(id).is_some_and(|name| self.log().directory.exists(&name).unwrap_or(false))
    }

    /// Begins to receive the file of a large value, of so many bytes.
    ///
    /// # Errors
    /// No room; I/O errors.
    pub fn receive_value(&self, id: u128, bytes: u64) -> Result<ValueReceiver> {
        let file = self.values.begin_copy(id, bytes)?;
        Ok(ValueReceiver { values: Arc::clone(&self.values), id, bytes, written: 0, file: Some(file) })
    }
}

impl ValueReceiver {
    /// The value's id.
    #[must_use]
    pub fn id(&self) -> u128 {
        self.id
    }

    /// Bytes that are still to come.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.bytes - self.written
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    /// More than were announced; I/O errors.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let path = self.values.path_of(self.id);
        if bytes.len() as u64 > self.missing() {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "more bytes than were announced");
            return Err(StorageError::Io { action: "receive", path, source });
        }
        if let Some(file) = &self.file {
            file.write_at(self.written, bytes).map_err(StorageError::io("write", &path))?;
            self.written += bytes.len() as u64;
        }
        Ok(())
    }

    /// Puts it on the medium; all has arrived.
    ///
    /// # Errors
    /// Some has not; I/O errors.
    pub fn finish(mut self) -> Result<()> {
        let path = self.values.path_of(self.id);
        if self.missing() > 0 {
            let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "fewer bytes than were announced");
            return Err(StorageError::Io { action: "receive", path, source });
        }
        if let Some(file) = &self.file {
            file.sync_all().map_err(StorageError::io("sync", &path))?;
        }
        self.file = None;
        self.values.end_copy(self.id)
    }
}

impl Drop for ValueReceiver {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What stays behind is removed at the next start.
            let _ = self.values.abandon_copy(self.id);
        }
    }
}
