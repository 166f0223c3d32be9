//! A `divergent-*.log`, read entry by entry.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use esker_storage::codec::DecodeError;
use esker_storage::codec::entry::EntryView;
use esker_storage::codec::frame::{FRAME_START, FrameKind, FrameStart};
use esker_storage::error::StorageError;
use esker_storage::manifest::{Manifest, Tables};
use esker_storage::segment::names::MANIFEST;
use esker_storage::segment::{SEGMENT_HEADER, SegmentHeader};
use esker_storage::types::Lsn;

use super::super::LogError;

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// The file, and what is kept beside it.
pub(in super::super) struct DivergentFile {
    pub(in super::super) path: PathBuf,
    pub(in super::super) file: File,
    pub(in super::super) len: u64,
    pub(in super::super) header: SegmentHeader,
    /// The directory of what its entries refer to, which need not be there.
    pub(in super::super) beside: PathBuf,
}

impl DivergentFile {
    /// Opens a file whose header has to pass.
    pub(in super::super) fn open(path: &Path) -> Result<Self, LogError> {
        let mut file = File::open(path).map_err(LogError::read(path))?;
        let len = file.metadata().map_err(LogError::read(path))?.len();
        let mut head = Vec::new();
        Read::by_ref(&mut file).take(SEGMENT_HEADER as u64).read_to_end(&mut head).map_err(LogError::read(path))?;
        let header = SegmentHeader::decode(&head).map_err(|error| match error {
            DecodeError::FutureVersion(found) => StorageError::FutureVersion { path: path.to_owned(), found, known: 1 },
            DecodeError::Magic => corrupt(path, 0, Lsn(0), "no divergent-*.log: it does not begin as a segment does"),
            error => corrupt(path, 0, Lsn(0), format!("segment header: {error}")),
        })?;
        Ok(Self { path: path.to_owned(), file, len, header, beside: beside(path) })
    }

    /// Its name.
    pub(in super::super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The last LSN that its writer and the primary have in common.
    pub(in super::super) fn common(&self) -> Lsn {
        Lsn(self.header.base_lsn.0.saturating_sub(1))
    }

    /// Visits all entries in order, every byte of them checked, each with its offset.
    pub(in super::super) fn each_entry(&self, visit: &mut dyn FnMut(u64, &EntryView<'_>) -> Result<(), LogError>) -> Result<(), LogError> {
        let mut file = self.file.try_clone().map_err(LogError::read(&self.path))?;
        let mut at = SEGMENT_HEADER as u64;
        file.seek(SeekFrom::Start(at)).map_err(LogError::read(&self.path))?;
        let mut input = BufReader::with_capacity(PIECE, file);
        let (mut bytes, mut last) = (Vec::new(), self.common());
        while at < self.len {
            let bad = |error: DecodeError| self.bad(at, last.next(), error);
            self.read_frame(&mut input, self.len - at, &mut bytes)?.map_err(bad)?;
            let entry = EntryView::parse(&bytes, self.header.seed()).map_err(bad)?;
            if entry.head().lsn <= last {
                let reason = format!("LSN {} after LSN {last}", entry.head().lsn);
                return Err(corrupt(&self.path, at, last.next(), reason).into());
            }
            last = entry.head().lsn;
            visit(at, &entry)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// The bytes of the next frame, of which so many are left at most.
    fn read_frame(&self, input: &mut impl Read, left: u64, bytes: &mut Vec<u8>) -> Result<Result<(), DecodeError>, LogError> {
        let mut take = |len: u64, bytes: &mut Vec<u8>| input.take(len).read_to_end(bytes).map_err(LogError::read(&self.path));
        bytes.clear();
        take(left.min(FRAME_START as u64), bytes)?;
        let start = match FrameStart::parse(bytes) {
            Ok(start) if start.kind != FrameKind::Entry => return Ok(Err(DecodeError::FrameKind(start.kind.to_byte()))),
            Ok(start) if u64::from(start.len) > left => return Ok(Err(DecodeError::CutOff)),
            Ok(start) => start,
            Err(error) => return Ok(Err(error)),
        };
        take(u64::from(start.len) - FRAME_START as u64, bytes)?;
        Ok(Ok(()))
    }

    /// The error of bytes that do not pass.
    pub(in super::super) fn bad(&self, offset: u64, lsn: Lsn, error: DecodeError) -> LogError {
        let (path, reason) = (self.path.clone(), error.to_string());
        match error.is_unsupported() {
            true => StorageError::Unsupported { path, offset, lsn, reason }.into(),
            false => corrupt(&path, offset, lsn, reason).into(),
        }
    }
}

/// The databases' tables before the first entry of a file: as at creation, unless they are written beside it.
pub(in super::super) fn tables_beside(path: &Path) -> Result<Tables, LogError> {
    let path = beside(path).join(MANIFEST);
    match std::fs::read(&path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Tables::default()),
        Err(error) => Err(LogError::read(&path)(error)),
        Ok(bytes) => {
            let manifest = Manifest::decode(&bytes);
            Ok(manifest.map_err(|(offset, error)| corrupt(&path, offset as u64, Lsn(0), error.to_string()))?.tables)
        }
    }
}

/// The directory of what the entries of a file refer to, which need not be there.
pub(in super::super) fn beside(path: &Path) -> PathBuf {
    path.with_extension("")
}

fn corrupt(path: &Path, offset: u64, lsn: Lsn, reason: impl Into<String>) -> StorageError {
    StorageError::Corrupt { path: path.to_owned(), offset, lsn, reason: reason.into() }
}
