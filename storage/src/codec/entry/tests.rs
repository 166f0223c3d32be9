#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::codec::checksum::ShardSeed;
use crate::codec::op::{Op, OpCode, OpHeader, OpView, ValueType};
use crate::types::{HistoryId, ShardId, TableId};

fn seed() -> ShardSeed {
    ShardSeed::new(HistoryId(0x1234), ShardId(7))
}

fn head() -> EntryHead {
    EntryHead { lsn: Lsn(99), epoch: EpochNumber(3), time: UnixMillis(1_700_000_000_123) }
}

fn single(op: &Op<'_>) -> Vec<u8> {
    let mut bytes = vec![0; single_len(op)];
    encode_single(&mut bytes, head(), seed(), op);
    bytes
}

fn built(session: Option<Session>, ops: &[Op<'_>]) -> Vec<u8> {
    let mut builder = EntryBuilder::new(session);
    let distances: Vec<u32> = ops.iter().map(|op| builder.push(op)).collect();
    let mut bytes = vec![0; builder.encoded_len()];
    builder.finish(head(), seed(), &mut bytes);
    let found: Vec<u32> = EntryView::parse(&bytes, seed()).unwrap().ops().map(|(at, _)| at).collect();
    assert_eq!(distances, found);
    bytes
}

fn expiring_put() -> Op<'static> {
    Op { expire_at: Some(UnixMillis(-5)), value_type: ValueType::Hash, ..Op::put(TableId(300), b"key", &[7; 200], 42) }
}

fn sample() -> Vec<u8> {
    let session = Session { node: NodeId(1), incarnation: Incarnation(2), sequence: 3 };
    let swap = Op::control(OpCode::SwapDatabases, &[0, 1]);
    built(Some(session), &[expiring_put(), Op::tombstone(TableId(1), b""), swap])
}

#[test]
fn single_put_has_at_most_48_bytes_of_framing() {
    let bytes = single(&Op::put(TableId(0), b"0123456789abcdef", &[1; 100], 5));
    assert!(bytes.len() <= 16 + 100 + 48);
    let entry = EntryView::parse(&bytes, seed()).unwrap();
    assert_eq!(entry.head(), head());
    let (at, op) = entry.ops().next().unwrap();
    assert_eq!((at as usize, op.key, op.body), (SINGLE_HEADER, &b"0123456789abcdef"[..], &[1; 100][..]));
    assert_eq!((op.header.entry_distance(), op.header.op_number(), op.header.content_hash), (28, 0, 5));
    assert_eq!(entry.ops().count(), 1);
}

#[test]
fn all_fields_of_several_ops_round_trip() {
    let bytes = sample();
    let entry = EntryView::parse(&bytes, seed()).unwrap();
    assert_eq!(entry.header().session, Some(Session { node: NodeId(1), incarnation: Incarnation(2), sequence: 3 }));
    let ops: Vec<_> = entry.ops().collect();
    assert_eq!(ops.len(), 3);
    for (number, (at, op)) in ops.iter().enumerate() {
        assert_eq!((op.header.entry_distance(), op.header.op_number()), (*at, number as u32));
        op.verify(seed().lsn(Lsn(99)).op(number as u32)).unwrap();
    }
    let put = &ops[0].1;
    assert_eq!(put.header.code, OpCode::Put);
    assert_eq!((put.header.table, put.header.expire_at, put.header.value_type), (TableId(300), Some(UnixMillis(-5)), ValueType::Hash));
    assert_eq!((put.key, put.body, put.header.content_hash), (&b"key"[..], &[7; 200][..], 42));
    assert_eq!((ops[1].1.header.code, ops[2].1.body), (OpCode::Tombstone, &[0, 1][..]));
}

#[test]
fn built_without_session_and_cleared_is_empty_again() {
    let mut builder = EntryBuilder::default();
    assert!(builder.is_empty());
    builder.push(&Op::tombstone(TableId(0), b"k"));
    assert_eq!(builder.op_count(), 1);
    builder.clear();
    assert!(builder.is_empty());
    assert_eq!(builder.encoded_len(), 32);
    assert_eq!(EntryView::parse(&built(None, &[expiring_put()]), seed()).unwrap().header().session, None);
}

