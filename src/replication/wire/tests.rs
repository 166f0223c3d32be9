//! Messages there and back, and the edges of what is allowed. What nobody would send is tried in `tests/fuzz_peer.rs`.

use esker_storage::manifest::Epoch;
use esker_storage::types::{EpochNumber, HistoryId, Incarnation, Lsn, NodeId, ShardId, UnixMillis, WriterId};

use super::*;
use crate::replication::lineage::{Lineage, RefusalCode};

fn lineage() -> Lineage {
    let epoch = |number, writer, first| Epoch { number: EpochNumber(number), writer: WriterId(writer), first: Lsn(first) };
    let epochs = vec![epoch(1, u64::MAX, 1), epoch(4, 0, 100)];
    Lineage { shard: ShardId(3), history: HistoryId(u128::MAX - 5), epochs, last: Lsn(150), cleaned: Lsn(70), horizon: Lsn(90) }
}

fn messages() -> Vec<Message<'static>> {
    let hello = Hello {
        version: VERSION,
        node: NodeId(u64::MAX),
        incarnation: Incarnation(2),
        listening_port: 6379,
        announce_ip: "10.0.0.1".into(),
        lineage: lineage(),
        keys: 12,
        force: true,
        whole: true,
        damaged: true,
    };
    let welcome = |plan| Welcome {
        version: VERSION,
        node: NodeId(1),
        incarnation: Incarnation(5),
        lineage: lineage(),
        keys: 10,
        common: Lsn(99),
        plan,
    };
    let files = vec![
        File { name: "00000000000000000001-00000001.seg".into(), bytes: 1 << 26, sealed: true, from: 1 << 20 },
        File { name: "00000000000000000100-00000002.seg".into(), bytes: 128, sealed: false, from: 0 },
    ];
    vec![
        Message::Hello(Hello { whole: false, damaged: false, force: false, ..hello.clone() }),
        Message::Hello(hello),
        Message::Welcome(welcome(WelcomePlan::Continue { from: Lsn(100) })),
        Message::Welcome(welcome(WelcomePlan::Snapshot { id: SnapshotId(8), lsn: Lsn(150) })),
        Message::Welcome(welcome(WelcomePlan::Refuse { code: RefusalCode::MoreKeys, reason: "more keys".into() })),
        Message::Listing(Listing { id: SnapshotId(8), lsn: Lsn(150), manifest: b"\0manifest\xff".to_vec(), files, above: Lsn(9) }),
        Message::Welcome(welcome(WelcomePlan::Cut { to: Lsn(99) })),
        Message::Lacking(Lacking { id: SnapshotId(8), ops: b"\0set\xff".to_vec() }),
        Message::Want(Want { id: SnapshotId(8), file: 1, offset: 1 << 40 }),
        Message::SnapshotDone(SnapshotId(8)),
        Message::Heartbeat(Heartbeat { written: Lsn(7), committed: Lsn(6), epoch: EpochNumber(4), time: UnixMillis(-1) }),
        Message::Ack(Ack { written: Lsn(7), flushed: Lsn(6), applied: Lsn(7), readable: Lsn(5) }),
        Message::Bye(Bye { code: ByeCode::Other(77), reason: String::new() }),
        Message::TakeOver(TakeOver { lsn: Lsn(7), epoch: EpochNumber(3), force: true }),
        Message::TookOver(TookOver { epoch: EpochNumber(4), refused: "no".to_owned() }),
        Message::Entries(Entries { first: Lsn(1), last: Lsn(2), committed: Lsn(0), raw: b"frames" }),
        Message::Piece(Piece { id: SnapshotId(8), file: 1, offset: 3, raw: b"bytes" }),
        Message::ValuePiece(ValuePiece { id: u128::MAX, total: 10, offset: 5, raw: b"value" }),
    ]
}

#[test]
fn messages_come_back_as_they_were_and_only_when_they_are_whole() {
    for message in messages() {
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        for cut in 0..bytes.len() {
            match decode(&bytes[..cut], &Limits::default()) {
                Ok(Decoded::Incomplete(needed)) => assert!(needed > cut && needed <= bytes.len()),
                other => panic!("{other:?}"),
            }
        }
        let len = bytes.len();
        bytes.extend_from_slice(b"what follows");
        assert_eq!(decode(&bytes, &Limits::default()), Ok(Decoded::Message(message, len)));
    }
}

