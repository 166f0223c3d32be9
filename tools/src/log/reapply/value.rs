//! Values of a divergent file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use esker_storage::codec::content_hash::content_hash;
use esker_storage::codec::op::{OpCode, OpView};
use esker_storage::codec::value_ref::ValueRef;
use esker_storage::segment::names::FileName;
use esker_storage::types::Lsn;

use super::super::directory::DataDirectory;
use super::super::divergent::DivergentFile;
use super::super::export::{At, Places, Sources, change, find};
use super::super::{LogError, value_segment};
use super::effects::{Effect, Place, Set};

/// Why a value cannot be had.
pub(super) type Value = Result<Vec<u8>, String>;

/// Where values come from.
pub(super) struct Values<'f> {
    file: &'f DivergentFile,
    /// A data directory that may have what the file has not.
    given: Option<PathBuf>,
    /// Its keys as of the last common LSN, once they were asked for.
    earlier: Option<Result<(Places, Sources), String>>,
}

impl<'f> Values<'f> {
    pub(super) fn new(file: &'f DivergentFile, given: Option<PathBuf>) -> Self {
        Self { file, given, earlier: None }
    }

    /// What a key held at the last common LSN, as the data directory tells that was given.
    pub(super) fn base(&mut self, effect: &Effect) -> Result<Option<Vec<u8>>, LogError> {
        let Some(given) = &self.given else { return Ok(None) };
        let common = self.file.common();
        let earlier = self.earlier.get_or_insert_with(|| {
            let found = DataDirectory::open(given).and_then(|directory| find(&directory, At::Lsn(common)));
            found.map_err(|error| error.to_string())
        });
        match earlier {
            Err(error) => Err(LogError::Reapply(format!("{}: {error}", given.display()))),
            Ok((places, sources)) => places.newest(effect.table, &effect.key).map(|newest| sources.value(newest)).transpose(),
        }
    }

    /// The value that results, from what the key held before the file if that is needed.
    pub(super) fn fold(&self, set: &Set, base: Option<Vec<u8>>) -> Result<Value, LogError> {
        let mut value = base.unwrap_or_default();
        for place in &set.chain {
            let bytes = self.read(*place)?;
            let op = OpView::parse(&bytes).map_err(|error| self.file.bad(place.offset, place.lsn, error))?;
            if op.header.code == OpCode::Delta {
                change(&mut value, &op)?;
            } else if op.header.value_segment {
                let reference = ValueRef::decode(op.body).map_err(|error| self.file.bad(place.offset, place.lsn, error))?;
                match self.large(&reference, place.lsn)? {
                    Ok(large) => value = large,
                    gone => return Ok(gone),
                }
            } else {
                value = op.body.to_vec();
            }
        }
        // Whatever the base came from: only the right one gives the value that was written.
        if value.len() as u64 == set.len && content_hash(&value) == set.hash {
            return Ok(Ok(value));
        }
        Ok(Err("what it is based on is not what it was".to_owned()))
    }

    /// An op, read again and checked again.
    fn read(&self, place: Place) -> Result<Vec<u8>, LogError> {
        let mut bytes = vec![0; place.len as usize];
        self.file.file.read_exact_at(&mut bytes, place.offset).map_err(LogError::read(&self.file.path))?;
        let seed = self.file.header.seed().lsn(place.lsn).op(place.op);
        let checked = OpView::parse(&bytes).and_then(|op| op.verify(seed));
        checked.map_err(|error| self.file.bad(place.offset, place.lsn, error))?;
        Ok(bytes)
    }

    /// A value with a segment of its own: from beside the file, or from the data directory.
    fn large(&self, reference: &ValueRef, lsn: Lsn) -> Result<Value, LogError> {
        let name = FileName::Value(reference.value_id).to_string();
        let home = self.given.as_deref().or_else(|| self.file.path.parent());
        let in_home = home.and_then(|home| DataDirectory::open(home).ok()).map(|directory| directory.path(&name));
        for path in [Some(self.file.beside.join(&name)), in_home].into_iter().flatten() {
            match File::open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::read(&path)(error)),
                Ok(file) => return value_segment::read(&file, &path, reference).map(Ok),
            }
        }
        Ok(Err(format!("its value of LSN {lsn}, {} bytes in {name}, is not there any more", reference.len)))
    }
}
