//! `reapply`: what a divergent file holds, written again to a server, by ordinary commands and only on request.
//!
//! Invariants:
//! - The whole file is read and checked before anything is written.
//! - A key that was written at the server since the two logs parted is left as it is, unless the user says otherwise. It is watched from before it
//!   is looked at, so that a write in between counts.
//! - What cannot be applied is told, key by key, and makes the exit status 1. What is there already is not written again.

mod effects;
mod report;
mod target;
mod value;

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use esker_storage::codec::content_hash::content_hash;
use esker_storage::glob;
use esker_storage::types::UnixMillis;

use super::args::{OnConflict, Reapply};
use super::divergent::DivergentFile;
use super::{LogError, Outcome, export};
use effects::{Effect, Effects, Net, Set};
use report::{Fate, Report};
use target::{Present, Since, Target};
use value::Values;

pub(super) fn run(dir: Option<&Path>, options: &Reapply, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let file = DivergentFile::open(&options.file)?;
    let effects = Effects::of(&file)?;
    let target = Target::connect(options, file.header.history, file.common())?;
    if !target.is_related() && options.on_conflict == OnConflict::Skip {
        return Err(LogError::Reapply(format!(
            "the log of {} is not one that {} parted from at LSN {}: what was written there since cannot be told. \
             --on-conflict overwrite writes all the same",
            options.to,
            file.name(),
            file.common()
        )));
    }
    let mut report = Report::new(options, &file, &effects);
    let values = Values::new(&file, dir.map(Path::to_owned));
    let mut work = Work { options, target, values };
    let selected = |effect: &&Effect| options.keys.as_ref().is_none_or(|keys| glob::matches(keys.as_bytes(), &effect.key, false));
    for effect in effects.keys.iter().filter(selected) {
        match work.apply(effect) {
            Ok(fate) => report.tell(effect, fate, out)?,
            Err(error) => {
                // What is done is done, and is told.
                report.finish(out)?;
                return Err(error);
            }
        }
    }
    report.finish(out)
}

/// What is needed for a key.
struct Work<'a> {
    options: &'a Reapply,
    target: Target,
    values: Values<'a>,
}

impl Work<'_> {
    fn apply(&mut self, effect: &Effect) -> Result<Fate, LogError> {
        let set = match &effect.net {
            Net::Unknown(reason) => return Ok(Fate::Impossible(reason.clone())),
            // Whatever had this key's name is gone by now.
            Net::Set(set) if set.expire_at.is_some_and(|at| at <= export::now()) => None,
            Net::Set(set) => Some(set),
            Net::Deleted => None,
        };
        let present = self.target.watch(effect.db, &effect.key)?;
        let fate = self.apply_watched(effect, set, present)?;
        if !matches!(fate, Fate::Set | Fate::Removed) || self.options.dry_run {
            self.target.unwatch()?;
        }
        Ok(fate)
    }

    fn apply_watched(&mut self, effect: &Effect, set: Option<&Set>, present: Present) -> Result<Fate, LogError> {
        if self.is_there(effect, set, present)? {
            return Ok(Fate::There);
        }
        let since = self.target.since(effect.db, &effect.key)?;
        if since != Since::Nothing && self.options.on_conflict == OnConflict::Skip {
            return Ok(Fate::Conflict(since));
        }
        let Some(set) = set else {
            let done = self.options.dry_run || self.target.write(&[b"DEL", &effect.key])?;
            return Ok(if done { Fate::Removed } else { Fate::Meanwhile });
        };
        let value = match self.value(effect, set, &since)? {
            Ok(value) => value,
            Err(reason) => return Ok(Fate::Impossible(reason)),
        };
        let done = self.options.dry_run || self.write(&effect.key, &value, set.expire_at)?;
        Ok(if done { Fate::Set } else { Fate::Meanwhile })
    }

    /// Whether the key is already what it would become.
    fn is_there(&mut self, effect: &Effect, set: Option<&Set>, present: Present) -> Result<bool, LogError> {
        let Some(set) = set else { return Ok(present.len.is_none()) };
        if present.len != Some(set.len) || present.expire_at != set.expire_at {
            return Ok(false);
        }
        Ok(self.target.get(&effect.key)?.is_some_and(|value| content_hash(&value) == set.hash))
    }

    /// The value that results: what it is based on comes from whoever still has it.
    fn value(&mut self, effect: &Effect, set: &Set, since: &Since) -> Result<value::Value, LogError> {
        let Some((lsn, op)) = set.base else { return self.values.fold(set, None) };
        for source in 0..3 {
            let base = match source {
                0 if *since == Since::Nothing => self.target.get(&effect.key)?,
                1 => self.target.get_at_common(&effect.key)?,
                2 => self.values.base(effect)?,
                _ => None,
            };
            if let Some(base) = base
                && let Ok(value) = self.values.fold(set, Some(base))?
            {
                return Ok(Ok(value));
            }
        }
        Ok(Err(format!("it changes the record {lsn}.{op}, which neither the file nor the server has")))
    }

    fn write(&mut self, key: &[u8], value: &[u8], expire_at: Option<UnixMillis>) -> Result<bool, LogError> {
        match expire_at {
            None => self.target.write(&[b"SET", key, value]),
            Some(at) => self.target.write(&[b"SET", key, value, b"PXAT", at.to_string().as_bytes()]),
        }
    }
}
