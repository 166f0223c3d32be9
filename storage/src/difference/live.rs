//! Which ops live: at the primary, while it serves.
//!
//! An op lives if its key's cell in the index points to it, or if a delta that lives is based on it, by way of others maybe. Walking over the
//! log in its order finds them with reads that follow each other, on a log larger than memory too.
//!
//! What dies during the walk may be told to live: what it died of is in the log above the prefix, which the replica gets.

use super::OpSet;
use crate::clean::{Place, look_ahead};
use crate::codec::delta::Delta;
use crate::codec::entry::EntryView;
use crate::codec::op::{OpCode, OpView};
use crate::error::{Result, StorageError};
use crate::log::{Frames, Segment};
use crate::shard::{Newest, Shard, locate_anyhow, newest_at};
use crate::types::{Location, Lsn};

/// Entries looked at at a time.
const WINDOW: usize = 64;

impl Shard {
    /// The ops up to `prefix` that live, or that deltas above it are based on. Reads the log once; `goes_on` is asked now and then, and none
    /// is returned if it denies. Nothing above the prefix may be cleaned meanwhile, and until it was sent.
    ///
    /// # Errors
    /// I/O errors, corruption.
    pub(crate) fn live_ops(&self, prefix: Lsn, goes_on: &mut dyn FnMut() -> bool) -> Result<Option<OpSet>> {
        let mut walk = Walk { shard: self, prefix, live: OpSet::default(), cells: Vec::new() };
        let segments = || self.log().segments().in_order().into_iter();
        for segment in segments().filter(|segment| segment.base_lsn() <= Some(prefix)) {
            if !walk.segment(&segment, Walk::up_to_prefix, goes_on)? {
                return Ok(None);
            }
        }
        // Only now: with all that was appended until the last cell was looked up.
        for segment in segments().filter(|segment| segment.last_lsn() > prefix) {
            if !walk.segment(&segment, Walk::above_prefix, goes_on)? {
                return Ok(None);
            }
        }
        Ok(Some(walk.live))
    }
}

struct Walk<'a> {
    shard: &'a Shard,
    prefix: Lsn,
    live: OpSet,
    /// Kept for its memory.
    cells: Vec<Location>,
}

type Window<'s> = [(u32, EntryView<'s>)];

impl Walk<'_> {
    fn segment(
        &mut self,
        segment: &Segment,
        look: fn(&mut Self, &Segment, &Window<'_>) -> Result<()>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let mut frames = Frames::new(segment);
        loop {
            if !goes_on() {
                return Ok(false);
            }
            let window = frames.window(WINDOW)?;
            if window.is_empty() {
                return Ok(true);
            }
            look(self, segment, &window)?;
        }
    }

    fn up_to_prefix(&mut self, segment: &Segment, window: &Window<'_>) -> Result<()> {
        let (index, tables) = (self.shard.index(), self.shard.index().tables());
        let mut asked = Vec::new();
        for (offset, entry) in window.iter().filter(|(_, entry)| entry.head().lsn <= self.prefix) {
            for (distance, op) in entry.ops().filter(|(_, op)| op.header.code != OpCode::Tombstone) {
                if !op.header.code.has_key() && op.header.code != OpCode::EpochStart {
                    // What changed whole databases decides what the others mean.
                    self.live.insert(entry.head().lsn, op.header.op_number());
                }
                if let Some(place) = Place::of(&op, &tables, self.shard.log().key_hash_seed) {
                    asked.push((entry.head().lsn, Location::new(segment.id(), offset + distance), op, place));
                }
            }
        }
        look_ahead(index, asked.iter().map(|(.., place)| place));
        for (lsn, location, op, place) in &asked {
            let mut cells = std::mem::take(&mut self.cells);
            let lives = place.is_at(index, *location, &mut cells) || self.has_moved(&cells, *lsn, op)?;
            self.cells = cells;
            if lives {
                self.live.insert(*lsn, op.header.op_number());
                if op.header.code == OpCode::Delta {
                    self.bases(op)?;
                }
            }
        }
        Ok(())
    }

    /// Any delta there may be in the way of one that lives.
    fn above_prefix(&mut self, _: &Segment, window: &Window<'_>) -> Result<()> {
        for (_, entry) in window {
            if entry.head().lsn <= self.prefix {
                continue;
            }
            for (_, op) in entry.ops().filter(|(_, op)| op.header.code == OpCode::Delta) {
                let delta = Delta::decode(op.body).map_err(|error| self.undecodable(&error))?;
                if delta.base_lsn <= self.prefix {
                    match self.bases(&op) {
                        // What it is based on went with it, when it was superseded itself.
                        Err(StorageError::Corrupt { .. }) => {}
                        outcome => outcome?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether cleaning has put this very record elsewhere.
    fn has_moved(&self, cells: &[Location], lsn: Lsn, op: &OpView<'_>) -> Result<bool> {
        let segments = self.shard.log().segments();
        for cell in cells {
            if let Some(newest) = newest_at(&segments, *cell, op.key)? {
                return Ok((newest.lsn, newest.number) == (lsn, op.header.op_number()));
            }
        }
        Ok(false)
    }

    /// Adds what a delta is based on.
    fn bases(&mut self, op: &OpView<'_>) -> Result<()> {
        let mut body = op.body.to_vec();
        loop {
            let delta = Delta::decode(&body).map_err(|error| self.undecodable(&error))?;
            if delta.base_lsn <= self.prefix {
                self.live.insert(delta.base_lsn, delta.base_op);
            }
            let segments = self.shard.log().segments();
            let location = locate_anyhow(&segments, delta.base_lsn, delta.base_op)?;
            match newest_at(&segments, location, op.key)? {
                Some(Newest { code: OpCode::Delta, body: next, .. }) => body = next,
                _ => return Ok(()),
            }
        }
    }

    fn undecodable(&self, error: &crate::codec::DecodeError) -> StorageError {
        StorageError::Corrupt { path: self.shard.log().directory.path(""), offset: 0, lsn: self.prefix, reason: error.to_string() }
    }
}
