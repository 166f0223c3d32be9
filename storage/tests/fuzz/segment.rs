//! Segments: header, frames in a row, footer; and files of what was cut.

use esker_storage::codec::flush_mark::FlushMark;
use esker_storage::segment::torn::TornTail;
use esker_storage::segment::{Continuity, Footer, FooterBuilder, Frame, SEGMENT_HEADER, SegmentHeader, SegmentKind, SegmentReader};
use esker_storage::types::{EpochNumber, Generation, HistoryId, Incarnation, Lsn, NodeId, SegmentId, ShardId, UnixMillis, WriterId};
use rand::Rng;
use rand::rngs::StdRng;

use super::driver::fuzz;
use super::entry::{entry, seed};
use super::mutate::mutate;

fn header() -> SegmentHeader {
    SegmentHeader {
        kind: SegmentKind::Log,
        cleaned: false,
        shard: ShardId(2),
        history: HistoryId(77),
        base_lsn: Lsn(10),
        generation: Generation(3),
        segment_id: SegmentId(4),
        epoch: EpochNumber(3),
        writer: WriterId(6),
        created: UnixMillis(1000),
        stamp: 10,
        size: 1 << 20,
        value_id: 0,
    }
}

/// A segment, sealed or with zeros behind its written end.
fn segment(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = header().encode().to_vec();
    let mut lsn = Lsn(10);
    for _ in 0..rng.random_range(0..8) {
        if rng.random_bool(0.2) {
            bytes.extend(FlushMark { node: NodeId(1), incarnation: Incarnation(2), flushed: Lsn(lsn.0 - 1) }.encode(seed()));
        }
        bytes.extend(entry(rng, lsn));
        lsn = lsn.next();
    }
    if rng.random_bool(0.5) {
        bytes.resize(bytes.len() + rng.random_range(0..3000), 0);
        return bytes;
    }
    let mut builder = FooterBuilder::new(Lsn(10), 5);
    for (offset, frame) in frames(&bytes).0 {
        if let Frame::Entry(entry) = frame {
            builder.add(offset, &entry);
        }
    }
    let footer = builder.finish(&bytes, Lsn(0));
    bytes.extend(footer.encode(seed(), bytes.len() as u64));
    bytes
}

/// The frames that pass, and where they end.
fn frames(bytes: &[u8]) -> (Vec<(u32, Frame<'_>)>, usize) {
    let mut reader = SegmentReader::new(bytes, seed(), Continuity::Every, Lsn(10), EpochNumber(3));
    let mut frames: Vec<(u32, Frame<'_>)> = Vec::new();
    let mut at = SEGMENT_HEADER;
    while let Some(Ok((offset, frame))) = reader.next() {
        assert!(offset as usize == at && reader.offset() > at && reader.offset() <= bytes.len(), "frames follow one another");
        at = reader.offset();
        frames.push((offset, frame));
    }
    assert!(reader.next().is_none(), "after a bad frame, and after the last, nothing comes");
    (frames, at)
}

#[test]
fn frames_of_a_damaged_segment_are_a_prefix_of_those_written() {
    fuzz("segments", |rng| {
        let sound = segment(rng);
        let (written, _) = frames(&sound);
        for _ in 0..20 {
            let mut bytes = sound.clone();
            mutate(rng, &mut bytes);
            let _ = SegmentHeader::decode(&bytes);
            let _ =
                Footer::offset_at_end(&bytes).map(|offset| Footer::parse(bytes.get(offset as usize..).unwrap_or_default(), offset, seed()));
            if bytes.len() < SEGMENT_HEADER {
                continue;
            }
            // Damage of bytes within: what passes was written there.
            if bytes.len() == sound.len() {
                let (read, _) = frames(&bytes);
                assert!(read.len() <= written.len() && read.iter().zip(&written).all(|(a, b)| a == b), "frames that were not written");
            } else {
                frames(&bytes);
            }
        }
    });
}

#[test]
fn damaged_footers_with_right_checksums_are_no_danger() {
    fuzz("footers", |rng| {
        let mut bytes = segment(rng);
        let Some(offset) = Footer::offset_at_end(&bytes).map(|offset| offset as usize).filter(|offset| *offset < bytes.len()) else {
            return;
        };
        let mut footer = bytes.split_off(offset);
        for _ in 0..10 {
            mutate(rng, &mut footer);
            if footer.len() > 4 {
                let checksum = seed().crc(&footer[4..]).to_le_bytes();
                footer[..4].copy_from_slice(&checksum);
            }
            if let Ok(parsed) = Footer::parse(&footer, offset as u64, seed()) {
                assert!(parsed.hints.len() * 16 <= footer.len(), "hints that are not there");
            }
        }
    });
}

#[test]
fn damaged_files_of_torn_tails_are_refused() {
    fuzz("torn tails", |rng| {
        let bytes = segment(rng);
        let sound = TornTail { segment: header(), offset: 128, lsn: Lsn(10), bytes: &bytes }.encode();
        assert_eq!(TornTail::decode(&sound).unwrap().bytes, bytes);
        let mut damaged = sound.clone();
        mutate(rng, &mut damaged);
        assert!(damaged == sound || TornTail::decode(&damaged).is_err());
    });
}
