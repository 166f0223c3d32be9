#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::footer::{key_hash, segment_digest};
use super::reader::last_nonzero;
use super::torn::TornTail;
use super::*;
use crate::codec::DecodeError;
use crate::codec::entry::{EntryBuilder, EntryHead, encode_single, single_len};
use crate::codec::flush_mark::FlushMark;
use crate::codec::op::{Op, OpCode};
use crate::error::StorageError;
use crate::types::*;

fn header() -> SegmentHeader {
    SegmentHeader {
        kind: SegmentKind::Log,
        cleaned: false,
        shard: ShardId(2),
        history: HistoryId(77),
        base_lsn: Lsn(10),
        generation: Generation(3),
        segment_id: SegmentId(4),
        epoch: EpochNumber(5),
        writer: WriterId(6),
        created: UnixMillis(1000),
        stamp: 10,
        size: 1 << 20,
        value_id: 0,
    }
}

fn put_entry(segment: &mut Vec<u8>, lsn: u64, epoch: u32) {
    let head = EntryHead { lsn: Lsn(lsn), epoch: EpochNumber(epoch), time: UnixMillis(2000 + lsn as i64) };
    let key = lsn.to_le_bytes();
    let op = Op::put(TableId(1), &key, b"some value", 9);
    let at = segment.len();
    segment.resize(at + single_len(&op), 0);
    encode_single(&mut segment[at..], head, header().seed(), &op);
}

/// Entries 10, 11, a flush mark, entry 12 of two ops.
fn frames() -> Vec<u8> {
    let mut segment = header().encode().to_vec();
    put_entry(&mut segment, 10, 5);
    put_entry(&mut segment, 11, 6);
    segment.extend(FlushMark { node: NodeId(1), incarnation: Incarnation(2), flushed: Lsn(11) }.encode(header().seed()));
    let mut builder = EntryBuilder::default();
    builder.push(&Op::tombstone(TableId(0xff_ffff), b"gone"));
    builder.push(&Op::control(OpCode::SwapDatabases, &[1, 2]));
    let at = segment.len();
    segment.resize(at + builder.encoded_len(), 0);
    let head = EntryHead { lsn: Lsn(12), epoch: EpochNumber(6), time: UnixMillis(2012) };
    builder.finish(head, header().seed(), &mut segment[at..]);
    segment
}

fn sealed() -> Vec<u8> {
    let mut segment = frames();
    let mut builder = FooterBuilder::new(Lsn(10), 99);
    for frame in reader(&segment) {
        if let (offset, Frame::Entry(entry)) = frame.unwrap() {
            builder.add(offset, &entry);
        }
    }
    let footer = builder.finish(&segment, Lsn(0));
    segment.extend(footer.encode(header().seed(), segment.len() as u64));
    segment
}

fn reader(segment: &[u8]) -> SegmentReader<'_> {
    SegmentReader::new(segment, header().seed(), Continuity::Every, Lsn(10), EpochNumber(5))
}

fn lsns(reader: &mut SegmentReader<'_>) -> Result<Vec<u64>, BadFrame> {
    let mut found = Vec::new();
    for frame in reader {
        if let Frame::Entry(entry) = frame?.1 {
            found.push(entry.head().lsn.0);
        }
    }
    Ok(found)
}

#[test]
fn header_round_trips_and_every_bit_flip_is_detected() {
    let bytes = header().encode();
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
    for bit in 0..SEGMENT_HEADER * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
    }
    assert_eq!(SegmentHeader::decode(&bytes[..127]), Err(DecodeError::CutOff));
    let mut future = bytes;
    future[8] = 2;
    assert_eq!(SegmentHeader::decode(&future), Err(DecodeError::FutureVersion(2)));
}

#[test]
fn frames_are_read_to_the_end_of_the_bytes_or_to_the_first_zero() {
    let mut segment = frames();
    let written = segment.len();
    let mut read = reader(&segment);
    assert_eq!(lsns(&mut read).unwrap(), [10, 11, 12]);
    assert_eq!((read.end(), read.offset(), read.last_lsn(), read.last_epoch()), (Some(End::Bytes), written, Lsn(12), EpochNumber(6)));
    for zeros in [1, 9, 10, 5000] {
        segment.resize(written + zeros, 0);
        let mut read = reader(&segment);
        assert_eq!(lsns(&mut read).unwrap(), [10, 11, 12]);
        assert_eq!((read.end(), read.offset()), (Some(End::Zero), written));
        assert_eq!(last_nonzero(&segment[written..]), None);
        segment.truncate(written);
    }
}

