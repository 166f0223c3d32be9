//! The decoder of peer messages, fed with what no peer would send: for a bounded time, from a corpus that knows the structure, with lengths and
//! checksums made right again so that what lies behind them is reached too. No panic, no memory taken on a claim, and what is accepted can be
//! sent again.
//!
//! ESKER_FUZZ_SECONDS says how long each target runs (2 by default), ESKER_SEED with which seed; a failure prints its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../storage/tests/fuzz/driver.rs"]
mod driver;
#[path = "../storage/tests/fuzz/mutate.rs"]
mod mutate;

use esker::replication::lineage::{Lineage, RefusalCode};
use esker::replication::wire::{
    Ack, Bye, ByeCode, Decoded, Entries, FRAME_HEAD, File, Heartbeat, Hello, Lacking, Limits, Listing, Message, Piece, SnapshotId,
    TakeOver, TookOver, ValuePiece, Want, Welcome, WelcomePlan, decode, encode,
};
use esker_storage::manifest::Epoch;
use esker_storage::types::{EpochNumber, HistoryId, Incarnation, Lsn, NodeId, ShardId, UnixMillis, WriterId};
use rand::Rng;
use rand::rngs::StdRng;

use driver::fuzz;
use mutate::{mutate, noise};

const LIMITS: Limits = Limits { control: 4 << 10, listing: 16 << 10, bulk: 8 << 10, entry: 16 << 10 };

fn number(rng: &mut StdRng) -> u64 {
    let bits = rng.random_range(0..=64);
    if bits == 0 { 0 } else { rng.random::<u64>() >> (64 - bits) }
}

fn lineage(rng: &mut StdRng) -> Lineage {
    let mut lineage = Lineage { shard: ShardId(rng.random()), history: HistoryId(rng.random()), ..Lineage::default() };
    for epoch in 0..rng.random_range(0..5) {
        lineage.epochs.push(Epoch { number: EpochNumber(epoch), writer: WriterId(rng.random()), first: lineage.last.next() });
        lineage.last.0 += rng.random_range(0..1000);
    }
    lineage.cleaned = Lsn(rng.random_range(0..=lineage.last.0));
    lineage.horizon = Lsn(number(rng));
    lineage
}

fn name(rng: &mut StdRng) -> String {
    format!("{:020}-{:08}.seg", number(rng) >> 8, rng.random_range(0..100))
}

fn hello(rng: &mut StdRng) -> Hello {
    Hello {
        version: rng.random_range(1..3),
        node: NodeId(number(rng)),
        incarnation: Incarnation(number(rng)),
        listening_port: rng.random(),
        announce_ip: ["", "::1", "host"][rng.random_range(0..3)].into(),
        lineage: lineage(rng),
        keys: number(rng),
        force: rng.random(),
        whole: rng.random(),
        damaged: rng.random(),
    }
}

fn welcome(rng: &mut StdRng) -> Welcome {
    let plan = match rng.random_range(0..4) {
        0 => WelcomePlan::Continue { from: Lsn(number(rng)) },
        1 => WelcomePlan::Snapshot { id: SnapshotId(number(rng)), lsn: Lsn(number(rng)) },
        2 => WelcomePlan::Cut { to: Lsn(number(rng)) },
        _ => WelcomePlan::Refuse { code: RefusalCode::from_number(rng.random_range(0..9)), reason: "a reason".into() },
    };
    let (node, incarnation) = (NodeId(number(rng)), Incarnation(number(rng)));
    Welcome { version: 1, node, incarnation, lineage: lineage(rng), keys: number(rng), common: Lsn(number(rng)), plan }
}

fn listing(rng: &mut StdRng) -> Listing {
    let file = |rng: &mut StdRng| {
        let from = number(rng) >> 1;
        File { name: name(rng), bytes: from + (number(rng) >> 1), sealed: rng.random(), from }
    };
    let mut files: Vec<File> = (0..rng.random_range(0..6)).map(|_| file(rng)).collect();
    files.sort_by(|one, other| one.name.cmp(&other.name));
    files.dedup_by(|one, other| one.name == other.name);
    let len = rng.random_range(0..100);
    Listing { id: SnapshotId(number(rng)), lsn: Lsn(number(rng)), manifest: noise(rng, len), files, above: Lsn(number(rng)) }
}

