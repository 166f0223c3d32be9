//! One job: neighbouring segments become one, or a few.

use std::sync::Arc;

use super::budget::Pace;
use super::frames::Frames;
use super::install;
use super::judge::Judge;
use super::output::{Cleaned, Output};
use crate::codec::entry::{EntryView, rewrite};
use crate::error::Result;
use crate::index::Index;
use crate::log::{Log, Segment};
use crate::segment::SEGMENT_HEADER;
use crate::segment::names::FileName;
use crate::shard::Values;
use crate::types::{Location, Lsn};

/// What a job did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    /// Bytes of the segments that were cleaned.
    pub(super) read: u64,
    /// Bytes of those that took their place.
    pub(super) written: u64,
}

/// The segments being cleaned, and where to.
pub(super) struct Job<'a> {
    pub(super) log: &'a Log,
    pub(super) index: &'a Index,
    pub(super) victims: &'a [Arc<Segment>],
    pub(super) values: &'a Values,
    pub(super) judge: Judge<'a>,
    /// Bytes of the largest segment to write.
    pub(super) room: u64,
}

impl Job<'_> {
    /// Does it all; none if it was told to stop. After an error the log is as it was, unless the log is poisoned.
    pub(super) fn run(&mut self, pace: &mut dyn Pace) -> Result<Option<Done>> {
        let mut outputs = Vec::new();
        // What was consulted is flushed before what it superseded is given up.
        let copied = self.copy(&mut outputs, pace).and_then(|done| self.log.flush().map(|_| done));
        let replaced = copied.and_then(|done| {
            if done {
                install::replace(self.log, self.victims, &outputs, self.judge.seen)?;
            }
            Ok(done)
        });
        if !matches!(replaced, Ok(true)) {
            self.discard(&outputs);
            return replaced.map(|_| None);
        }
        for value in self.judge.values.drain(..) {
            self.values.bury(value, self.judge.seen);
        }
        let old = |id| self.victims.iter().any(|victim| victim.id() == id);
        for output in &outputs {
            install::point_index(self.log, self.index, &output.segment, &old)?;
        }
        let read = self.victims.iter().map(|victim| victim.map().written() as u64).sum();
        Ok(Some(Done { read, written: outputs.iter().map(|output| output.segment.map().written() as u64).sum() }))
    }

    /// Writes the outputs; false if it was told to stop.
    fn copy(&mut self, outputs: &mut Vec<Cleaned>, pace: &mut dyn Pace) -> Result<bool> {
        let victims = self.victims;
        let mut output = Output::begin(self.log, &victims[0], base_of(&victims[0]), self.size(0))?;
        for (number, victim) in victims.iter().enumerate() {
            // Segments of two histories do not mix: a segment's checks are seeded by its history.
            if number > 0 && victim.seed() != victims[number - 1].seed() {
                self.close(output, outputs, victims[number - 1].last_lsn())?;
                output = Output::begin(self.log, victim, base_of(victim), self.size(number))?;
            }
            let mut current = Some(output);
            let outcome = self.copy_one(number, &mut current, outputs, pace);
            match (outcome, current) {
                (Ok(true), Some(current)) => output = current,
                (outcome, current) => {
                    current.into_iter().for_each(|output| output.abandon(self.log));
                    return outcome;
                }
            }
        }
        self.close(output, outputs, victims[victims.len() - 1].last_lsn())?;
        Ok(true)
    }

    /// Copies what stays of one segment, into further outputs when one is full; false if it was told to stop.
    fn copy_one(&mut self, number: usize, current: &mut Option<Output>, outputs: &mut Vec<Cleaned>, pace: &mut dyn Pace) -> Result<bool> {
        let victim = &self.victims[number];
        let mut frames = Frames::new(victim);
        let mut left = Vec::new();
        while let Some((offset, entry)) = frames.next()? {
            left.clear();
            self.take(victim, offset, &entry, &mut left)?;
            let lsn = entry.head().lsn;
            if !pace.spent(entry.bytes().len()) {
                return Ok(false);
            }
            if left.is_empty() || current.as_mut().is_some_and(|output| output.append(lsn, &left)) {
                continue;
            }
            if let Some(full) = current.take() {
                self.close(full, outputs, Lsn(lsn.0 - 1))?;
            }
            let size = self.size(number).max((left.len() + SEGMENT_HEADER) as u64);
            let next = current.insert(Output::begin(self.log, victim, lsn, size)?);
            let fits = next.append(lsn, &left);
            debug_assert!(fits, "a segment was made for it");
        }
        Ok(true)
    }

    /// Appends to `left` what stays of an entry.
    fn take(&mut self, victim: &Segment, offset: u32, entry: &EntryView<'_>, left: &mut Vec<u8>) -> Result<()> {
        let lsn = entry.head().lsn;
        let mut fates = smallvec::SmallVec::<[_; 4]>::new();
        for (distance, op) in entry.ops() {
            fates.push(self.judge.fate(lsn, Location::new(victim.id(), offset + distance), &op)?);
        }
        rewrite(entry, victim.seed(), &fates, left);
        Ok(())
    }

    fn close(&self, output: Output, outputs: &mut Vec<Cleaned>, last: Lsn) -> Result<()> {
        let hot = self.victims.iter().all(|victim| victim.is_hot());
        outputs.extend(output.finish(self.log, last, self.judge.seen, hot)?);
        Ok(())
    }

    /// Bytes that what is left of the segments from `number` on takes at most, within the largest segment.
    fn size(&self, number: usize) -> u64 {
        let all: u64 = self.victims[number..].iter().map(|victim| victim.map().written() as u64).sum();
        all.min(self.room)
    }

    fn discard(&self, outputs: &[Cleaned]) {
        for output in outputs {
            let name = FileName::Segment(output.entry.base, output.entry.generation).to_string();
            let _ = self.log.directory.remove(&name);
        }
    }
}

fn base_of(segment: &Segment) -> Lsn {
    segment.base_lsn().expect("a sealed segment has begun")
}
