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

use super::args::{OnConflict, Reapply};
use super::divergent::DivergentFile;
use super::{LogError, Outcome, export};
use effects::{Effect, Effects, Net, Set};
use report::{Fate, Report};
use target::{Present, Since, Target};
use value::Values;

/// Keys that are looked at and written together, at most.
const BATCH: usize = 256;
/// Bytes of their values, unless there is only one.
const BATCH_BYTES: u64 = 8 << 20;

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
    let effects: Vec<&Effect> = effects.keys.iter().filter(selected).collect();
    let mut rest = effects.as_slice();
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(batch_len(rest));
        rest = after;
        match work.apply(batch) {
            Ok(fates) => batch.iter().zip(fates).try_for_each(|(effect, fate)| report.tell(effect, fate, out))?,
            Err(error) => {
                // What is done is done, and is told.
                report.finish(out)?;
                return Err(error);
            }
        }
    }
    report.finish(out)
}

/// How many of the effects go together: of one database, and values that fit in memory.
fn batch_len(effects: &[&Effect]) -> usize {
    let mut bytes = 0;
    let fits = |effect: &&&Effect| {
        let len = if let Net::Set(set) = &effect.net { set.len } else { 0 };
        let first = bytes == 0;
        bytes += len + 1;
        effect.db == effects[0].db && (first || bytes <= BATCH_BYTES)
    };
    effects.iter().take(BATCH).take_while(fits).count()
}

/// What is needed for a key.
struct Work<'a> {
    options: &'a Reapply,
    target: Target,
    values: Values<'a>,
}

/// A key on its way.
struct Step<'e> {
    effect: &'e Effect,
    /// What it is to become; none: it is to go.
    set: Option<&'e Set>,
    /// What becomes of it, once that is clear; until then it is to be written.
    fate: Option<Fate>,
    value: Vec<u8>,
}

impl<'e> Step<'e> {
    fn new(effect: &'e Effect) -> Self {
        let (set, fate) = match &effect.net {
            Net::Unknown(reason) => (None, Some(Fate::Impossible(reason.clone()))),
            // Whatever had this key's name is gone by now.
            Net::Set(set) if set.expire_at.is_some_and(|at| at <= export::now()) => (None, None),
            Net::Set(set) => (Some(set), None),
            Net::Deleted => (None, None),
        };
        Self { effect, set, fate, value: Vec::new() }
    }

    /// Words of the request that makes it so; the time of expiry has to be lent.
    fn request<'s>(&'s self, at: &'s str) -> Vec<&'s [u8]> {
        let key = self.effect.key.as_slice();
        match self.set {
            None => vec![b"DEL", key],
            Some(Set { expire_at: None, .. }) => vec![b"SET", key, &self.value],
            Some(Set { expire_at: Some(_), .. }) => vec![b"SET", key, &self.value, b"PXAT", at.as_bytes()],
        }
    }

    fn done(&self) -> Fate {
        if self.set.is_some() { Fate::Set } else { Fate::Removed }
    }
}

/// Those of which it is not clear yet what becomes of them.
fn open<'s, 'e>(steps: &'s mut [Step<'e>]) -> Vec<&'s mut Step<'e>> {
    steps.iter_mut().filter(|step| step.fate.is_none()).collect()
}

impl Work<'_> {
    /// Keys of one database, all or none of those that are written in one transaction.
    fn apply(&mut self, batch: &[&Effect]) -> Result<Vec<Fate>, LogError> {
        let mut steps: Vec<Step<'_>> = batch.iter().map(|effect| Step::new(effect)).collect();
        self.look(&mut open(&mut steps))?;
        self.judge(&mut open(&mut steps))?;
        let written = self.write(&open(&mut steps))?;
        let fate = |step: Step<'_>| match step.fate {
            Some(fate) => Ok(fate),
            None if written => Ok(step.done()),
            None if batch.len() == 1 => Ok(Fate::Meanwhile),
            // Somebody wrote to one of them just now: which is seen one by one.
            None => Ok(self.apply(&[step.effect])?.remove(0)),
        };
        steps.into_iter().map(fate).collect()
    }

    /// Sees which keys are already as they would become, and watches them all.
    fn look(&mut self, steps: &mut [&mut Step<'_>]) -> Result<(), LogError> {
        let Some(first) = steps.first() else { return Ok(()) };
        let keys: Vec<&[u8]> = steps.iter().map(|step| step.effect.key.as_slice()).collect();
        let present = self.target.watch(first.effect.db, &keys)?;
        for (step, present) in steps.iter_mut().zip(present) {
            if self.is_there(step.effect, step.set, present)? {
                step.fate = Some(Fate::There);
            }
        }
        Ok(())
    }

    /// Whether the key is already what it would become.
    fn is_there(&mut self, effect: &Effect, set: Option<&Set>, present: Present) -> Result<bool, LogError> {
        let Some(set) = set else { return Ok(present.len.is_none()) };
        if present.len != Some(set.len) || present.expire_at != set.expire_at {
            return Ok(false);
        }
        Ok(self.target.get(&effect.key)?.is_some_and(|value| content_hash(&value) == set.hash))
    }

    /// Sees which keys may be written, and what they become.
    fn judge(&mut self, steps: &mut [&mut Step<'_>]) -> Result<(), LogError> {
        let keys: Vec<&[u8]> = steps.iter().map(|step| step.effect.key.as_slice()).collect();
        let since = self.target.since(&keys)?;
        for (step, since) in steps.iter_mut().zip(since) {
            if since != Since::Nothing && self.options.on_conflict == OnConflict::Skip {
                step.fate = Some(Fate::Conflict(since));
            } else if let Some(set) = step.set {
                match self.value(step.effect, set, &since)? {
                    Ok(value) => step.value = value,
                    Err(reason) => step.fate = Some(Fate::Impossible(reason)),
                }
            }
        }
        Ok(())
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

    /// Writes them, unless one of those that are watched was written to meanwhile; whether it was done.
    fn write(&mut self, steps: &[&mut Step<'_>]) -> Result<bool, LogError> {
        if steps.is_empty() || self.options.dry_run {
            return self.target.unwatch().map(|()| true);
        }
        let times: Vec<String> = steps.iter().map(|step| step.set.and_then(|set| set.expire_at).unwrap_or_default().to_string()).collect();
        let requests: Vec<_> = steps.iter().zip(&times).map(|(step, at)| step.request(at)).collect();
        self.target.write(&requests)
    }
}