/// The footer of `segment` as it is written in pieces, which must come from the back to the front.
fn footer_in_pieces(segment: &[u8]) -> Vec<u8> {
    let (offset, mut written, mut pieces) = (segment.len(), Vec::new(), Vec::new());
    let write = |at: u64, piece: &[u8]| {
        let at = at as usize - offset;
        pieces.push(at);
        if written.len() < at + piece.len() {
            written.resize(at + piece.len(), 0);
        }
        written[at..at + piece.len()].copy_from_slice(piece);
        Ok(())
    };
    let mut writer = FooterWriter::new(Lsn(10), 99, offset as u64, write);
    for frame in reader(segment) {
        if let (offset, Frame::Entry(entry)) = frame.unwrap() {
            writer.add(offset, &entry).unwrap();
        }
    }
    let end = writer.finish(segment, Lsn(3), header().seed()).unwrap();
    assert_eq!(end as usize, offset + written.len());
    assert_eq!(pieces.pop(), Some(0), "what makes it a frame is written last");
    assert!(pieces.iter().all(|at| *at > 0));
    written
}

#[test]
fn footer_written_in_pieces_has_the_same_bytes() {
    let mut segment = frames();
    for lsn in 13..20_000 {
        put_entry(&mut segment, lsn, 6);
    }
    for segment in [&frames(), &segment] {
        let mut builder = FooterBuilder::new(Lsn(10), 99);
        for frame in reader(segment) {
            if let (offset, Frame::Entry(entry)) = frame.unwrap() {
                builder.add(offset, &entry);
            }
        }
        let whole = builder.finish(segment, Lsn(3)).encode(header().seed(), segment.len() as u64);
        assert_eq!(footer_in_pieces(segment), whole);
    }
}

#[test]
fn footer_holds_what_the_frames_held() {
    let segment = sealed();
    let mut read = reader(&segment);
    let last = read.by_ref().map(Result::unwrap).last().unwrap();
    assert_eq!(read.end(), Some(End::Footer));
    let (offset, Frame::Footer(footer)) = last else { panic!("no footer") };
    let footer = footer.to_footer();
    assert_eq!(Footer::offset_at_end(&segment), Some(u64::from(offset)));
    assert_eq!((footer.first, footer.last, footer.entries, footer.ops), (Lsn(10), Lsn(12), 3, 4));
    assert_eq!((footer.first_time, footer.last_time, footer.seen), (UnixMillis(2010), UnixMillis(2012), Lsn(0)));
    assert_eq!(footer.digest, segment_digest(&segment[..offset as usize]));
    assert_eq!(footer.hints.len(), 3);
    let first = Hint { key_hash: key_hash(&10_u64.to_le_bytes(), 99), offset: 156, table: Some(TableId(1)), code: OpCode::Put };
    assert_eq!(footer.hints[0], first);
    assert_eq!((footer.hints[2].table, footer.hints[2].code), (None, OpCode::Tombstone));
}

#[test]
fn every_bit_flip_of_a_sealed_segment_is_detected() {
    let segment = sealed();
    for bit in SEGMENT_HEADER * 8..segment.len() * 8 {
        let mut flipped = segment.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut read = reader(&flipped);
        let sound = read.by_ref().all(|frame| frame.is_ok()) && read.end() == Some(End::Footer);
        assert!(!sound, "bit {bit}");
    }
}

