//! Rewriting an entry for a cleaned segment: the same LSN, epoch and time, with some of its ops gone or reduced to tombstones.
//!
//! Invariants:
//! - An op that is kept keeps its number, so that what points to it by (LSN, op number) still finds it.
//! - An entry of which nothing is dropped is copied byte by byte.

use super::{EntryView, OP_COUNT_LEN, SINGLE_HEADER, encode_single, single_len};
use crate::codec::checksum::{ShardSeed, crc};
use crate::codec::frame::LENGTH_OFFSET;
use crate::codec::op::{Op, OpPlace, OpView, seal};
use crate::codec::set_u32;

/// What becomes of an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// Only that its key was gone at this LSN is still to be told.
    Tombstone,
}

/// Appends to `out` what is left of an entry, op by op as `fates` says; nothing if all of them go.
pub fn rewrite(entry: &EntryView<'_>, seed: ShardSeed, fates: &[Fate], out: &mut Vec<u8>) {
    if fates.iter().all(|fate| *fate == Fate::Keep) {
        out.extend_from_slice(entry.bytes());
    } else if fates.iter().any(|fate| *fate != Fate::Drop) {
        if entry.header().multi { rewrite_multi(entry, seed, fates, out) } else { bury(entry, seed, out) }
    }
}

/// The only op becomes a tombstone.
fn bury(entry: &EntryView<'_>, seed: ShardSeed, out: &mut Vec<u8>) {
    for (_, op) in entry.ops() {
        let tombstone = Op::tombstone(op.header.table, op.key);
        let start = out.len();
        out.resize(start + single_len(&tombstone), 0);
        encode_single(&mut out[start..], entry.head(), seed, &tombstone);
    }
}

fn rewrite_multi(entry: &EntryView<'_>, seed: ShardSeed, fates: &[Fate], out: &mut Vec<u8>) {
    let ops = entry.ops().map(|(_, op)| op).zip(fates.iter().copied());
    compose(entry, seed, ops.filter(|(_, fate)| *fate != Fate::Drop), out);
}

/// Appends to `out` the entry that has the ops of both, which are parts of one; of one that both have, that of `one`.
pub fn merge(one: &EntryView<'_>, other: &EntryView<'_>, seed: ShardSeed, out: &mut Vec<u8>) {
    debug_assert_eq!(one.head(), other.head());
    if !one.header().multi {
        return out.extend_from_slice(one.bytes());
    }
    let ops = one.ops().chain(other.ops()).map(|(_, op)| (op.header.op_number(), op));
    let mut by_number = std::collections::BTreeMap::new();
    for (number, op) in ops {
        by_number.entry(number).or_insert(op);
    }
    compose(one, seed, by_number.into_values().map(|op| (op, Fate::Keep)), out);
}

/// Appends an entry like `like` with these ops.
fn compose<'o>(like: &EntryView<'_>, seed: ShardSeed, ops: impl Iterator<Item = (OpView<'o>, Fate)>, out: &mut Vec<u8>) {
    let start = out.len();
    let header_len = like.header().header_len as usize;
    out.extend_from_slice(&like.bytes()[..header_len]);
    let lsn_seed = seed.lsn(like.head().lsn);
    let mut crcs = Vec::new();
    for (op, fate) in ops {
        let at = out.len();
        // The length of an entry is a u32.
        let place = OpPlace { distance: (at - start) as u32, number: op.header.op_number() };
        append_op(&op, fate, place, out);
        crcs.push(seal(&mut out[at..], lsn_seed.op(place.number)));
    }
    let len = (out.len() - start) as u32;
    let entry = &mut out[start..];
    set_u32(entry, LENGTH_OFFSET, len);
    set_u32(entry, SINGLE_HEADER, crcs.len() as u32);
    let header_crc = lsn_seed.crc(&entry[LENGTH_OFFSET..header_len]);
    let crc = crcs.iter().fold(header_crc, |frame, op| crc(frame, &op.to_le_bytes()));
    set_u32(entry, 0, crc);
}

fn append_op(op: &OpView<'_>, fate: Fate, place: OpPlace, out: &mut Vec<u8>) {
    let at = out.len();
    if fate == Fate::Keep {
        out.extend_from_slice(op.bytes);
        op.header.place_at(&mut out[at..], place);
    } else {
        let tombstone = Op::tombstone(op.header.table, op.key);
        out.resize(at + tombstone.encoded_len(true), 0);
        tombstone.encode(Some(place), &mut out[at..]);
    }
}