#[test]
fn every_flipped_bit_behind_the_length_is_found() {
    for message in messages() {
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        for bit in 32..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode(&bytes, &Limits::default()), Ok(Decoded::Message(..))), "bit {bit} of {message:?}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

fn head(len: u32, kind: u8) -> Vec<u8> {
    let mut head = len.to_le_bytes().to_vec();
    head.extend([kind, 0, 0, 0, 0]);
    head
}

#[test]
fn what_is_too_large_is_refused_at_its_head() {
    let limits = Limits { control: 100, listing: 200, bulk: 300, entry: 400 };
    let refused = |len: u32, kind| matches!(decode(&head(len + 5, kind), &limits), Err(WireError::TooMuch { .. }));
    for (kind, most) in [(1, 100), (2, 100), (3, 200), (7, 100), (32, 424), (33, 320), (34, 332)] {
        assert!(!refused(most, kind) && refused(most + 1, kind), "kind {kind}");
    }
    assert_eq!(decode(&head(4, 1), &limits), Err(WireError::Short(4)));
    assert_eq!(decode(&head(50, 12), &limits), Err(WireError::Unknown(12)));
}

#[test]
fn only_one_entry_alone_may_be_larger_than_a_run() {
    let limits = Limits { bulk: 8, entry: 32, ..Limits::default() };
    let run = |first, last, len: usize| {
        let mut bytes = Vec::new();
        encode(&Message::Entries(Entries { first: Lsn(first), last: Lsn(last), committed: Lsn(0), raw: &vec![7; len] }), &mut bytes);
        decode(&bytes, &limits).map(|_| ())
    };
    assert_eq!(run(1, 2, 8), Ok(()));
    assert_eq!(run(2, 2, 32), Ok(()));
    assert!(run(1, 2, 9).is_err() && run(2, 2, 33).is_err());
    assert!(run(2, 1, 8).is_err() && run(0, 1, 8).is_err() && run(1, 1, 0).is_err());
}

fn refused(message: &Message<'_>) -> bool {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    matches!(decode(&bytes, &Limits::default()), Err(WireError::Malformed(_)))
}

#[test]
fn contents_that_cannot_be_are_refused() {
    let Some(Message::Hello(hello)) = messages().into_iter().next() else { panic!("hello") };
    assert!(refused(&Message::Hello(Hello { version: 0, ..hello.clone() })));
    assert!(refused(&Message::Hello(Hello { lineage: Lineage { last: Lsn(3), ..lineage() }, ..hello })));
    let file = |name: &str| File { name: name.into(), bytes: 1, sealed: true, from: 0 };
    let listing = |files| Message::Listing(Listing { id: SnapshotId(1), lsn: Lsn(1), manifest: Vec::new(), files, above: Lsn(0) });
    assert!(refused(&listing(vec![file("../00.seg")])), "a peer does not choose the directory");
    assert!(refused(&listing(vec![file("00.seg"), file("00.seg")])));
    assert!(!refused(&listing(vec![file("00.seg"), file("01.seg")])));
    let piece = |offset, raw| Message::Piece(Piece { id: SnapshotId(1), file: 0, offset, raw });
    assert!(refused(&piece(u64::MAX, b"xx")) && refused(&piece(0, b"")));
    assert!(refused(&Message::ValuePiece(ValuePiece { id: 1, total: 4, offset: 3, raw: b"xx" })));
}

#[test]
fn fields_of_a_later_version_are_left_alone() {
    let mut bytes = Vec::new();
    encode(&Message::SnapshotDone(SnapshotId(8)), &mut bytes);
    let mut payload = bytes.split_off(FRAME_HEAD);
    payload.extend([9 << 3, 1, 10 << 3 | 2, 3, b'a', b'b', b'c']);
    let crc = frame::checksum(FrameKind::SnapshotDone, &[&payload]);
    let mut frame = frame::frame_head(FrameKind::SnapshotDone, payload.len(), crc).to_vec();
    frame.extend(payload);
    assert_eq!(decode(&frame, &Limits::default()), Ok(Decoded::Message(Message::SnapshotDone(SnapshotId(8)), frame.len())));
}

#[test]
fn reasons_are_cut_between_characters() {
    let mut bytes = Vec::new();
    encode(&Message::Bye(Bye { code: ByeCode::Storage, reason: "ä".repeat(1000) }), &mut bytes);
    let Ok(Decoded::Message(Message::Bye(bye), _)) = decode(&bytes, &Limits::default()) else { panic!("{bytes:?}") };
    assert_eq!(bye.reason, "ä".repeat(512));
}

#[test]
fn codes_keep_their_numbers() {
    for number in 0..12 {
        assert_eq!(ByeCode::from_number(number).to_number(), number);
    }
}
