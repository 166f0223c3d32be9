#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::codec::checksum::crc;
use crate::fs::RealDirectory;

fn sample() -> Manifest {
    let mut manifest = Manifest::new(ShardId(1), NodeId(2), HistoryId(3), 4);
    manifest.identity.next_generation = Generation(30);
    manifest.identity.next_segment = SegmentId(9);
    manifest.identity.spare = Some(Generation(29));
    manifest.histories.push(HistoryStart { history: HistoryId(1 << 100), first: Lsn(50) });
    manifest.epochs = vec![
        Epoch { number: EpochNumber(1), writer: WriterId(11), first: Lsn(1) },
        Epoch { number: EpochNumber(3), writer: WriterId(12), first: Lsn(40) },
    ];
    let sealed = SegmentEntry {
        id: SegmentId(7),
        generation: Generation(27),
        kind: SegmentKind::Log,
        state: SegmentState::Sealed { last: Lsn(60), bytes: 4096 },
        base: Lsn(1),
        stamp: 5,
    };
    let active = SegmentEntry { id: SegmentId(8), generation: Generation(28), state: SegmentState::Active, base: Lsn(61), ..sealed };
    manifest.segments = vec![sealed, active];
    manifest.checkpoint = Some(Checkpoint { lsn: Lsn(60), replay_from: Lsn(55) });
    manifest.clean_stop = Some(CleanStop { incarnation: Incarnation(6), flushed: Lsn(70) });
    manifest.value_segments = ValueSegments { lsn: Lsn(60), ids: vec![1, u128::MAX] };
    manifest.tables.databases[3] = TableId(40);
    manifest.tables.next = TableId(41);
    manifest.kept = vec![KeptSection { tag: 0x8005, bytes: b"later".to_vec() }];
    manifest
}

/// Makes the CRC right again after a change.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 4);
    let crc = crc(0, &bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

#[test]
fn all_sections_round_trip() {
    assert_eq!(Manifest::decode(&sample().encode()), Ok(sample()));
    let empty = Manifest::new(ShardId(0), NodeId(0), HistoryId(0), 0);
    assert_eq!(Manifest::decode(&empty.encode()), Ok(empty));
}

#[test]
fn every_bit_flip_and_every_cut_is_detected() {
    let bytes = sample().encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
    }
    for cut in 0..bytes.len() {
        assert!(Manifest::decode(&bytes[..cut]).is_err());
    }
}

#[test]
fn unknown_section_is_refused_unless_it_is_optional() {
    let mut manifest = sample();
    manifest.kept[0].tag = 99;
    let (offset, error) = Manifest::decode(&manifest.encode()).unwrap_err();
    assert_eq!(error, DecodeError::Section(99));
    assert_eq!(&manifest.encode()[offset..offset + 2], &[99, 0]);
}

#[test]
fn contradictions_are_refused() {
    let refused = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = sample();
        change(&mut manifest);
        assert!(Manifest::decode(&manifest.encode()).is_err());
    };
    refused(&|manifest| manifest.segments[1].id = SegmentId(7));
    refused(&|manifest| manifest.segments[1].generation = Generation(29));
    refused(&|manifest| manifest.segments[1].generation = Generation(30));
    refused(&|manifest| manifest.epochs.reverse());
    refused(&|manifest| manifest.histories.clear());
    refused(&|manifest| manifest.kept.push(KeptSection { tag: 6, bytes: vec![0; 16] }));
}

#[test]
fn lookups_by_lsn_find_what_was_in_force() {
    let manifest = sample();
    assert_eq!(manifest.history(), HistoryId(1 << 100));
    assert_eq!(manifest.history_at(Lsn(49)), HistoryId(3));
    assert_eq!(manifest.history_at(Lsn(50)), HistoryId(1 << 100));
    assert_eq!(manifest.epoch_at(Lsn(39)).unwrap().number, EpochNumber(1));
    assert_eq!(manifest.epoch_at(Lsn(40)).unwrap().number, EpochNumber(3));
    assert_eq!(manifest.epoch_at(Lsn(0)), None);
    assert_eq!(manifest.active().unwrap().id, SegmentId(8));
    assert_eq!(manifest.segment(SegmentId(7)).unwrap().generation, Generation(27));
}

#[test]
fn stored_manifest_is_loaded_and_a_damaged_one_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let directory = RealDirectory::open(place.path()).unwrap();
    assert_eq!(Manifest::load(&directory).unwrap(), None);
    let mut manifest = sample();
    manifest.store(&directory).unwrap();
    manifest.clean_stop = None;
    manifest.store(&directory).unwrap();
    assert_eq!(Manifest::load(&directory).unwrap(), Some(manifest.clone()));
    assert_eq!(directory.list().unwrap(), [MANIFEST]);

    let mut bytes = manifest.encode();
    bytes[8] = 2;
    directory.create(MANIFEST).unwrap().write_at(0, &resealed(bytes.clone())).unwrap();
    assert!(matches!(Manifest::load(&directory), Err(StorageError::FutureVersion { found: 2, .. })));
    bytes[8] = 1;
    bytes[40] ^= 1;
    directory.create(MANIFEST).unwrap().write_at(0, &bytes).unwrap();
    assert!(matches!(Manifest::load(&directory), Err(StorageError::Corrupt { .. })));
}

#[test]
fn random_bytes_never_panic() {
    let mut random = StdRng::seed_from_u64(5);
    let sound = sample().encode();
    for _ in 0..20_000 {
        let mut bytes = sound.clone();
        for _ in 0..random.random_range(1..10) {
            let at = random.random_range(12..bytes.len());
            bytes[at] = random.random();
        }
        bytes.truncate(random.random_range(20..=bytes.len()));
        let _ = Manifest::decode(&resealed(bytes));
    }
}
