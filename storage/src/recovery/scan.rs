//! Walking over the log from a position to its end, and judging how it ends.

use super::LogEnd;
use super::chain::{Chain, Link};
use super::replay::Replay;
use super::torn::{self, Torn};
use crate::codec::flush_mark::{FLUSH_MARK_LEN, FlushMark};
use crate::error::{Result, StorageError};
use crate::manifest::Manifest;
use crate::segment::reader::last_nonzero;
use crate::segment::{BadFrame, End, Frame, SegmentReader};
use crate::types::{EpochNumber, Lsn, NodeId, UnixMillis};

/// How far behind the written end a process that was killed can have left bytes: one append, copied front to back.
const KILLED_APPEND: usize = 2 << 20;

/// A place between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Which segment of the chain.
    pub(crate) link: usize,
    /// Offset of the next frame.
    pub(crate) offset: usize,
    /// LSN of the last entry before.
    pub(crate) lsn: Lsn,
}

/// Replays the log from `start` on and says how it ends.
///
/// `memory_survived`: the process ended, the machine did not, so what lies far behind the written end has not been touched. It is then
/// not looked at: reading 64 MiB of zeros would take longer than all the rest.
pub(super) fn scan<'a>(
    chain: &'a Chain,
    manifest: &Manifest,
    start: Position,
    memory_survived: bool,
    replay: &mut Replay<'a>,
) -> Result<LogEnd> {
    let mut end = LogEnd {
        last: start.lsn,
        epoch: manifest.epochs.last().map_or(EpochNumber(0), |epoch| epoch.number),
        flushed: recorded(manifest).max(replay.checkpointed()),
        time: UnixMillis(0),
        position: start,
        footer: false,
        torn: None,
        values: Vec::new(),
    };
    let mut epoch = EpochNumber(0);
    for (number, link) in chain.links.iter().enumerate().skip(start.link) {
        let offset = if number == start.link { start.offset } else { crate::segment::SEGMENT_HEADER };
        let follows =
            link.header.base_lsn == end.last.next() || (link.header.base_lsn > end.last && link.header.base_lsn <= chain.cleaned.next());
        if number != start.link && !follows {
            // Entries are missing in between: possible only after power loss, in what was never flushed.
            end.torn = Some(judge_gap(chain, number, manifest.identity.node, &mut end)?);
            return Ok(end);
        }
        let bytes = link.segment.bytes(0).unwrap_or_default();
        let mut reader = SegmentReader::resume(
            bytes,
            link.segment.seed(),
            link.continuity,
            offset,
            Lsn(link.header.base_lsn.0 - 1).max(end.last),
            epoch,
        );
        let bad = read_frames(&mut reader, link, manifest.identity.node, replay, &mut end)?;
        replay.settle()?;
        epoch = reader.last_epoch();
        end.epoch = end.epoch.max(epoch);
        // A cleaned segment stands for LSNs that it does not hold, too.
        end.last = if bad.is_none() && link.sealed { reader.last_lsn().max(link.segment.last_lsn()) } else { reader.last_lsn() };
        end.position = Position { link: number, offset: reader.offset(), lsn: end.last };
        end.footer = reader.end() == Some(End::Footer);
        link.segment.set_last_lsn(end.last);
        let trailing = bad.or_else(|| bytes_after_the_end(&reader, bytes, if memory_survived { KILLED_APPEND } else { usize::MAX }));
        if let Some(bad) = trailing.filter(|bad| !is_torn_footer(chain, number, bad)) {
            end.torn = Some(judge(chain, number, &bad, manifest.identity.node, &mut end)?);
            return Ok(end);
        }
    }
    Ok(end)
}

/// The highest flushed LSN that the manifest tells of: a checkpoint gets its line there after the log below it was flushed.
fn recorded(manifest: &Manifest) -> Lsn {
    let stopped = manifest.clean_stop.map_or(Lsn(0), |stop| stop.flushed);
    manifest.checkpoint.map_or(stopped, |checkpoint| stopped.max(checkpoint.lsn))
}

