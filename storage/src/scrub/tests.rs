#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fs::FaultyDirectory;
use crate::options::{Options, SyncMode};
use crate::segment::SEGMENT_HEADER;
use crate::shard::{LockPlan, Shard};
use crate::types::{Db, Lsn};

const SEGMENT: u32 = 64 << 10;

fn options() -> Options {
    Options {
        segment_size: SEGMENT,
        index_reserve: 1 << 30,
        sync: SyncMode::No,
        checkpoint_bytes: 256 << 10,
        scrub_period: Duration::ZERO,
        ..Options::default()
    }
}

fn put(shard: &Shard, key: &str, len: usize) {
    let mut plan = LockPlan::exclusive();
    plan.add_all();
    let batch = shard.batch();
    let mut txn = shard.begin(&batch, &plan);
    txn.put(Db(0), &shard.key(key.as_bytes()), &vec![b'x'; len], None).unwrap();
    txn.commit().unwrap();
}

/// A shard with several sealed segments and a value segment.
fn filled() -> (FaultyDirectory, Shard) {
    let files = FaultyDirectory::new();
    let shard = Shard::open(&files.directory(), options()).unwrap();
    for n in 0..600 {
        put(&shard, &format!("key:{}", n % 200), 500);
    }
    put(&shard, "large", 300_000);
    while shard.log().segments().in_order().iter().filter(|segment| segment.is_sealed()).count() < 4 {
        std::thread::yield_now();
    }
    // None is sealed later, which would count as one more file.
    while !shard.log().tail.lock().full.is_empty() {
        std::thread::yield_now();
    }
    (files, shard)
}

#[test]
fn a_sound_log_gives_no_finding() {
    let (_files, shard) = filled();
    let pass = shard.scrub().unwrap();
    assert!(pass.files >= 5 && pass.bad == 0, "{pass:?}");
    assert!(pass.bytes > 3 * u64::from(SEGMENT) + 300_000, "{pass:?}");
    assert_eq!(shard.scrub_figures().read_bytes, pass.bytes);
    assert!(shard.scrub_figures().bad.is_empty());
}

#[test]
fn a_flipped_bit_anywhere_in_a_sealed_segment_is_found_and_named() {
    let (files, shard) = filled();
    let segment = Arc::clone(&shard.log().segments().in_order()[1]);
    let name = segment.file().path().file_name().unwrap().to_str().unwrap().to_owned();
    // By now it has the name that the manifest lists.
    let name =
        if name.starts_with("spare") { format!("{:020}-{:08}.seg", segment.base_lsn().unwrap().0, segment.generation().0) } else { name };
    let path = format!("shard-0/{name}");
    let len = segment.file().len().unwrap();
    for offset in [20, SEGMENT_HEADER as u64 + 5, 20_000, SEGMENT as u64 / 2, len - 300, len - 1] {
        files.flip_bit(&path, offset, 3).unwrap();
        assert_eq!(shard.scrub().unwrap().bad, 1, "offset {offset}");
        let bad = shard.scrub_figures().bad;
        assert_eq!(bad.len(), 1);
        assert!(bad[0].path.ends_with(&path), "{bad:?}");
        let in_entries = (SEGMENT_HEADER as u64..len - 3000).contains(&offset);
        assert!(!in_entries || bad[0].offset <= offset && offset - bad[0].offset < 600, "{offset}: {bad:?}");
        assert!(!in_entries || segment.base_lsn().unwrap() <= bad[0].lsn && bad[0].lsn <= segment.last_lsn(), "{bad:?}");
        assert!(segment.is_bad());
        files.flip_bit(&path, offset, 3).unwrap();
        assert_eq!(shard.scrub().unwrap().bad, 0, "what passes again is no finding any more");
        assert!(!segment.is_bad() && shard.scrub_figures().bad.is_empty());
    }
}

#[test]
fn a_flipped_bit_in_a_value_segment_is_found() {
    let (files, shard) = filled();
    let names = shard.log().directory.list().unwrap();
    let value = names.iter().find(|name| name.ends_with(".seg") && !name.contains('-')).unwrap();
    files.flip_bit(&format!("shard-0/{value}"), 200_000, 0).unwrap();
    assert_eq!(shard.scrub().unwrap().bad, 1);
    let bad = shard.scrub_figures().bad;
    assert_eq!((bad[0].path.ends_with(value), bad[0].offset, bad[0].lsn), (true, SEGMENT_HEADER as u64 + 3 * 65_536, Lsn(0)));
}

#[test]
fn a_value_that_is_being_written_is_no_finding() {
    let (_files, shard) = filled();
    let mut writer = shard.value_writer(100_000).unwrap();
    writer.write(&[b'x'; 70_000]).unwrap();
    assert_eq!(shard.scrub().unwrap().bad, 0);
    let files = shard.scrub().unwrap().files;
    writer.write(&[b'x'; 30_000]).unwrap();
    let _stored = writer.finish().unwrap();
    assert_eq!(shard.scrub().unwrap().files, files + 1);
}

#[test]
fn cleaning_leaves_a_bad_segment_alone() {
    let (files, shard) = filled();
    shard.checkpoint().unwrap();
    let segment = Arc::clone(&shard.log().segments().in_order()[0]);
    let path = format!("shard-0/{:020}-{:08}.seg", segment.base_lsn().unwrap().0, segment.generation().0);
    files.flip_bit(&path, 3000, 0).unwrap();
    assert_eq!(shard.scrub().unwrap().bad, 1);
    shard.clean(Duration::from_secs(20)).unwrap();
    assert!(!segment.is_retired());
    assert_eq!(shard.cleaning_figures().failed, 0, "cleaning did not even try");
}

#[test]
fn the_thread_finds_damage_and_segments_replaced_meanwhile_are_no_finding() {
    let (files, shard) = filled();
    shard.set_scrub_pace(Duration::from_millis(1), 8 << 20);
    let deadline = Instant::now() + Duration::from_secs(20);
    for round in 0.. {
        for n in 0..300 {
            put(&shard, &format!("key:{}", n % 200), 500);
        }
        shard.checkpoint().unwrap();
        shard.clean(Duration::from_secs(20)).unwrap();
        if (shard.scrub_figures().passes >= 3 && round >= 5) || Instant::now() > deadline {
            break;
        }
    }
    let figures = shard.scrub_figures();
    assert!(figures.passes >= 3 && figures.last_pass.0 > 0, "{figures:?}");
    assert_eq!(figures.bad, []);
    assert!(shard.cleaning_figures().jobs > 0);
    let segment = Arc::clone(&shard.log().segments().in_order()[0]);
    let path = format!("shard-0/{:020}-{:08}.seg", segment.base_lsn().unwrap().0, segment.generation().0);
    files.flip_bit(&path, segment.file().len().unwrap() / 2, 0).unwrap();
    while shard.scrub_figures().bad.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(shard.scrub_figures().bad.len(), 1);
    shard.set_scrub_pace(Duration::ZERO, 0);
}

#[test]
fn the_thread_keeps_to_its_rate() {
    let (_files, shard) = filled();
    let bytes = shard.scrub().unwrap().bytes;
    let before = shard.scrub_figures().read_bytes;
    shard.set_scrub_pace(Duration::from_secs(1), bytes);
    std::thread::sleep(Duration::from_millis(500));
    let read = shard.scrub_figures().read_bytes - before;
    assert!(read > 0 && read < bytes * 9 / 10, "{read} of {bytes}");
}
