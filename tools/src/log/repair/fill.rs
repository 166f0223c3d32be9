//! What takes the place of damage.
//!
//! Every LSN keeps an entry and every sound record keeps its place, so whoever points to one (a checkpoint, a delta) still finds it. The
//! entries that fill a hole remove a key of zeros from a table that no database had then, which changes nothing.

use esker_storage::codec::checksum::ShardSeed;
use esker_storage::codec::entry::{EntryBuilder, EntryHead, EntryView, encode_single, single_len};
use esker_storage::codec::flush_mark::{FLUSH_MARK_LEN, FlushMark};
use esker_storage::codec::op::{Op, OpView};
use esker_storage::types::{Incarnation, Lsn, NodeId, TableId};

use super::search::SHORTEST_ENTRY;
use super::walk::Hole;

/// Tables whose id takes one byte and two: of each, one that was no database's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeadTables {
    pub(super) short: TableId,
    pub(super) long: TableId,
}

impl DeadTables {
    /// Tables that no database had, as far as `is_live` knows.
    pub(super) fn choose(is_live: impl Fn(TableId) -> bool) -> Self {
        let dead = |mut ids: std::ops::Range<u32>, otherwise| TableId(ids.find(|id| !is_live(TableId(*id))).unwrap_or(otherwise));
        Self { short: dead(100..128, 127), long: dead(16_000..16_384, 16_383) }
    }
}

/// The bytes that fill a hole; none if they cannot be made to fit.
pub(super) fn fill(hole: &Hole, seed: ShardSeed, node: NodeId, tables: DeadTables) -> Option<Vec<u8>> {
    let missing = if hole.every { hole.missing() } else { hole.missing().min(1) };
    let mut bytes = Vec::new();
    if missing == 0 {
        let mark = FlushMark { node, incarnation: Incarnation(0), flushed: Lsn(0) };
        while hole.fixed && bytes.len() < hole.to - hole.from {
            bytes.extend_from_slice(&mark.encode(seed));
        }
        debug_assert_eq!(mark.encode(seed).len(), FLUSH_MARK_LEN);
        return (!hole.fixed || bytes.len() == hole.to - hole.from).then_some(bytes);
    }
    let shortest = usize::try_from(missing).ok()?.checked_mul(SHORTEST_ENTRY)?;
    let room = if hole.fixed { hole.to - hole.from } else { shortest };
    let slack = room.checked_sub(shortest)?;
    for lsn in (hole.first.0..).take(missing as usize) {
        let len = SHORTEST_ENTRY + if lsn == hole.first.0 { slack } else { 0 };
        let head = EntryHead { lsn: Lsn(lsn), epoch: hole.epoch, time: hole.time };
        let key = vec![0; len];
        let op = removal(len, &key, tables, single_len)?;
        let at = bytes.len();
        bytes.resize(at + len, 0);
        encode_single(&mut bytes[at..], head, seed, &op);
    }
    Some(bytes)
}