fn read_frames<'a>(
    reader: &mut SegmentReader<'a>,
    link: &Link,
    node: NodeId,
    replay: &mut Replay<'a>,
    end: &mut LogEnd,
) -> Result<Option<BadFrame>> {
    loop {
        match reader.next() {
            None => return Ok(None),
            Some(Err(bad)) => return Ok(Some(bad)),
            Some(Ok((offset, Frame::Entry(entry)))) => {
                end.time = end.time.max(entry.head().time);
                replay.apply(&link.segment, offset, &entry, &mut end.values)?;
            }
            Some(Ok((_, Frame::FlushMark(mark)))) if mark.node == node => end.flushed = end.flushed.max(mark.flushed),
            Some(Ok(_)) => {}
        }
    }
}

/// A zero length ends the frames, and zeros must follow.
fn bytes_after_the_end(reader: &SegmentReader<'_>, bytes: &[u8], limit: usize) -> Option<BadFrame> {
    let rest = bytes.get(reader.offset()..)?;
    let rest = &rest[..rest.len().min(limit)];
    last_nonzero(rest)?;
    let reason = crate::segment::BadFrameReason::Decode(crate::codec::DecodeError::Length);
    Some(BadFrame { offset: reader.offset() as u64, lsn: reader.last_lsn().next(), reason })
}

/// Whether the entries of the next segment follow right behind: then none is missing, and what does not pass is the footer that was
/// being written when power was lost. The segment will be sealed again.
fn is_torn_footer(chain: &Chain, number: usize, bad: &BadFrame) -> bool {
    !chain.links[number].sealed && chain.links.get(number + 1).is_some_and(|next| next.header.base_lsn == bad.lsn)
}

fn judge(chain: &Chain, number: usize, bad: &BadFrame, node: NodeId, end: &mut LogEnd) -> Result<Torn> {
    let link = &chain.links[number];
    let path = link.segment.file().path();
    let bytes = link.segment.bytes(0).unwrap_or_default();
    let mut highest = end.flushed.max(highest_mark(&bytes[bad.offset as usize..], link, node));
    for later in &chain.links[number + 1..] {
        highest = highest.max(highest_mark(later.segment.bytes(0).unwrap_or_default(), later, node));
    }
    end.flushed = highest;
    if bad.is_unsupported() {
        let reason = format!("{}; it was written by a newer version", bad.reason);
        return Err(StorageError::Corrupt { path: path.to_owned(), offset: bad.offset, lsn: bad.lsn, reason });
    }
    if link.sealed || bad.lsn <= highest {
        let reason = format!(
            "{}; everything up to LSN {highest} was flushed, so this is damage and no torn write: `esker-log repair` tells what can be done",
            bad.reason
        );
        return Err(StorageError::Corrupt { path: path.to_owned(), offset: bad.offset, lsn: bad.lsn, reason });
    }
    torn::plan(chain, number, bad.offset as usize, bad.lsn)
}

/// The segments from `number` on do not follow what is before them.
fn judge_gap(chain: &Chain, number: usize, node: NodeId, end: &mut LogEnd) -> Result<Torn> {
    let missing = end.last.next();
    for later in &chain.links[number..] {
        end.flushed = end.flushed.max(highest_mark(later.segment.bytes(0).unwrap_or_default(), later, node));
    }
    let link = &chain.links[number];
    if chain.links[number..].iter().any(|link| link.sealed) || missing <= end.flushed {
        let reason =
            format!("entries from LSN {missing} on are missing before it, although everything up to LSN {} was flushed", end.flushed);
        return Err(StorageError::Corrupt { path: link.segment.file().path().to_owned(), offset: 0, lsn: missing, reason });
    }
    let before = &chain.links[number - 1];
    torn::plan(chain, number - 1, end.position.offset.min(before.bytes as usize), missing)
}

/// The highest flushed LSN that any sound mark of this node tells, wherever it stands in `bytes`.
fn highest_mark(bytes: &[u8], link: &Link, node: NodeId) -> Lsn {
    let pattern = [FLUSH_MARK_LEN as u8, 0, 0, 0, 2, 0];
    let mut highest = Lsn(0);
    for at in 0..bytes.len().saturating_sub(FLUSH_MARK_LEN - 1) {
        if bytes[at + 4] == pattern[0]
            && bytes[at + 4..at + 10] == pattern
            && let Ok(mark) = FlushMark::parse(&bytes[at..], link.segment.seed())
            && mark.node == node
        {
            highest = highest.max(mark.flushed);
        }
    }
    highest
}
