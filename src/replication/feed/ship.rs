//! A snapshot's files on their way: what the replica wants, in its order, no faster than allowed.

use std::collections::VecDeque;

use super::Action;
use crate::replication::time::Millis;
use crate::replication::wire::{Listing, SnapshotId, Want};

/// How much may go out at once after a pause.
const BURST: Millis = Millis(100);

#[derive(Debug)]
pub(super) struct Shipping {
    id: SnapshotId,
    lengths: Vec<u64>,
    wants: VecDeque<Want>,
    pace: Pace,
}

impl Shipping {
    pub(super) fn new(listing: &Listing, bandwidth: u64, now: Millis) -> Self {
        let lengths = listing.files.iter().map(|file| file.bytes).collect();
        Self { id: listing.id, lengths, wants: VecDeque::new(), pace: Pace::new(bandwidth, now) }
    }

    pub(super) fn id(&self) -> SnapshotId {
        self.id
    }

    pub(super) fn want(&mut self, want: Want, most: usize) -> Result<(), &'static str> {
        let len = self.lengths.get(want.file as usize);
        if want.id != self.id || len.is_none_or(|len| want.offset >= *len) {
            return Err("a part of a file that was not listed");
        }
        if self.wants.len() >= most {
            return Err("too many files at a time");
        }
        self.wants.push_back(want);
        Ok(())
    }

    /// Asks for parts as long as there is room; says whether for any.
    pub(super) fn pump(&mut self, room: &mut u64, piece: u32, now: Millis, out: &mut Vec<Action>) -> bool {
        let before = out.len();
        self.pace.refill(now);
        while let Some(want) = self.wants.front_mut() {
            let left = self.lengths[want.file as usize] - want.offset;
            let len = left.min(u64::from(piece)).min(*room).min(self.pace.allowed());
            if len == 0 {
                break;
            }
            out.push(Action::SendPiece { id: self.id, file: want.file, offset: want.offset, len: len as u32 });
            *room -= len;
            self.pace.spend(len);
            want.offset += len;
            if len == left {
                self.wants.pop_front();
            }
        }
        out.len() > before
    }

    /// When the pace allows more, if that is what is waited for.
    pub(super) fn due(&self) -> Option<Millis> {
        (!self.wants.is_empty()).then(|| self.pace.due()).flatten()
    }
}

/// Bytes a second, a little at a time.
#[derive(Debug)]
struct Pace {
    rate: u64,
    /// In thousandths of a byte.
    tokens: u64,
    at: Millis,
}

impl Pace {
    fn new(rate: u64, at: Millis) -> Self {
        Self { rate, tokens: 0, at }
    }

    fn refill(&mut self, now: Millis) {
        let earned = (now - self.at).min(BURST).0.saturating_mul(self.rate);
        self.tokens = self.tokens.saturating_add(earned).min(self.rate.saturating_mul(BURST.0));
        self.at = self.at.max(now);
    }

    fn allowed(&self) -> u64 {
        if self.rate == 0 { u64::MAX } else { self.tokens / 1000 }
    }

    fn spend(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes.saturating_mul(1000));
    }

    /// A tenth of a burst is worth getting up for.
    fn due(&self) -> Option<Millis> {
        (self.rate > 0).then(|| self.at + Millis(BURST.0 / 10))
    }
}
