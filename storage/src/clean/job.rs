//! One job: neighbouring segments become one, or a few.

use std::sync::Arc;

use super::budget::Pace;
use super::install;
use super::judge::Judge;
use super::output::{Cleaned, Output};
use super::place::{self, Place, WINDOW, look_at_newest};
use crate::codec::entry::{EntryView, Fate, rewrite};
use crate::error::Result;
use crate::index::Index;
use crate::log::{Frames, Log, Segment};
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

/// What stays of an entry.
#[derive(Default)]
struct Left {
    /// Of all its ops.
    fates: smallvec::SmallVec<[Fate; 4]>,
    /// Of those that stay: the cell that points to it, if one does.
    cells: smallvec::SmallVec<[Option<(Place, Location)>; 4]>,
    bytes: Vec<u8>,
}

impl Left {
    fn clear(&mut self) {
        self.fates.clear();
        self.cells.clear();
        self.bytes.clear();
    }
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
                install::replace(self.log, self.victims, &outputs, self.judge.seen, &self.judge.values)?;
            }
            Ok(done)
        });
        if !matches!(replaced, Ok(true)) {
            // The manifest on disk may name them all the same if the log is poisoned.
            if self.log.durability().check().is_ok() {
                self.discard(&outputs);
            }
            return replaced.map(|_| None);
        }
        for value in self.judge.values.drain(..) {
            self.values.bury(value, self.judge.seen);
        }
        for output in &outputs {
            output.segment.set_held(self.judge.held / outputs.len() as u64, self.judge.written);
            install::follow(self.log, self.index, output);
            if !output.segment.is_hot() {
                // Nobody has read it through its mapping yet.
                output.segment.release();
            }
        }
        let read = self.victims.iter().map(|victim| victim.map().written() as u64).sum();
        Ok(Some(Done { read, written: outputs.iter().map(|output| output.segment.map().written() as u64).sum() }))
    }

    /// Writes the outputs; false if it was told to stop.
    fn copy(&mut self, outputs: &mut Vec<Cleaned>, pace: &mut dyn Pace) -> Result<bool> {
        let victims = self.victims;
        let mut output = Output::begin(self.log, &victims[0], base_of(&victims[0]), self.size(0), self.judge.began)?;
        for (number, victim) in victims.iter().enumerate() {
            // Segments of two histories do not mix: a segment's checks are seeded by its history.
            if number > 0 && victim.seed() != victims[number - 1].seed() {
                self.close(output, outputs, victims[number - 1].last_lsn())?;
                output = Output::begin(self.log, victim, base_of(victim), self.size(number), self.judge.began)?;
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
        let mut places = Vec::new();
        let mut left = Left::default();
        loop {
            let window = frames.window(WINDOW)?;
            if window.is_empty() {
                return Ok(true);
            }
            self.look_ahead(victim, &window, &mut places);
            let mut places = places.iter().copied();
            for (offset, entry) in window {
                self.take(victim, offset, &entry, &mut places, &mut left)?;
                if !pace.spent(entry.bytes().len()) {
                    return Ok(false);
                }
                if !left.bytes.is_empty() {
                    self.keep(number, entry.head().lsn, &left, current, outputs)?;
                }
            }
        }
    }

    /// Finds out the places of the keys of all ops, and asks for the memory that judging these will touch.
    fn look_ahead(&self, victim: &Segment, window: &[(u32, EntryView<'_>)], places: &mut Vec<Option<Place>>) {
        places.clear();
        places.extend(window.iter().flat_map(|(_, entry)| entry.ops()).map(|(_, op)| self.judge.place(&op)));
        place::look_ahead(self.index, places.iter().flatten());
        let segments = self.log.segments();
        let locations = window.iter().flat_map(|(offset, entry)| entry.ops().map(|(distance, _)| *offset + distance));
        for (place, offset) in places.iter().zip(locations) {
            if let Some(place) = place {
                look_at_newest(self.index, &segments, place, Location::new(victim.id(), offset));
            }
        }
    }

    /// Finds out what stays of an entry.
    fn take(
        &mut self,
        victim: &Segment,
        offset: u32,
        entry: &EntryView<'_>,
        places: &mut impl Iterator<Item = Option<Place>>,
        left: &mut Left,
    ) -> Result<()> {
        left.clear();
        for ((distance, op), place) in entry.ops().zip(places) {
            let location = Location::new(victim.id(), offset + distance);
            let verdict = self.judge.judge(entry.head(), location, &op, place)?;
            left.fates.push(verdict.fate);
            if verdict.fate != Fate::Drop {
                left.cells.push(place.filter(|_| verdict.has_cell).map(|place| (place, location)));
            }
        }
        rewrite(entry, victim.seed(), &left.fates, &mut left.bytes);
        Ok(())
    }

    /// Appends what is left of an entry to the current output, or to a new one if that is full.
    fn keep(&self, number: usize, lsn: Lsn, left: &Left, current: &mut Option<Output>, outputs: &mut Vec<Cleaned>) -> Result<()> {
        let mut offset = match current {
            Some(output) => output.append(lsn, &left.bytes)?,
            None => None,
        };
        if offset.is_none() {
            if let Some(full) = current.take() {
                self.close(full, outputs, Lsn(lsn.0 - 1))?;
            }
            let size = self.size(number).max((left.bytes.len() + SEGMENT_HEADER) as u64);
            let next = current.insert(Output::begin(self.log, &self.victims[number], lsn, size, self.judge.began)?);
            offset = next.append(lsn, &left.bytes)?;
        }
        let (Some(output), Some(offset)) = (current, offset) else { unreachable!("a segment was made for it") };
        if left.cells.iter().all(Option::is_none) {
            return Ok(());
        }
        let entry = EntryView::trusted(&left.bytes).map_err(|error| self.judge.undecodable(lsn, &error))?;
        for ((distance, _), cell) in entry.ops().zip(&left.cells) {
            if let Some((place, from)) = *cell {
                output.note_move(place, from, offset + distance);
            }
        }
        Ok(())
    }

    fn close(&self, output: Output, outputs: &mut Vec<Cleaned>, last: Lsn) -> Result<()> {
        let hot = self.victims.iter().all(|victim| victim.is_hot());
        let finished = output.finish(self.log, last, self.judge.seen, hot)?;
        if let Some(cleaned) = finished.as_ref().filter(|_| self.victims.iter().any(|victim| victim.names_values())) {
            cleaned.segment.set_names_values();
        }
        outputs.extend(finished);
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