#[test]
fn bad_frame_names_offset_lsn_and_reason() {
    let mut segment = header().encode().to_vec();
    put_entry(&mut segment, 10, 5);
    let second = segment.len();
    put_entry(&mut segment, 11, 5);
    let last = segment.len() - 1;
    segment[last] ^= 1;
    let bad = lsns(&mut reader(&segment)).unwrap_err();
    assert_eq!(bad, BadFrame { offset: second as u64, lsn: Lsn(11), reason: DecodeError::Checksum.into() });
    let message = bad.in_file(std::path::Path::new("/data/a.seg")).to_string();
    assert!(message.contains("/data/a.seg") && message.contains(&second.to_string()) && message.contains("11"), "{message}");
    assert_eq!(last_nonzero(&segment), Some(last));
}

#[test]
fn gaps_and_epochs_that_go_back_are_refused_where_they_may_not_be() {
    let mut gap = header().encode().to_vec();
    put_entry(&mut gap, 10, 5);
    put_entry(&mut gap, 12, 5);
    let bad = lsns(&mut reader(&gap)).unwrap_err();
    assert_eq!(bad.reason, BadFrameReason::Lsn { expected: Lsn(11), found: Lsn(12) });
    let rising = |segment: &[u8], continuity| lsns(&mut SegmentReader::new(segment, header().seed(), continuity, Lsn(10), EpochNumber(5)));
    assert_eq!(rising(&gap, Continuity::Rising).unwrap(), [10, 12]);

    let mut back = header().encode().to_vec();
    put_entry(&mut back, 10, 6);
    put_entry(&mut back, 11, 5);
    let reason = BadFrameReason::Epoch { previous: EpochNumber(6), found: EpochNumber(5) };
    assert_eq!(rising(&back, Continuity::Rising).unwrap_err().reason, reason);

    let mut falling = header().encode().to_vec();
    put_entry(&mut falling, 12, 5);
    put_entry(&mut falling, 11, 5);
    assert!(rising(&falling, Continuity::Rising).is_err());
    assert_eq!(rising(&falling, Continuity::Any).unwrap(), [12, 11]);
}

#[test]
fn sound_entry_of_a_later_version_is_called_unsupported_and_not_corrupt() {
    let mut segment = header().encode().to_vec();
    let op = Op::tombstone(TableId(0), b"");
    segment.resize(SEGMENT_HEADER + single_len(&op), 0);
    let head = EntryHead { lsn: Lsn(10), epoch: EpochNumber(5), time: UnixMillis(1) };
    encode_single(&mut segment[SEGMENT_HEADER..], head, header().seed(), &op);
    // A fence of slots, its checksums right.
    let (entry, lsn_seed) = (&mut segment[SEGMENT_HEADER..], header().seed().lsn(Lsn(10)));
    entry[32] = 68;
    let op_crc = lsn_seed.op(0).crc(&entry[32..]);
    entry[28..32].copy_from_slice(&op_crc.to_le_bytes());
    let frame_crc = lsn_seed.crc(&entry[4..32]);
    entry[..4].copy_from_slice(&frame_crc.to_le_bytes());
    let bad = lsns(&mut reader(&segment)).unwrap_err();
    assert!(bad.is_unsupported());
    let error = bad.in_file(std::path::Path::new("a.seg"));
    assert!(matches!(error, StorageError::Unsupported { lsn: Lsn(10), .. }), "{error}");
    assert!(error.to_string().contains("`fence slots`"), "{error}");
}

#[test]
fn bytes_after_the_footer_are_refused() {
    let mut segment = sealed();
    segment.push(0);
    assert_eq!(lsns(&mut reader(&segment)).unwrap_err().reason, BadFrameReason::AfterFooter);
}

#[test]
fn torn_tail_file_round_trips_and_every_bit_flip_is_detected() {
    let tail = TornTail { segment: header(), offset: 12345, lsn: Lsn(12), bytes: b"what was cut" };
    let bytes = tail.encode();
    assert_eq!(TornTail::decode(&bytes), Ok(tail));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(TornTail::decode(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn damaged_segments_never_panic_and_always_end() {
    let mut random = StdRng::seed_from_u64(4);
    let sound = sealed();
    for _ in 0..20_000 {
        let mut bytes = sound.clone();
        for _ in 0..random.random_range(1..30) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes.truncate(random.random_range(0..=bytes.len()));
        let _ = SegmentHeader::decode(&bytes);
        let _ = TornTail::decode(&bytes);
        assert!(reader(&bytes).count() <= 10);
    }
}
