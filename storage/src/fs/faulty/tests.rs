#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use super::*;
use crate::fs::File;
use crate::fs::memory::SECTOR;

fn contents(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

/// A durable file `a` of eight sectors of ones.
fn with_file() -> (FaultyDirectory, Box<dyn File>) {
    let disk = FaultyDirectory::new();
    let file = disk.directory().create("a").unwrap();
    file.allocate(0, 8 * SECTOR as u64).unwrap();
    file.write_at(0, &[1; 8 * SECTOR]).unwrap();
    file.sync_data().unwrap();
    disk.directory().sync().unwrap();
    (disk, file)
}

#[test]
fn synced_bytes_survive_every_power_loss() {
    let (disk, _file) = with_file();
    for seed in 0..50 {
        let after = disk.power_loss(seed).unwrap();
        assert_eq!(contents(&*after.directory().open("a").unwrap()), [1; 8 * SECTOR]);
    }
}

#[test]
fn unsynced_sectors_are_kept_or_dropped_one_by_one() {
    let (disk, file) = with_file();
    file.map(8 * SECTOR).unwrap().copy_in(0, &[2; 8 * SECTOR]);
    let mut outcomes = std::collections::BTreeSet::new();
    let mut reordered = false;
    for seed in 0..200 {
        let after = contents(&*disk.power_loss(seed).unwrap().directory().open("a").unwrap());
        let sectors: Vec<u8> = after.chunks(SECTOR).map(|sector| sector[0]).collect();
        assert!(after.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0] && [1, 2].contains(byte))));
        reordered |= sectors.is_sorted() && sectors[0] != sectors[7];
        outcomes.insert(sectors);
        assert_eq!(contents(&*disk.power_loss(seed).unwrap().directory().open("a").unwrap()), after);
    }
    assert!(outcomes.contains(&vec![1; 8]) && outcomes.contains(&vec![2; 8]) && outcomes.len() > 20 && reordered);
    assert_eq!(contents(&*file), [2; 8 * SECTOR]);
}

#[test]
fn unsynced_growth_is_kept_or_dropped() {
    let (disk, file) = with_file();
    file.allocate(0, 100 * SECTOR as u64).unwrap();
    let lens: std::collections::BTreeSet<u64> =
        (0..50).map(|seed| disk.power_loss(seed).unwrap().directory().open("a").unwrap().len().unwrap()).collect();
    assert_eq!(lens, [8 * SECTOR as u64, 100 * SECTOR as u64].into());
}

#[test]
fn unsynced_names_are_kept_or_dropped() {
    let (disk, _file) = with_file();
    let directory = disk.directory();
    let fresh = directory.create("b.tmp").unwrap();
    fresh.write_at(0, b"new").unwrap();
    fresh.sync_all().unwrap();
    directory.rename("b.tmp", "b").unwrap();
    directory.remove("a").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let after = disk.power_loss(seed).unwrap().directory();
        if after.exists("b").unwrap() {
            assert_eq!(contents(&*after.open("b").unwrap()), b"new");
        }
        seen.insert(after.list().unwrap());
    }
    assert!(seen.contains(&vec!["a".to_owned()]) && seen.contains(&vec!["b".to_owned()]));
    assert!(seen.contains(&vec!["a".to_owned(), "b.tmp".to_owned()]));
    directory.sync().unwrap();
    for seed in 0..50 {
        assert_eq!(disk.power_loss(seed).unwrap().directory().list().unwrap(), ["b"]);
    }
}

#[test]
fn kill_keeps_the_cache_and_releases_locks() {
    let (disk, file) = with_file();
    let _lock = disk.directory().lock("LOCK").unwrap();
    file.map(8 * SECTOR).unwrap().copy_in(700, b"unsynced");
    disk.directory().subdirectory("inner").unwrap().create("c").unwrap();
    let after = disk.kill().unwrap();
    file.write_at(0, b"too late").unwrap();
    let found = contents(&*after.directory().open("a").unwrap());
    assert_eq!((&found[..8], &found[700..708]), (&[1; 8][..], &b"unsynced"[..]));
    assert!(after.directory().lock("LOCK").is_ok());
    assert!(after.directory().subdirectory("inner").unwrap().exists("c").unwrap());
    assert_eq!(after.directory().identity("a").unwrap(), disk.directory().identity("a").unwrap());
    // What was not durable before the kill is not durable after it.
    let lost = (0..50).any(|seed| contents(&*after.power_loss(seed).unwrap().directory().open("a").unwrap())[700] == 1);
    assert!(lost);
}

#[test]
fn failed_sync_loses_its_sectors_though_the_next_one_succeeds() {
    let (disk, file) = with_file();
    disk.fail_sync_after(1);
    file.sync_data().unwrap();
    file.write_at(0, &[2; 2 * SECTOR]).unwrap();
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    file.write_at(SECTOR as u64, &[3; SECTOR]).unwrap();
    file.sync_data().unwrap();
    for seed in 0..20 {
        let after = contents(&*disk.power_loss(seed).unwrap().directory().open("a").unwrap());
        assert_eq!((after[0], after[SECTOR], after[2 * SECTOR]), (1, 3, 1));
    }
    assert_eq!(contents(&*file)[0], 2);
    assert_eq!(disk.sync_count(), 5);
}

#[test]
fn what_is_written_again_after_a_failed_sync_and_a_truncation_is_not_lost() {
    let (disk, file) = with_file();
    disk.fail_sync_after(0);
    file.write_at(0, &[2; 2 * SECTOR]).unwrap();
    assert!(file.sync_data().is_err());
    file.set_len(0).unwrap();
    file.write_at(0, &[2; 2 * SECTOR]).unwrap();
    file.sync_data().unwrap();
    for seed in 0..20 {
        assert_eq!(contents(&*disk.power_loss(seed).unwrap().directory().open("a").unwrap()), [2; 2 * SECTOR]);
    }
}

#[test]
fn full_disk_shows_at_allocation_and_space_comes_back() {
    let (disk, file) = with_file();
    let used = disk.used();
    assert_eq!(used, 8 * SECTOR as u64);
    disk.set_capacity(used + 1000);
    assert_eq!(disk.directory().free_space().unwrap(), 1000);
    let other = disk.directory().create("b").unwrap();
    assert_eq!(other.allocate(0, 1001).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(other.len().unwrap(), 0);
    other.allocate(0, 1000).unwrap();
    other.write_at(0, &[1; 1000]).unwrap();
    assert_eq!(other.write_at(1000, &[1]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.set_len(100).unwrap();
    other.write_at(1000, &[1]).unwrap();
    disk.directory().remove("b").unwrap();
    drop(other);
    disk.directory().sync().unwrap();
    assert_eq!(disk.used(), 100);
    assert_eq!(disk.kill().unwrap().used(), 100);
}

#[test]
fn flipped_bit_is_on_the_medium_too() {
    let (disk, file) = with_file();
    disk.flip_bit("a", 600, 7).unwrap();
    assert_eq!(contents(&*file)[600], 0x81);
    assert_eq!(contents(&*disk.power_loss(1).unwrap().directory().open("a").unwrap())[600], 0x81);
    assert!(disk.flip_bit("a", 1 << 20, 0).is_err() && disk.flip_bit("inner/a", 0, 0).is_err());
}

#[test]
fn cold_cache_makes_reads_wait() {
    let (disk, file) = with_file();
    let mut buf = [0; 4];
    disk.set_cold(true);
    assert_eq!(file.read_at_nowait(0, &mut buf).unwrap(), None);
    disk.set_cold(false);
    assert_eq!(file.read_at_nowait(0, &mut buf).unwrap(), Some(4));
}
