//! A segment is sealed in two steps, footer and manifest; power may be lost between them, or within the first.

use esker_storage::fs::FaultyDirectory;
use esker_storage::manifest::{Manifest, SegmentState};
use esker_storage::options::SyncMode;
use esker_storage::types::Lsn;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::History;
use super::support::*;

/// Two full segments and an active one; the manifest of the first two says that they are not sealed yet.
fn not_yet_sealed(history: &History) -> (FaultyDirectory, Lsn) {
    let mut rng = StdRng::seed_from_u64(base_seed());
    let files = FaultyDirectory::new();
    let shard = open(&files, SyncMode::No);
    while shard.log().appended_bytes() < 2500 << 10 {
        write_one(&shard, history, &mut rng, MIX).unwrap();
    }
    shard.close().unwrap();
    let last = shard.written_lsn();
    drop(shard);
    let directory = files.directory().subdirectory("shard-0").unwrap();
    let mut manifest = Manifest::load(&*directory).unwrap().unwrap();
    assert!(manifest.segments.len() >= 3);
    manifest.segments.iter_mut().for_each(|segment| segment.state = SegmentState::Active);
    manifest.store(&*directory).unwrap();
    (files, last)
}

/// Opens, writes, and opens again from what power loss leaves: what was sealed the second time must be sound too.
fn open_twice(files: &FaultyDirectory, history: &History, last: Lsn, what: &str) {
    let shard = open(files, SyncMode::No);
    assert_eq!(check(&shard, history, last, what), last, "{what}");
    let key_after = set(&shard, "after", b"value").unwrap();
    shard.close().unwrap();
    drop(shard);
    let again = open(&files.power_loss(1).unwrap(), SyncMode::No);
    assert_eq!(get(&again, "after").as_deref(), Some(&b"value"[..]), "{what}");
    assert_eq!(again.recovery_report().last_lsn, key_after, "{what}");
}

/// Was: the second seal put a footer behind the first one, and the start after that found bytes behind a footer.
#[test]
fn footer_that_the_manifest_does_not_know_of_is_written_again() {
    let history = History::default();
    let (files, last) = not_yet_sealed(&history);
    open_twice(&files, &history, last, "whole footers");
}

/// Was: a footer torn while the next segment was already flushed looked like damage below the flushed LSN, and the start was refused.
#[test]
fn torn_footer_is_written_again() {
    let history = History::default();
    let (files, last) = not_yet_sealed(&history);
    let mut rng = StdRng::seed_from_u64(base_seed());
    let directory = files.directory().subdirectory("shard-0").unwrap();
    let manifest = Manifest::load(&*directory).unwrap().unwrap();
    let first = manifest.segments.iter().min_by_key(|segment| segment.base).unwrap();
    let name = format!("{:020}-{:08}.seg", first.base.0, first.generation.0);
    let len = directory.open(&name).unwrap().len().unwrap();
    for _ in 0..10 {
        let torn = files.kill().unwrap();
        // The footer begins in the last tenth at the latest: hints take 16 bytes an op.
        let offset = rng.random_range(len - 5_000..len);
        torn.flip_bit(&format!("shard-0/{name}"), offset, 1).unwrap();
        torn.directory().subdirectory("shard-0").unwrap().remove("index").unwrap();
        open_twice(&torn, &history, last, &format!("a footer torn at {offset} of {len}"));
    }
}

/// Hints are written before what makes them a footer: a kill in between leaves them behind zeros.
#[test]
fn hints_without_the_head_of_their_footer_are_written_again() {
    let history = History::default();
    let (files, last) = not_yet_sealed(&history);
    let directory = files.directory().subdirectory("shard-0").unwrap();
    let manifest = Manifest::load(&*directory).unwrap().unwrap();
    let first = manifest.segments.iter().min_by_key(|segment| segment.base).unwrap();
    let file = directory.open(&format!("{:020}-{:08}.seg", first.base.0, first.generation.0)).unwrap();
    let len = file.len().unwrap();
    let mut offset = [0; 8];
    file.read_at(len - 8, &mut offset).unwrap();
    file.zero_range(u64::from_le_bytes(offset), 86).unwrap();
    file.set_len(len - 1000).unwrap();
    file.sync_all().unwrap();
    open_twice(&files.kill().unwrap(), &history, last, "killed");
    let machine_too = files.kill().unwrap();
    machine_too.directory().subdirectory("shard-0").unwrap().remove("index").unwrap();
    open_twice(&machine_too, &history, last, "the index is lost too");
}

/// Was: only a later manifest listed the epoch, so a power loss in between left a log with an epoch that the table lacks.
#[test]
fn epoch_is_in_the_manifest_before_its_first_entry() {
    let files = FaultyDirectory::new();
    for start in 1..=5 {
        let shard = open(&files, SyncMode::No);
        let lost = files.power_loss(start).unwrap();
        let manifest = Manifest::load(&*lost.directory().subdirectory("shard-0").unwrap()).unwrap().unwrap();
        let epochs: Vec<u64> = manifest.epochs.iter().map(|epoch| u64::from(epoch.number.0)).collect();
        assert_eq!(epochs, (1..=start).collect::<Vec<_>>());
        shard.close().unwrap();
    }
}

/// Was: power loss could keep the manifest that lists the first segment, and drop the segment's name.
#[test]
fn power_loss_within_the_first_start_leaves_a_directory_that_opens() {
    let mut rng = StdRng::seed_from_u64(base_seed());
    let files = FaultyDirectory::new();
    let lost = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (hooked, collected, seed) = (files.clone(), std::sync::Arc::clone(&lost), rng.random::<u64>() >> 1);
    files.before_each_step(Some(std::sync::Arc::new(move || {
        let mut lost = collected.lock();
        for _ in 0..10 {
            let next = seed + lost.len() as u64;
            lost.push(hooked.power_loss(next).unwrap());
        }
    })));
    let shard = open(&files, SyncMode::No);
    files.before_each_step(None);
    shard.abandon();
    let lost = std::mem::take(&mut *lost.lock());
    assert!(lost.len() > 100);
    for (number, files) in lost.iter().enumerate() {
        let opened = try_open(&files.directory()).unwrap_or_else(|error| panic!("loss {number}: {error}"));
        assert_eq!(opened.recovery_report().keys, 0);
        opened.abandon();
    }
}