fn message<'a>(rng: &mut StdRng, raw: &'a [u8]) -> Message<'a> {
    let lsn = |rng: &mut StdRng| Lsn(number(rng));
    match rng.random_range(0..14) {
        0 => Message::Hello(hello(rng)),
        12 => {
            let len = rng.random_range(0..200);
            Message::Lacking(Lacking { id: SnapshotId(number(rng)), ops: noise(rng, len) })
        }
        1 => Message::Welcome(welcome(rng)),
        2 => Message::Listing(listing(rng)),
        3 => Message::Want(Want { id: SnapshotId(number(rng)), file: rng.random(), offset: number(rng) }),
        4 => Message::SnapshotDone(SnapshotId(number(rng))),
        5 => {
            let (epoch, time) = (EpochNumber(rng.random()), UnixMillis(rng.random()));
            Message::Heartbeat(Heartbeat { written: lsn(rng), committed: lsn(rng), epoch, time })
        }
        6 => Message::Ack(Ack { written: lsn(rng), flushed: lsn(rng), applied: lsn(rng), readable: lsn(rng) }),
        7 => Message::Bye(Bye { code: if rng.random() { ByeCode::Timeout } else { ByeCode::Other(99) }, reason: "because".into() }),
        8 => {
            let first = rng.random_range(1..1000);
            Message::Entries(Entries { first: Lsn(first), last: Lsn(first + rng.random_range(0..9)), committed: lsn(rng), raw })
        }
        9 => Message::TakeOver(TakeOver { lsn: lsn(rng), epoch: EpochNumber(rng.random()), force: rng.random() }),
        10 => {
            let refused = if rng.random() { String::new() } else { "a reason".to_owned() };
            Message::TookOver(TookOver { epoch: EpochNumber(rng.random()), refused })
        }
        11 => Message::Piece(Piece { id: SnapshotId(number(rng)), file: rng.random(), offset: number(rng) >> 1, raw }),
        _ => {
            let offset = rng.random_range(0..1000);
            Message::ValuePiece(ValuePiece { id: rng.random(), total: offset + raw.len() as u64, offset, raw })
        }
    }
}

/// Makes length and checksum those of what follows them.
fn repair(bytes: &mut [u8]) {
    let counted = bytes.len() as u32 - 4;
    let Some((head, payload)) = bytes.split_first_chunk_mut::<FRAME_HEAD>() else { return };
    head[..4].copy_from_slice(&counted.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[4..5]);
    hasher.update(payload);
    head[5..].copy_from_slice(&hasher.finalize().to_le_bytes());
}

/// What is accepted is one message, which can be sent again.
fn check(bytes: &[u8]) {
    match decode(bytes, &LIMITS) {
        Ok(Decoded::Message(message, len)) => {
            assert!(len <= bytes.len());
            let mut again = Vec::new();
            encode(&message, &mut again);
            assert_eq!(decode(&again, &LIMITS), Ok(Decoded::Message(message, again.len())));
        }
        Ok(Decoded::Incomplete(needed)) => assert!(needed > bytes.len() && needed <= FRAME_HEAD + (32 << 10), "{needed}"),
        Err(_) => {}
    }
}

#[test]
fn damaged_messages_are_refused_or_sound() {
    fuzz("peer messages", |rng| {
        let len = rng.random_range(1..200);
        let raw = noise(rng, len);
        let message = message(rng, &raw);
        let mut sound = Vec::new();
        encode(&message, &mut sound);
        assert_eq!(decode(&sound, &LIMITS), Ok(Decoded::Message(message, sound.len())));
        for _ in 0..20 {
            let mut bytes = sound.clone();
            mutate(rng, &mut bytes);
            check(&bytes);
            if bytes.len() >= FRAME_HEAD {
                repair(&mut bytes);
                check(&bytes);
            }
        }
    });
}

#[test]
fn random_bytes_are_no_danger() {
    fuzz("random peer messages", |rng| {
        let len = rng.random_range(0..300);
        let mut bytes = noise(rng, len);
        check(&bytes);
        if len >= FRAME_HEAD {
            bytes[4] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 32, 33, 34][rng.random_range(0..13)];
            repair(&mut bytes);
            check(&bytes);
        }
    });
}
