//! Flipped bits: those in what was flushed stop the start and change nothing, those above are a torn tail, and none goes unnoticed.

use std::collections::BTreeMap;

use esker_storage::fs::{Directory, FaultyDirectory};
use esker_storage::options::SyncMode;
use esker_storage::segment::torn::TornTail;
use esker_storage::segment::{Continuity, Frame, SEGMENT_HEADER, SegmentHeader, SegmentReader};
use esker_storage::shard::{Shard, StorageError};
use esker_storage::types::Lsn;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::History;
use super::support::*;

const SHARD: &str = "shard-0";

/// All files of the shard, but for what is derived.
fn contents(files: &FaultyDirectory) -> BTreeMap<String, Vec<u8>> {
    let directory = files.directory().subdirectory(SHARD).unwrap();
    let names = directory.list().unwrap();
    names.into_iter().filter(|name| name != "index").map(|name| (name.clone(), read(&*directory, &name))).collect()
}

fn read(directory: &dyn Directory, name: &str) -> Vec<u8> {
    let file = directory.open_read_only(name).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

/// What a start or `verify` makes of a segment's bytes: whether header and frames pass, and nothing but zeros follows.
fn is_sound(bytes: &[u8], like: &SegmentHeader) -> bool {
    if SegmentHeader::decode(bytes).ok().as_ref() != Some(like) {
        return false;
    }
    let mut reader = SegmentReader::new(bytes, like.seed(), Continuity::Every, like.base_lsn, like.epoch);
    reader.by_ref().all(|frame| frame.is_ok()) && bytes[reader.offset()..].iter().all(|byte| *byte == 0)
}

fn write_many(shard: &Shard, history: &History, rng: &mut StdRng, entries: usize) {
    for _ in 0..entries {
        write_one(shard, history, rng, Mix { keys: 20, ..MIX }).unwrap();
    }
}

/// A filesystem with one active segment: `flushed` entries, a mark that says so, and `more` entries behind it.
fn with_mark(history: &History, flushed: usize, more: usize) -> FaultyDirectory {
    let mut rng = StdRng::seed_from_u64(7);
    let files = FaultyDirectory::new();
    let shard = open(&files, SyncMode::No);
    write_many(&shard, history, &mut rng, flushed);
    shard.flush_log().unwrap();
    write_many(&shard, history, &mut rng, more);
    shard.abandon();
    let killed = files.kill().unwrap();
    // Without the index the whole log is read.
    killed.directory().subdirectory(SHARD).unwrap().remove("index").unwrap();
    killed
}

fn the_segment(files: &FaultyDirectory) -> (String, Vec<u8>) {
    contents(files).into_iter().find(|(name, bytes)| name.ends_with(".seg") && SegmentHeader::decode(bytes).unwrap().value_id == 0).unwrap()
}

/// For each frame: where it ends, the LSN that is missing if it is bad, and what it says was flushed.
fn frames(segment: &[u8]) -> Vec<(usize, Lsn, Option<Lsn>)> {
    let header = SegmentHeader::decode(segment).unwrap();
    let mut reader = SegmentReader::new(segment, header.seed(), Continuity::Every, header.base_lsn, header.epoch);
    let mut frames = Vec::new();
    let mut expected = header.base_lsn;
    while let Some(frame) = reader.next() {
        let (_, frame) = frame.unwrap();
        let flushed = if let Frame::FlushMark(mark) = frame { Some(mark.flushed) } else { None };
        frames.push((reader.offset(), expected, flushed));
        expected = reader.last_lsn().next();
    }
    frames
}

#[test]
fn every_flipped_bit_up_to_the_written_end_is_detected() {
    let history = History::default();
    let files = with_mark(&history, 15, 10);
    let (_, mut bytes) = the_segment(&files);
    let header = SegmentHeader::decode(&bytes).unwrap();
    let written = frames(&bytes).last().unwrap().0;
    bytes.truncate(written + 100);
    assert!(is_sound(&bytes, &header));
    for bit in 0..(written + 100) * 8 {
        assert!(!is_sound(&flip(&bytes, bit), &header), "bit {bit} of {written} bytes");
    }
}

#[test]
fn every_flipped_bit_of_the_manifest_is_detected() {
    let files = with_mark(&History::default(), 3, 3);
    let bytes = contents(&files).remove("MANIFEST").unwrap();
    for bit in 0..bytes.len() * 8 {
        assert!(esker_storage::manifest::Manifest::decode(&flip(&bytes, bit)).is_err(), "bit {bit}");
    }
}

#[test]
fn rot_in_what_was_flushed_stops_the_start_and_rot_above_is_a_torn_tail() {
    let history = History::default();
    let files = with_mark(&history, 30, 30);
    let (name, bytes) = the_segment(&files);
    let frames = frames(&bytes);
    let written = frames.last().unwrap().0;
    let mut rng = StdRng::seed_from_u64(base_seed());
    let (mut stopped, mut cut) = (0, 0);
    for _ in 0..250 {
        let (offset, bit) = (rng.random_range(SEGMENT_HEADER..written), rng.random_range(0..8));
        let (number, (_, lsn, _)) = frames.iter().enumerate().find(|(_, (end, ..))| *end > offset).unwrap();
        // A mark that is hit itself tells nothing.
        let flushed = frames.iter().enumerate().filter(|(at, _)| *at != number).filter_map(|(_, frame)| frame.2).max().unwrap_or(Lsn(0));
        let what = format!("offset {offset} bit {bit}, LSN {lsn}, flushed {flushed}");
        let rotten = files.kill().unwrap();
        rotten.flip_bit(&format!("{SHARD}/{name}"), offset as u64, bit).unwrap();
        let before = contents(&rotten);
        match try_open(&rotten.directory()) {
            Err(StorageError::Corrupt { path, lsn: found, .. }) => {
                assert!(*lsn <= flushed && found == *lsn && path.ends_with(&name), "{what}: {}", path.display());
                assert!(contents(&rotten) == before, "{what}: the directory was changed");
                stopped += 1;
            }
            Err(error) => panic!("{what}: {error}"),
            Ok(shard) => {
                assert!(*lsn > flushed, "{what}: taken for a torn tail");
                assert_eq!(check(&shard, &history, flushed, &what).next(), *lsn, "{what}");
                // Its threads change files too.
                shard.abandon();
                let start = frames.get(number.wrapping_sub(1)).map_or(SEGMENT_HEADER, |frame| frame.0);
                check_torn_file(&rotten, *lsn, start, &before[&name][start..written], &what);
                cut += 1;
            }
        }
    }
    assert!(stopped > 20 && cut > 20, "{stopped} stopped, {cut} cut");
}

/// What was cut is in a file, whole.
fn check_torn_file(files: &FaultyDirectory, lsn: Lsn, offset: usize, bytes: &[u8], what: &str) {
    let saved: Vec<_> = contents(files).into_iter().filter(|(name, _)| name.starts_with("torn-")).collect();
    assert_eq!(saved.len(), 1, "{what}");
    let torn = TornTail::decode(&saved[0].1).unwrap();
    assert_eq!((torn.lsn, torn.offset), (lsn, offset as u64), "{what}");
    assert!(torn.bytes == bytes, "{what}: the saved bytes are not those that were cut");
}

#[test]
fn rot_in_a_sealed_segment_is_never_cut() {
    let history = History::default();
    let mut rng = StdRng::seed_from_u64(base_seed());
    let files = FaultyDirectory::new();
    let shard = open(&files, SyncMode::No);
    while shard.log().appended_bytes() < 3 << 20 {
        write_one(&shard, &history, &mut rng, MIX).unwrap();
    }
    shard.close().unwrap();
    drop(shard);
    let sealed: Vec<(String, Vec<u8>)> =
        contents(&files).into_iter().filter(|(name, _)| name.contains('-') && name.ends_with(".seg")).collect();
    assert!(sealed.len() >= 3);
    for _ in 0..40 {
        let (name, bytes) = &sealed[rng.random_range(0..sealed.len())];
        let offset = rng.random_range(0..bytes.len());
        let rotten = files.power_loss(rng.random()).unwrap();
        rotten.flip_bit(&format!("{SHARD}/{name}"), offset as u64, rng.random_range(0..8)).unwrap();
        let before = contents(&rotten);
        let error = try_open(&rotten.directory()).err().unwrap_or_else(|| panic!("{name} offset {offset}: opened"));
        assert!(matches!(error, StorageError::Corrupt { .. } | StorageError::FutureVersion { .. }), "{name} offset {offset}: {error}");
        assert!(error.to_string().contains(name.as_str()), "{error}");
        assert!(contents(&rotten) == before, "{name} offset {offset}: the directory was changed");
    }
}

#[test]
fn a_checkpoint_tells_that_the_log_below_it_was_flushed() {
    let history = History::default();
    let mut rng = StdRng::seed_from_u64(3);
    let files = FaultyDirectory::new();
    let shard = open(&files, SyncMode::No);
    write_many(&shard, &history, &mut rng, 30);
    shard.checkpoint().unwrap();
    shard.abandon();
    // No mark was written, yet the checkpoint points into the last entry.
    let rotten = files.power_loss(1).unwrap();
    let (name, bytes) = the_segment(&rotten);
    let written = frames(&bytes).last().unwrap().0;
    rotten.flip_bit(&format!("{SHARD}/{name}"), written as u64 - 1, 0).unwrap();
    let error = try_open(&rotten.directory()).err().expect("opened");
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

#[test]
fn a_rotten_checkpoint_is_not_used() {
    let history = History::default();
    let mut rng = StdRng::seed_from_u64(base_seed());
    let files = FaultyDirectory::new();
    let shard = open(&files, SyncMode::No);
    write_many(&shard, &history, &mut rng, 200);
    shard.checkpoint().unwrap();
    write_many(&shard, &history, &mut rng, 20);
    let last = shard.flush_log().unwrap();
    shard.abandon();
    let (name, bytes) = contents(&files).into_iter().find(|(name, _)| name.starts_with("checkpoint-")).unwrap();
    for _ in 0..60 {
        let rotten = files.power_loss(rng.random()).unwrap();
        let (offset, bit) = (rng.random_range(0..bytes.len() as u64), rng.random_range(0..8));
        rotten.flip_bit(&format!("{SHARD}/{name}"), offset, bit).unwrap();
        let shard = open(&rotten, SyncMode::No);
        assert_eq!(shard.recovery_report().keys_from_checkpoint, 0, "offset {offset} bit {bit}");
        check(&shard, &history, last, &format!("offset {offset} bit {bit}"));
    }
    // Nor one that is cut, nor one that is gone.
    for cut in [true, false] {
        let lost = files.power_loss(rng.random()).unwrap();
        let directory = lost.directory().subdirectory(SHARD).unwrap();
        if cut {
            directory.open(&name).unwrap().set_len(bytes.len() as u64 / 2).unwrap();
        } else {
            directory.remove(&name).unwrap();
        }
        check(&open(&lost, SyncMode::No), &history, last, "a checkpoint that is cut or gone");
    }
}

#[test]
fn a_rotten_record_is_an_error_and_never_a_wrong_value() {
    let mut rng = StdRng::seed_from_u64(base_seed());
    let files = FaultyDirectory::new();
    let shard = open(&files, SyncMode::No);
    let value = |n: usize| format!("value {n} ").repeat(100).into_bytes();
    for n in 0..2000 {
        set(&shard, &format!("key:{n}"), &value(n)).unwrap();
    }
    shard.close().unwrap();
    drop(shard);
    for cold in [false, true] {
        let rotten = files.kill().unwrap();
        rotten.set_cold(cold);
        let sealed: Vec<_> = contents(&rotten).into_iter().filter(|(name, _)| name.ends_with(".seg")).collect();
        for (name, bytes) in &sealed {
            (0..20).for_each(|_| rotten.flip_bit(&format!("{SHARD}/{name}"), rng.random_range(200..bytes.len() as u64 / 2), 3).unwrap());
        }
        // The index is trusted: nothing before its position is read at the start.
        let shard = try_open(&rotten.directory()).unwrap();
        let mut errors = 0;
        for n in 0..2000 {
            let key = format!("key:{n}");
            match run(&shard, Some(&[&key]), |txn| {
                Ok(txn.get(esker_storage::types::Db(0), &shard.key(key.as_bytes()))?.unwrap().data.into_owned())
            }) {
                Ok((found, _)) => assert!(found == value(n), "{key}"),
                Err(StorageError::Corrupt { .. }) => errors += 1,
                Err(error) => panic!("{key}: {error}"),
            }
        }
        assert!(errors > 0, "no flipped bit hit a record");
    }
}
