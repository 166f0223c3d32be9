//! Records by their ops: what a replica lacks of the prefix, found at the primary, and taken up in their order at the replica.
//!
//! They travel as entries of a cleaned segment do: an entry with some of its ops, sealed anew.

use std::sync::Arc;

use super::OpSet;
use crate::codec::checksum::ShardSeed;
use crate::codec::entry::{EntryView, Fate, rewrite};
use crate::codec::frame::FrameStart;
use crate::error::{Result, StorageError};
use crate::fs::File;
use crate::log::{Frames, Segment};
use crate::manifest::Manifest;
use crate::shard::Shard;
use crate::types::Lsn;

/// Entries read at a time.
const WINDOW: usize = 256;

impl Shard {
    /// Hands entries with these ops to `take`, in the order of the log; what is not there any more is left out: it was superseded.
    ///
    /// # Errors
    /// I/O errors, corruption, and what `take` fails with.
    pub fn records(&self, ops: &OpSet, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut from = Lsn(0);
        while let Some(lsn) = ops.next_lsn(from) {
            let segments = self.log().segments();
            let next = |segment: &&Arc<Segment>| segment.last_lsn() >= lsn;
            let Some(segment) = segments.in_order().iter().find(next).cloned() else { return Ok(()) };
            of_segment(&segment, ops, lsn, take)?;
            from = segment.last_lsn().next();
        }
        Ok(())
    }
}

/// The ops of one segment that are asked for, from `lsn` on.
fn of_segment(segment: &Segment, ops: &OpSet, lsn: Lsn, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut wanted = Some(lsn);
    let mut frames = segment.nearest(lsn).map_or_else(|| Frames::new(segment), |near| Frames::resume(segment, near as usize));
    let (mut fates, mut left) = (Vec::new(), Vec::new());
    while wanted.is_some() {
        let window = frames.window(WINDOW)?;
        if window.is_empty() {
            break;
        }
        for (_, entry) in window {
            let lsn = entry.head().lsn;
            if wanted.is_none_or(|wanted| wanted > lsn) {
                continue;
            }
            let stays = |number| if ops.contains(lsn, number) { Fate::Keep } else { Fate::Drop };
            fates.clear();
            fates.extend(entry.ops().map(|(_, op)| stays(op.header.op_number())));
            left.clear();
            rewrite(&entry, segment.seed(), &fates, &mut left);
            if !left.is_empty() {
                take(&left)?;
            }
            wanted = ops.next_lsn(lsn.next());
        }
    }
    Ok(())
}

/// What was sent, read front to back.
pub(super) struct Records {
    file: Option<Box<dyn File>>,
    at: u64,
    end: u64,
    /// The next entry, checked.
    next: Option<(Lsn, Vec<u8>)>,
    /// The histories tell the seeds.
    manifest: Manifest,
}

impl Records {
    pub(super) fn open(file: Option<Box<dyn File>>, manifest: Manifest) -> Result<Self> {
        let end = match &file {
            Some(file) => file.len().map_err(StorageError::io("measure", file.path()))?,
            None => 0,
        };
        let mut records = Self { file, at: 0, end, next: None, manifest };
        records.read()?;
        Ok(records)
    }

    fn read(&mut self) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.at < self.end) else {
            self.next = None;
            return Ok(());
        };
        let corrupt = |reason: String| StorageError::Corrupt { path: file.path().to_owned(), offset: self.at, lsn: Lsn(0), reason };
        let read = |at: u64, bytes: &mut [u8]| file.read_at(at, bytes).map_err(StorageError::io("read", file.path()));
        let mut head = [0; HEAD];
        read(self.at, &mut head)?;
        let len = FrameStart::parse(&head).map_err(|error| corrupt(error.to_string()))?.len;
        if u64::from(len) > self.end - self.at {
            return Err(corrupt("an entry goes on behind the end".to_owned()));
        }
        let mut bytes = vec![0; len as usize];
        read(self.at, &mut bytes)?;
        let trusted = EntryView::trusted(&bytes).map_err(|error| corrupt(error.to_string()))?;
        let lsn = trusted.head().lsn;
        let seed = ShardSeed::new(self.manifest.history_at(lsn), self.manifest.identity.shard);
        EntryView::parse(&bytes, seed).map_err(|error| corrupt(error.to_string()))?;
        self.at += u64::from(len);
        self.next = Some((lsn, bytes));
        Ok(())
    }

    /// The next entry, if it is of this LSN.
    pub(super) fn next_at(&mut self, lsn: Lsn) -> Result<Option<Vec<u8>>> {
        if self.peek() != Some(lsn) {
            return Ok(None);
        }
        let taken = self.next.take().map(|(_, bytes)| bytes);
        self.read()?;
        Ok(taken)
    }

    /// The LSN of the next entry.
    pub(super) fn peek(&self) -> Option<Lsn> {
        self.next.as_ref().map(|(lsn, _)| *lsn)
    }
}

/// What tells how long an entry is.
const HEAD: usize = crate::codec::frame::FRAME_START;
