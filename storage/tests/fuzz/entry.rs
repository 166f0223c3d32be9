//! Entries, ops and their bodies.

use esker_storage::codec::checksum::{ShardSeed, crc};
use esker_storage::codec::control::{EpochStart, ExpiredUpTo, FlushedTable, SwappedDatabases};
use esker_storage::codec::delta::Delta;
use esker_storage::codec::entry::{EntryBuilder, EntryHead, EntryView, Session, encode_single, single_len};
use esker_storage::codec::evicted::Evicted;
use esker_storage::codec::flush_mark::FlushMark;
use esker_storage::codec::op::{Op, OpCode, OpHeader, OpView};
use esker_storage::codec::value_ref::ValueRef;
use esker_storage::types::{EpochNumber, HistoryId, Incarnation, Lsn, NodeId, ShardId, TableId, UnixMillis};
use rand::Rng;
use rand::rngs::StdRng;

use super::driver::fuzz;
use super::mutate::{mutate, noise};

/// Bytes of the header of an entry with one op and no session.
const HEADER: usize = 28;

pub fn seed() -> ShardSeed {
    ShardSeed::new(HistoryId(77), ShardId(2))
}

/// An entry of random ops, some of them with bodies that mean nothing.
pub fn entry(rng: &mut StdRng, lsn: Lsn) -> Vec<u8> {
    let head = EntryHead { lsn, epoch: EpochNumber(3), time: UnixMillis(1_700_000_000_000) };
    let (len, key_len) = (rng.random_range(0..80), rng.random_range(0..20));
    let (body, key) = (noise(rng, len), noise(rng, key_len));
    let table = TableId(if rng.random_bool(0.1) { rng.random() } else { rng.random_range(0..200) });
    let put = Op { expire_at: rng.random_bool(0.3).then(|| UnixMillis(rng.random())), ..Op::put(table, &key, &body, rng.random()) };
    let codes = [OpCode::FlushTables, OpCode::SwapDatabases, OpCode::EpochStart, OpCode::Evict, OpCode::ExpiredUpTo];
    let op = match rng.random_range(0..6) {
        0 => Op::tombstone(table, &key),
        1 => Op::control(codes[rng.random_range(0..codes.len())], &body),
        2 => Op::delta(table, &key, &body[..body.len() / 2], &body[body.len() / 2..], rng.random()),
        3 => Op { value_segment: true, ..put },
        _ => put,
    };
    if rng.random_bool(0.5) {
        let mut bytes = vec![0; single_len(&op)];
        encode_single(&mut bytes, head, seed(), &op);
        return bytes;
    }
    let session = rng.random_bool(0.5).then(|| Session {
        node: NodeId(rng.random()),
        incarnation: Incarnation(rng.random()),
        sequence: rng.random(),
    });
    let mut builder = EntryBuilder::new(session);
    for _ in 0..rng.random_range(1..5) {
        builder.push(if rng.random_bool(0.5) { &op } else { &put });
    }
    let mut bytes = vec![0; builder.encoded_len()];
    builder.finish(head, seed(), &mut bytes);
    bytes
}

/// Makes the checksums of an entry with one op right again, so that the decoder believes the rest.
fn make_checksums_right(bytes: &mut [u8]) {
    if bytes.len() < HEADER + 4 {
        return;
    }
    let lsn = u64::from_le_bytes(bytes[14..22].try_into().unwrap());
    let len = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let end = len.clamp(HEADER + 4, bytes.len());
    let seed = seed().lsn(Lsn(lsn));
    let op = seed.op(0).crc(&bytes[HEADER + 4..end]).to_le_bytes();
    bytes[HEADER..HEADER + 4].copy_from_slice(&op);
    let frame = crc(seed.crc(&bytes[4..HEADER]), &op).to_le_bytes();
    bytes[..4].copy_from_slice(&frame);
}

/// Everything that is done with an op's bytes.
fn decode_body(op: &OpView<'_>) {
    let _ = Delta::decode(op.body).map(|delta| delta.written().len());
    let _ = ValueRef::decode(op.body);
    let _ = FlushedTable::decode_all(op.body);
    let _ = SwappedDatabases::decode(op.body);
    let _ = EpochStart::decode(op.body);
    let _ = ExpiredUpTo::decode(op.body);
    let _ = Evicted::decode(op.body);
}

/// Decodes at the front and checks what must hold of what passes.
fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let _ = OpHeader::parse(bytes).map(|header| (header.header_len, header.key_len));
    let _ = FlushMark::parse(bytes, seed());
    if let Ok(op) = OpView::parse(bytes) {
        assert!(op.bytes.len() <= bytes.len() && op.key.len() + op.body.len() <= op.bytes.len());
        decode_body(&op);
    }
    let entry = EntryView::parse(bytes, seed()).ok()?;
    let ops: Vec<_> = entry.ops().collect();
    assert_eq!(ops.len(), entry.header().ops as usize, "ops of an entry that passed");
    for (number, (distance, op)) in (0..).zip(&ops) {
        assert!(op.verify(seed().lsn(entry.head().lsn).op(number)).is_ok());
        assert_eq!(&entry.bytes()[*distance as usize..][..op.bytes.len()], op.bytes);
        decode_body(op);
    }
    Some(entry.bytes().to_vec())
}

#[test]
fn damaged_entries_are_refused() {
    fuzz("entries", |rng| {
        let lsn = Lsn(rng.random());
        let sound = entry(rng, lsn);
        // A body of noise is refused by what it should mean; everything else passes as it was written.
        if let Some(decoded) = decode(&sound) {
            assert_eq!(decoded, sound);
        }
        for _ in 0..20 {
            let mut bytes = sound.clone();
            mutate(rng, &mut bytes);
            if let Some(decoded) = decode(&bytes) {
                assert_eq!(decoded, sound, "a damaged entry passed");
            }
            make_checksums_right(&mut bytes);
            decode(&bytes);
        }
        let len = rng.random_range(0..100);
        decode(&noise(rng, len));
    });
}