#[test]
fn every_single_bit_flip_is_detected() {
    for bytes in [single(&expiring_put()), sample()] {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Room behind, so that a longer length is no excuse.
            flipped.resize(flipped.len() + 300, 0);
            assert!(EntryView::parse(&flipped, seed()).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn every_single_bit_flip_of_an_op_is_detected_by_its_own_crc() {
    let bytes = single(&expiring_put());
    let op_seed = seed().lsn(Lsn(99)).op(0);
    for bit in 0..(bytes.len() - SINGLE_HEADER) * 8 {
        let mut flipped = bytes[SINGLE_HEADER..].to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped.resize(flipped.len() + 300, 0);
        assert!(OpView::parse(&flipped).and_then(|op| op.verify(op_seed)).is_err(), "bit {bit}");
    }
}

#[test]
fn entry_of_another_history_shard_or_lsn_is_refused() {
    let bytes = single(&expiring_put());
    for other in [ShardSeed::new(HistoryId(0x1235), ShardId(7)), ShardSeed::new(HistoryId(0x1234), ShardId(8))] {
        assert_eq!(EntryView::parse(&bytes, other), Err(DecodeError::Checksum));
    }
    let op = OpView::parse(&bytes[SINGLE_HEADER..]).unwrap();
    assert_eq!(op.verify(seed().lsn(Lsn(98)).op(0)), Err(DecodeError::Checksum));
    assert_eq!(op.verify(seed().lsn(Lsn(99)).op(1)), Err(DecodeError::Checksum));
}

#[test]
fn every_cut_is_refused() {
    let bytes = sample();
    for cut in 0..bytes.len() {
        assert!(EntryView::parse(&bytes[..cut], seed()).is_err());
    }
}

/// Changes one byte of the only op of a tombstone entry and makes all CRCs right again.
fn resealed(at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = single(&Op::tombstone(TableId(0), b"k"));
    bytes[SINGLE_HEADER + at] = byte;
    let lsn_seed = seed().lsn(Lsn(99));
    crate::codec::op::seal(&mut bytes[SINGLE_HEADER..], lsn_seed.op(0));
    let crc = lsn_seed.crc(&bytes[4..SINGLE_HEADER + 4]);
    crate::codec::set_u32(&mut bytes, 0, crc);
    bytes
}

#[test]
fn reserved_and_unknown_ops_are_refused_by_name_and_not_as_damage() {
    let names =
        [(68, "fence slots"), (69, "mode"), (71, "raft conf change"), (72, "raft empty"), (73, "source position"), (74, "drop slots")];
    for (code, name) in names {
        let error = EntryView::parse(&resealed(4, code), seed()).unwrap_err();
        assert_eq!(error, DecodeError::ReservedOp(name));
        assert!(error.is_unsupported());
    }
    assert_eq!(EntryView::parse(&resealed(4, 200), seed()), Err(DecodeError::UnknownOp(200)));
    assert_eq!(EntryView::parse(&resealed(5, 0x60), seed()), Err(DecodeError::ValueType(6)));
    assert_eq!(EntryView::parse(&resealed(5, 0x08), seed()), Err(DecodeError::Flags(8)));
    assert_eq!(EntryView::parse(&resealed(5, 0x04), seed()), Err(DecodeError::Flags(4)));
}

#[test]
fn random_bytes_never_panic() {
    let mut random = StdRng::seed_from_u64(3);
    let sound = sample();
    for _ in 0..20_000 {
        let mut bytes = sound.clone();
        for _ in 0..random.random_range(1..20) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes.truncate(random.random_range(0..=bytes.len()));
        let _ = EntryView::parse(&bytes, seed());
        let _ = OpView::parse(&bytes);
        let _ = OpHeader::parse(&bytes);
        let _ = EntryHeader::parse(&bytes);
    }
}
