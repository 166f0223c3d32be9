//! The files of a snapshot on their way in.

use std::collections::VecDeque;

use crate::replication::wire::{Listing, Piece, SnapshotId, Want};

/// What is still to come of a snapshot.
#[derive(Debug)]
pub(super) struct Fetch {
    id: SnapshotId,
    lengths: Vec<u64>,
    /// Not asked for yet.
    waiting: VecDeque<Want>,
    /// Asked for: what comes next of each, in the order in which it was asked for.
    asked: VecDeque<Want>,
    most: usize,
    fetched: u64,
}

impl Fetch {
    /// With so many bytes of each file there.
    pub(super) fn new(listing: &Listing, there: &[u64], most: usize) -> Self {
        let id = listing.id;
        let lengths: Vec<u64> = listing.files.iter().map(|file| file.bytes).collect();
        let offset = |file: usize| there.get(file).copied().filter(|offset| *offset <= lengths[file]).unwrap_or(0);
        let missing = (0..lengths.len()).map(|file| Want { id, file: file as u32, offset: offset(file) });
        let waiting = missing.filter(|want| want.offset < lengths[want.file as usize]).collect();
        Self { id, lengths, waiting, asked: VecDeque::new(), most: most.max(1), fetched: 0 }
    }

    pub(super) fn id(&self) -> SnapshotId {
        self.id
    }

    /// Bytes that came in.
    pub(super) fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Bytes that are still to come.
    pub(super) fn missing(&self) -> u64 {
        let left = |want: &Want| self.lengths[want.file as usize] - want.offset;
        self.waiting.iter().chain(&self.asked).map(left).sum()
    }

    /// What to ask for now.
    pub(super) fn next_want(&mut self) -> Option<Want> {
        if self.asked.len() >= self.most {
            return None;
        }
        let want = self.waiting.pop_front()?;
        self.asked.push_back(want);
        Some(want)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// Counts a part, which has to be the next of a file that was asked for.
    pub(super) fn piece(&mut self, piece: &Piece<'_>) -> Result<(), &'static str> {
        let len = piece.raw.len() as u64;
        let at = self.asked.iter().position(|want| want.file == piece.file).ok_or("a part of a file that was not asked for")?;
        let want = &mut self.asked[at];
        let whole = self.lengths[want.file as usize];
        if piece.id != self.id || piece.offset != want.offset || len > whole - want.offset {
            return Err("a part of a file that is not the next");
        }
        want.offset += len;
        self.fetched += len;
        if want.offset == whole {
            self.asked.remove(at);
        }
        Ok(())
    }
}
