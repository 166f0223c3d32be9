//! Reading a file piece by piece, and resting in between.

use crate::error::{Result, StorageError};
use crate::fs::File;

/// Bytes read at a time.
pub(super) const PIECE: usize = 256 << 10;

/// Why a file was not read to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Its bytes do not pass.
    Bad(StorageError),
    /// It is not needed any more, or scrub is to stop.
    Left,
}

impl From<StorageError> for Stopped {
    fn from(error: StorageError) -> Self {
        Self::Bad(error)
    }
}

/// Told of each piece; false: read no further.
pub(super) type Rest<'a> = &'a mut dyn FnMut(u64) -> bool;

/// A file being read.
pub(super) struct Pieces<'a> {
    pub(super) file: &'a dyn File,
    /// Whether its pages are given back to the kernel: they are not, where requests read them through a mapping.
    pub(super) forget: bool,
    pub(super) rest: Rest<'a>,
}

impl Pieces<'_> {
    /// Reads a range, resting after each piece of it.
    pub(super) fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), Stopped> {
        let mut at = offset;
        for piece in buf.chunks_mut(PIECE) {
            let len = piece.len() as u64;
            self.file.read_at(at, piece).map_err(StorageError::io("read", self.file.path()))?;
            if self.forget {
                // A hint only.
                let _ = self.file.forget(at, len);
            }
            at += len;
            if !(self.rest)(len) {
                return Err(Stopped::Left);
            }
        }
        Ok(())
    }

    pub(super) fn corrupt(&self, offset: u64, lsn: crate::types::Lsn, reason: impl Into<String>) -> Stopped {
        StorageError::Corrupt { path: self.file.path().to_owned(), offset, lsn, reason: reason.into() }.into()
    }
}
