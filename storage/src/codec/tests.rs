#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use super::checksum::ShardSeed;
use super::flush_mark::{FLUSH_MARK_LEN, FlushMark};
use super::*;
use crate::types::{HistoryId, Incarnation, Lsn, NodeId, ShardId};

#[test]
fn flush_mark_round_trips_and_every_bit_flip_is_detected() {
    let seed = ShardSeed::new(HistoryId(1), ShardId(2));
    let mark = FlushMark { node: NodeId(3), incarnation: Incarnation(4), flushed: Lsn(5) };
    let bytes = mark.encode(seed);
    assert_eq!(FlushMark::parse(&bytes, seed), Ok(mark));
    for bit in 0..FLUSH_MARK_LEN * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(FlushMark::parse(&flipped, seed).is_err(), "bit {bit}");
    }
    for cut in 0..FLUSH_MARK_LEN {
        assert!(FlushMark::parse(&bytes[..cut], seed).is_err());
    }
}

#[test]
fn input_takes_fields_little_endian_and_stops_at_the_end() {
    let bytes: Vec<u8> = (1..=6).collect();
    assert_eq!(Input::new(&bytes).u48().unwrap(), 0x0605_0403_0201);
    let mut input = Input::new(&bytes);
    assert_eq!(input.u16().unwrap(), 0x0201);
    assert_eq!(input.take(3).unwrap(), &[3, 4, 5]);
    assert_eq!(input.u32(), Err(DecodeError::CutOff));
    assert_eq!(input.u8().unwrap(), 6);
    assert!(input.is_empty());
}