const _: () = assert!(OP_COUNT_LEN == 4, "the number of ops follows the header that all entries have");

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;
    use crate::codec::entry::{EntryBuilder, EntryHead, Session};
    use crate::codec::op::OpCode;
    use crate::types::{EpochNumber, HistoryId, Incarnation, Lsn, NodeId, ShardId, TableId, UnixMillis};

    fn seed() -> ShardSeed {
        ShardSeed::new(HistoryId(5), ShardId(0))
    }

    fn head() -> EntryHead {
        EntryHead { lsn: Lsn(7), epoch: EpochNumber(2), time: UnixMillis(1000) }
    }

    fn multi(session: Option<Session>) -> Vec<u8> {
        let mut builder = EntryBuilder::new(session);
        for key in [b"a", b"b", b"c"] {
            builder.push(&Op { expire_at: Some(UnixMillis(9)), ..Op::put(TableId(3), key, &[key[0]; 50], 4) });
        }
        let mut bytes = vec![0; builder.encoded_len()];
        builder.finish(head(), seed(), &mut bytes);
        bytes
    }

    fn rewritten(bytes: &[u8], fates: &[Fate]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        rewrite(&EntryView::parse(bytes, seed()).unwrap(), seed(), fates, &mut out);
        out.split_off(6)
    }

    #[test]
    fn what_is_kept_whole_is_copied() {
        for bytes in [multi(None), multi(Some(Session { node: NodeId(1), incarnation: Incarnation(2), sequence: 3 }))] {
            assert_eq!(rewritten(&bytes, &[Fate::Keep; 3]), bytes);
            assert!(rewritten(&bytes, &[Fate::Drop; 3]).is_empty());
        }
    }

    #[test]
    fn parts_of_an_entry_make_it_whole_again() {
        let whole = multi(None);
        let (one, other) =
            (rewritten(&whole, &[Fate::Keep, Fate::Drop, Fate::Keep]), rewritten(&whole, &[Fate::Drop, Fate::Keep, Fate::Keep]));
        for (one, other) in [(&one, &other), (&other, &one), (&one, &whole), (&whole, &whole)] {
            let mut out = Vec::new();
            merge(&EntryView::parse(one, seed()).unwrap(), &EntryView::parse(other, seed()).unwrap(), seed(), &mut out);
            assert_eq!(out, whole);
        }
    }

    #[test]
    fn ops_that_are_left_keep_their_numbers_and_pass_every_check() {
        for session in [None, Some(Session { node: NodeId(1), incarnation: Incarnation(2), sequence: 3 })] {
            let out = rewritten(&multi(session), &[Fate::Drop, Fate::Tombstone, Fate::Keep]);
            let entry = EntryView::parse(&out, seed()).unwrap();
            assert_eq!((entry.head(), entry.header().session, entry.header().ops), (head(), session, 2));
            let ops: Vec<_> = entry.ops().collect();
            assert_eq!(ops.iter().map(|(_, op)| op.header.op_number()).collect::<Vec<_>>(), [1, 2]);
            assert_eq!(ops.iter().map(|(at, op)| op.header.entry_distance() == *at).collect::<Vec<_>>(), [true, true]);
            assert_eq!((ops[0].1.header.code, ops[0].1.key, ops[0].1.body), (OpCode::Tombstone, &b"b"[..], &b""[..]));
            assert_eq!((ops[1].1.header.expire_at, ops[1].1.key, ops[1].1.body), (Some(UnixMillis(9)), &b"c"[..], &[b'c'; 50][..]));
            for bit in 0..out.len() * 8 {
                let mut flipped = out.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(EntryView::parse(&flipped, seed()).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn single_op_is_buried_under_its_lsn() {
        let op = Op::put(TableId(3), b"key", &[1; 100], 4);
        let mut bytes = vec![0; single_len(&op)];
        encode_single(&mut bytes, head(), seed(), &op);
        let out = rewritten(&bytes, &[Fate::Tombstone]);
        let entry = EntryView::parse(&out, seed()).unwrap();
        let (_, op) = entry.ops().next().unwrap();
        assert_eq!((entry.head(), op.header.code, op.key, op.header.table), (head(), OpCode::Tombstone, &b"key"[..], TableId(3)));
    }
}