/// A removal that takes exactly `len` bytes as `measure` counts.
fn removal<'k>(len: usize, zeros: &'k [u8], tables: DeadTables, measure: impl Fn(&Op<'_>) -> usize) -> Option<Op<'k>> {
    [tables.short, tables.long].into_iter().find_map(|table| {
        let empty = measure(&Op::tombstone(table, &[]));
        // The length of the key takes more bytes the longer it is.
        (0..5).find_map(|more| {
            let key = zeros.get(..len.checked_sub(empty + more)?)?;
            let op = Op::tombstone(table, key);
            (measure(&op) == len).then_some(op)
        })
    })
}

/// The entry with these of its ops replaced by ones that change nothing, of the same length; none if that cannot be.
pub(super) fn blank(entry: &EntryView<'_>, numbers: &[u32], seed: ShardSeed, tables: DeadTables) -> Option<Vec<u8>> {
    let zeros = vec![0; entry.bytes().len()];
    let header = entry.header();
    let mut out = vec![0; entry.bytes().len()];
    if !header.multi {
        let op = removal(out.len(), &zeros, tables, single_len)?;
        encode_single(&mut out, header.head, seed, &op);
        return Some(out);
    }
    let mut builder = EntryBuilder::new(header.session);
    for (_, op) in entry.ops() {
        if numbers.contains(&op.header.op_number()) {
            builder.push(&removal(op.bytes.len(), &zeros, tables, |op| op.encoded_len(true))?);
        } else {
            builder.push(&again(&op));
        }
    }
    if builder.encoded_len() != out.len() {
        return None;
    }
    builder.finish(header.head, seed, &mut out);
    // Numbers of ops may have gaps, which cannot be written so.
    let same = EntryView::parse(&out, seed).is_ok_and(|made| {
        let numbers = |entry: &EntryView<'_>| entry.ops().map(|(at, op)| (at, op.header.op_number())).collect::<Vec<_>>();
        numbers(&made) == numbers(entry)
    });
    same.then_some(out)
}

/// An op to be written as it was read.
fn again<'a>(op: &OpView<'a>) -> Op<'a> {
    let header = &op.header;
    Op {
        code: header.code,
        value_type: header.value_type,
        value_segment: header.value_segment,
        fresh: header.fresh,
        table: header.table,
        expire_at: header.expire_at,
        content_hash: header.content_hash,
        key: op.key,
        body: op.body.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use esker_storage::segment::{Continuity, Frame, SEGMENT_HEADER, SegmentReader};
    use esker_storage::types::{EpochNumber, HistoryId, ShardId, UnixMillis};

    use super::*;

    fn seed() -> ShardSeed {
        ShardSeed::new(HistoryId(7), ShardId(0))
    }

    const TABLES: DeadTables = DeadTables { short: TableId(100), long: TableId(16_000) };

    fn hole(len: usize, missing: u64) -> Hole {
        let (first, last) = (Lsn(11), Lsn(10 + missing));
        Hole { from: 0, to: len, first, last, fixed: true, every: true, epoch: EpochNumber(3), time: UnixMillis(5), reason: String::new() }
    }

    /// What the reader makes of a fill: LSNs of entries, number of marks.
    fn read(fill: &[u8]) -> (Vec<u64>, usize) {
        let bytes = [&[0; SEGMENT_HEADER][..], fill].concat();
        let (mut lsns, mut marks) = (Vec::new(), 0);
        for frame in SegmentReader::new(&bytes, seed(), Continuity::Every, Lsn(11), EpochNumber(3)) {
            match frame.unwrap().1 {
                Frame::Entry(entry) => lsns.push(entry.head().lsn.0),
                Frame::FlushMark(mark) => marks += usize::from(mark.flushed == Lsn(0)),
                Frame::Footer(_) => panic!("a footer"),
            }
        }
        (lsns, marks)
    }

    #[test]
    fn holes_are_filled_to_the_byte_whatever_their_length() {
        for len in (SHORTEST_ENTRY..600).chain(16_400..16_440).chain([70_000, 3_000_000]) {
            let fill = fill(&hole(len, 1), seed(), NodeId(1), TABLES).unwrap_or_else(|| panic!("{len} bytes"));
            assert_eq!((fill.len(), read(&fill)), (len, (vec![11], 0)));
        }
        let three = fill(&hole(200, 3), seed(), NodeId(1), TABLES).unwrap();
        assert_eq!((three.len(), read(&three)), (200, (vec![11, 12, 13], 0)));
        let marks = fill(&hole(2 * FLUSH_MARK_LEN, 0), seed(), NodeId(1), TABLES).unwrap();
        assert_eq!(read(&marks), (vec![], 2));
        assert!(fill(&hole(110, 3), seed(), NodeId(1), TABLES).is_none() && fill(&hole(50, 0), seed(), NodeId(1), TABLES).is_none());
    }

    #[test]
    fn one_op_of_an_entry_can_be_made_to_do_nothing() {
        let mut builder = EntryBuilder::default();
        builder.push(&Op::put(TableId(0), b"a", b"one", 1));
        let delta = [7_u8; 20];
        builder.push(&Op::put(TableId(0), b"b", &delta, 2));
        let head = EntryHead { lsn: Lsn(11), epoch: EpochNumber(3), time: UnixMillis(5) };
        let mut bytes = vec![0; builder.encoded_len()];
        builder.finish(head, seed(), &mut bytes);
        let entry = EntryView::parse(&bytes, seed()).unwrap();
        let blanked = blank(&entry, &[1], seed(), TABLES).unwrap();
        assert_eq!(blanked.len(), bytes.len());
        let entry = EntryView::parse(&blanked, seed()).unwrap();
        let ops: Vec<_> = entry.ops().map(|(_, op)| (op.header.table.0, op.key[0])).collect();
        assert_eq!(ops, [(0, b'a'), (100, 0)]);
    }
}
