//! Values from the files that hold them.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use esker_storage::codec::checksum::ShardSeed;
use esker_storage::codec::delta::{Delta, DeltaChange};
use esker_storage::codec::op::{OpCode, OpView};
use esker_storage::error::StorageError;
use esker_storage::segment::names::FileName;

use super::super::directory::{DataDirectory, Segment};
use super::super::{LogError, value_segment};
use super::places::{Newest, Place, Rest};

/// A segment that stays open.
struct Source {
    path: PathBuf,
    file: File,
    seed: ShardSeed,
}

/// All files that values come from.
#[derive(Default)]
pub(in super::super) struct Sources {
    segments: Vec<Source>,
    values: HashMap<u128, (PathBuf, File)>,
}

impl Sources {
    /// Keeps a segment; its number.
    pub(super) fn add(&mut self, segment: &Segment) -> Result<u32, LogError> {
        let path = segment.file.path.clone();
        let file = segment.handle.try_clone().map_err(LogError::read(&path))?;
        // Who would write a new segment over an old one's blocks asks for this lock first.
        let _ = file.try_lock_shared();
        self.segments.push(Source { path, file, seed: segment.header.seed() });
        Ok((self.segments.len() - 1) as u32)
    }

    /// Keeps value segments.
    pub(super) fn open_values(&mut self, directory: &DataDirectory, ids: impl Iterator<Item = u128>) -> Result<(), LogError> {
        for id in ids {
            let path = directory.path(&FileName::Value(id).to_string());
            let file = File::open(&path).map_err(LogError::read(&path))?;
            self.values.insert(id, (path, file));
        }
        Ok(())
    }

    /// The key of a record.
    pub(super) fn key(&self, newest: &Newest) -> Result<Vec<u8>, LogError> {
        self.with_op(newest.place, |op| Ok(op.key.to_vec()))
    }

    /// The value of a record, folded with what it is based on.
    pub(in super::super) fn value(&self, newest: &Newest) -> Result<Vec<u8>, LogError> {
        let nothing = Rest::default();
        let rest = newest.rest.as_deref().unwrap_or(&nothing);
        if let Some(base) = rest.broken {
            let place = rest.chain.first().unwrap_or(&newest.place);
            let path = self.segments[place.segment as usize].path.clone();
            let reason = format!("a delta on LSN {base}, which has no such record");
            return Err(StorageError::Corrupt { path, offset: u64::from(place.offset), lsn: place.lsn, reason }.into());
        }
        let mut value = Vec::new();
        for place in rest.chain.iter().chain([&newest.place]) {
            self.with_op(*place, |op| match (op.header.code, &rest.value) {
                (OpCode::Delta, _) => change(&mut value, op),
                (_, None) => {
                    value = op.body.to_vec();
                    Ok(())
                }
                (_, Some(reference)) => {
                    let Some((path, file)) = self.values.get(&reference.value_id) else {
                        return Err(LogError::Export(format!("the value segment {:032x} was not opened", reference.value_id)));
                    };
                    value = value_segment::read(file, path, reference)?;
                    Ok(())
                }
            })?;
        }
        Ok(value)
    }

    /// Reads a record again and checks it again.
    fn with_op<R>(&self, place: Place, take: impl FnOnce(&OpView<'_>) -> Result<R, LogError>) -> Result<R, LogError> {
        let Source { path, file, seed } = &self.segments[place.segment as usize];
        let mut bytes = vec![0; place.len as usize];
        file.read_exact_at(&mut bytes, u64::from(place.offset)).map_err(LogError::read(path))?;
        let op = OpView::parse(&bytes).and_then(|op| op.verify(seed.lsn(place.lsn).op(place.op)).map(|()| op));
        let corrupt = |error: esker_storage::codec::DecodeError| {
            let (path, offset) = (path.clone(), u64::from(place.offset));
            StorageError::Corrupt { path, offset, lsn: place.lsn, reason: error.to_string() }
        };
        take(&op.map_err(corrupt)?)
    }
}

/// Applies a delta.
pub(in super::super) fn change(value: &mut Vec<u8>, op: &OpView<'_>) -> Result<(), LogError> {
    let delta = Delta::decode(op.body).map_err(|error| LogError::Export(error.to_string()))?;
    value.resize(delta.total_len as usize, 0);
    if let DeltaChange::Write { offset, bytes } = delta.change {
        // That it fits was checked when it was decoded.
        let offset = offset as usize;
        value[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    Ok(())
}
