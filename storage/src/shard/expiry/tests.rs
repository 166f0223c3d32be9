#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use crate::shard::testing::within as run;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::fs::{Directory, FaultyDirectory};
use crate::index::SlotCounters;
use crate::options::{Options, SyncMode};
use crate::shard::Shard;
use crate::types::{DATABASES, Db, STRIPES, Slot, UnixMillis};

/// A shard whose time the test sets.
struct Fixture {
    now: Arc<AtomicI64>,
    files: FaultyDirectory,
}

impl Fixture {
    fn new() -> Self {
        Self { now: Arc::new(AtomicI64::new(1000)), files: FaultyDirectory::new() }
    }

    fn options(&self) -> Options {
        Options {
            segment_size: 1 << 20,
            index_reserve: 256 << 20,
            checkpoint_bytes: u64::MAX,
            sync: SyncMode::No,
            expiry_sweep_time: Duration::ZERO,
            clock: Clock::Manual(Arc::clone(&self.now)),
            ..Options::default()
        }
    }

    fn open(&self) -> Shard {
        self.open_with(self.options())
    }

    fn open_with(&self, options: Options) -> Shard {
        let directory: Arc<dyn Directory> = self.files.directory();
        Shard::open(&directory, options).unwrap()
    }

    fn at(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }
}

fn put(shard: &Shard, db: u8, key: &str, expire: Option<i64>) {
    run(shard, |txn| txn.put(Db(db), &shard.key(key.as_bytes()), key.as_bytes(), expire.map(UnixMillis)));
}

fn there(shard: &Shard, key: &str) -> bool {
    run(shard, |txn| Ok(txn.metadata(Db(0), &shard.key(key.as_bytes()))?.is_some()))
}

fn keys(shard: &Shard, db: u8) -> u64 {
    run(shard, |txn| Ok(txn.key_count(Db(db))))
}

/// All counters, table by table and slot by slot, without those that are zero.
fn counters(shard: &Shard) -> Vec<(u8, Slot, SlotCounters)> {
    let tables = shard.index().tables();
    let of = |db: u8, slot: Slot| {
        let stripe = shard.index().stripe(slot.stripe()).read();
        (db, slot, stripe.slot_counters(shard.index(), tables.slot(Db(db)), slot))
    };
    let all = (0..DATABASES).flat_map(|db| (0..16384).map(move |slot| (db, Slot(slot))));
    all.map(|(db, slot)| of(db, slot)).filter(|(.., counters)| *counters != SlotCounters::default()).collect()
}

/// Listens to what expires.
fn listen(shard: &Shard) -> Arc<Mutex<Vec<(u8, String)>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&heard);
    shard.on_expired(Box::new(move |db, key| to.lock().push((db.0, String::from_utf8(key.to_vec()).unwrap()))));
    heard
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_sweep_leaves_what_was_there_if_the_expired_keys_had_never_been() {
    let (fixture, without) = (Fixture::new(), Fixture::new());
    let (shard, reference) = (fixture.open(), without.open());
    let heard = listen(&shard);
    for n in 0..3000 {
        let (key, db) = (format!("k{n}"), (n % 3) as u8);
        let expire = [None, Some(2000 + n), Some(1_000_000)][n as usize % 7 % 3];
        put(&shard, db, &key, expire);
        if expire.is_none_or(|at| at > 4000) {
            put(&reference, db, &key, expire);
        }
    }
    fixture.at(4000);
    let before = shard.written_lsn();
    let swept = shard.sweep().unwrap();
    assert_eq!(counters(&shard), counters(&reference));
    assert_eq!(shard.written_lsn(), before.next(), "one entry says that all of them have expired");
    assert_eq!(swept.removed, heard.lock().len() as u64);
    assert!(swept.removed > 500, "{swept:?}");
    let figures = shard.expiry_figures();
    assert_eq!((figures.removed, figures.expired_up_to), (swept.removed, UnixMillis(4000)));
    let again = shard.sweep().unwrap();
    assert_eq!((again.removed, shard.written_lsn()), (0, before.next()), "nothing has expired since, so nothing is written");
    let mut once = heard.lock().clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len() as u64, swept.removed);
    assert!(once.iter().all(|(db, key)| key[1..].parse::<i64>().unwrap() % 3 == i64::from(*db)));
}

#[test]
fn what_has_no_expiry_is_not_looked_at() {
    let fixture = Fixture::new();
    let shard = fixture.open();
    (0..500).for_each(|n| put(&shard, 0, &format!("k{n}"), None));
    assert_eq!(shard.sweep().unwrap().seen, 0);
    put(&shard, 5, "alone", Some(2000));
    let swept = shard.sweep().unwrap();
    assert_eq!((swept.seen, swept.volatile, swept.removed), (1, 1, 0));
    assert_eq!(shard.expiry_figures().average_ttl[5], 1000);
}

#[test]
fn watch_sees_no_difference_between_expired_and_removed() {
    let fixture = Fixture::new();
    let shard = fixture.open();
    put(&shard, 0, "k", Some(2000));
    let version = |shard: &Shard| run(shard, |txn| txn.version(Db(0), &shard.key(b"k")));
    let live = version(&shard);
    fixture.at(2000);
    let expired = version(&shard);
    assert_ne!(live, expired);
    assert_eq!(shard.sweep().unwrap().removed, 1);
    assert_eq!(version(&shard), expired);
}

#[test]
fn a_key_that_is_written_over_or_deleted_after_its_time_expired_once() {
    let fixture = Fixture::new();
    let shard = fixture.open();
    let heard = listen(&shard);
    for key in ["plain", "txn", "deleted", "alive"] {
        put(&shard, 1, key, Some(2000));
    }
    put(&shard, 1, "alive", Some(3000));
    fixture.at(2500);
    let batch = shard.batch();
    shard.write_plain(&batch, Db(1), &shard.key(b"plain"), b"v").unwrap();
    run(&shard, |txn| txn.put(Db(1), &shard.key(b"txn"), b"a", None).and_then(|()| txn.put(Db(1), &shard.key(b"txn"), b"b", None)));
    assert!(!run(&shard, |txn| txn.delete(Db(1), &shard.key(b"deleted"))));
    shard.write_plain(&batch, Db(1), &shard.key(b"alive"), b"v").unwrap();
    assert_eq!(*heard.lock(), ["plain", "txn", "deleted"].map(|key| (1, key.to_owned())));
    assert_eq!(shard.sweep().unwrap().removed, 0);
    assert_eq!((shard.expiry_figures().removed, keys(&shard, 1)), (3, 3));
}

#[test]
fn a_clock_that_goes_back_brings_nothing_back() {
    let fixture = Fixture::new();
    let shard = fixture.open();
    put(&shard, 0, "swept", Some(2000));
    fixture.at(2000);
    shard.sweep().unwrap();
    fixture.at(500);
    // Read before the sweep of what comes next, too.
    put(&shard, 0, "late", Some(1500));
    assert!(!there(&shard, "swept") && !there(&shard, "late"));
    let batch = super::super::Batch::at(UnixMillis(500));
    assert_eq!(shard.read_plain(&batch, Db(0), &shard.key(b"late"), |value| value.is_some()), Some(false));
    let before = shard.written_lsn();
    assert_eq!((shard.sweep().unwrap().removed, shard.written_lsn()), (0, before), "it is no T's turn: the clock is behind");
    fixture.at(1600);
    assert_eq!((shard.sweep().unwrap().removed, shard.written_lsn()), (1, before), "T is beyond it already");
    assert_eq!(shard.expiry_figures().expired_up_to, UnixMillis(2000));
    shard.abandon();
    let shard = fixture.open();
    assert_eq!(shard.expiry_figures().expired_up_to, UnixMillis(2000));
}

#[test]
fn t_survives_a_clean_stop_a_kill_and_a_power_loss() {
    let mut fixture = Fixture::new();
    let mut shard = fixture.open();
    for (n, way) in ["clean", "kill", "power", "power after a checkpoint"].into_iter().enumerate() {
        let at = 2000 + 100 * n as i64;
        put(&shard, 0, "k", Some(at));
        fixture.at(at);
        assert_eq!(shard.sweep().unwrap().removed, 1);
        if way.ends_with("checkpoint") {
            shard.checkpoint().unwrap();
        }
        // The entry lies well below the position that replay starts from.
        (0..50).for_each(|n| put(&shard, 0, &format!("other{n}"), None));
        shard.flush_log().unwrap();
        if way == "clean" {
            shard.close().unwrap();
            drop(shard);
        } else {
            super::super::note_replay_position(&shard.log, &shard.index);
            shard.abandon();
            fixture.files = if way == "kill" { fixture.files.kill() } else { fixture.files.power_loss(7) }.unwrap();
        }
        shard = fixture.open();
        assert_eq!(shard.expiry_figures().expired_up_to, UnixMillis(at), "{way}");
        shard.sweep().unwrap();
        assert_eq!(keys(&shard, 0), 50, "{way}");
    }
}

/// Was thought of before it happened: replay puts the key of an entry back that the counters of the image, taken later, no longer have.
#[test]
fn keys_written_and_expired_while_a_checkpoint_is_taken_are_counted_right() {
    let mut fixture = Fixture::new();
    let shard = fixture.open();
    (0..2000).for_each(|n| put(&shard, 0, &format!("before{n}"), Some(2000)));
    fixture.at(1999);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let lost = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                put(&shard, 0, &format!("k{}", n % 97), Some(fixture.now.fetch_add(1, Ordering::Relaxed) + 2));
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                shard.sweep().unwrap();
            }
        });
        let lost: Vec<_> = (0..8)
            .map(|seed| {
                shard.checkpoint().unwrap();
                fixture.files.power_loss(seed).unwrap()
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        lost
    });
    shard.abandon();
    fixture.now.fetch_add(1000, Ordering::Relaxed);
    for files in lost {
        fixture.files = files;
        let shard = fixture.open();
        shard.sweep().unwrap();
        assert_eq!(counters(&shard), []);
        assert_eq!((keys(&shard, 0), shard.index().table_expires(shard.index().tables().slot(Db(0)))), (0, 0));
    }
}

#[test]
fn cold_keys_are_swept_and_large_ones_and_chains() {
    let fixture = Fixture::new();
    let shard = fixture.open();
    let large = vec![b'x'; 300_000];
    for (key, expire) in [("large", 2000), ("chain", 3000), ("stays", 5000)] {
        run(&shard, |txn| txn.put(Db(0), &shard.key(key.as_bytes()), &large, Some(UnixMillis(expire))));
    }
    run(&shard, |txn| txn.put(Db(0), &shard.key(b"chain"), &large[..100_000], Some(UnixMillis(3000))));
    run(&shard, |txn| txn.write_range(Db(0), &shard.key(b"chain"), 10, b"yy"));
    run(&shard, |txn| txn.set_expire(Db(0), &shard.key(b"chain"), Some(UnixMillis(2500))));
    (0..300).for_each(|n| put(&shard, 0, &format!("small{n}"), Some(2000)));
    shard.close().unwrap();
    drop(shard);
    let shard = fixture.open_with(Options { memory_limit: 0, ..fixture.options() });
    fixture.files.set_cold(true);
    fixture.at(2600);
    assert_eq!(shard.sweep().unwrap().removed, 302);
    assert_eq!(keys(&shard, 0), 1);
    assert_eq!(counters(&shard).len(), 1);
}

#[test]
fn tables_that_were_swapped_are_swept_as_the_databases_they_are_now() {
    let fixture = Fixture::new();
    let shard = fixture.open();
    let heard = listen(&shard);
    put(&shard, 0, "zero", Some(2000));
    put(&shard, 1, "one", Some(2000));
    run(&shard, |txn| txn.swap(Db(0), Db(1)));
    put(&shard, 2, "flushed", Some(2000));
    run(&shard, |txn| txn.flush(Db(2)));
    fixture.at(2000);
    shard.sweep().unwrap();
    let mut heard = heard.lock().clone();
    heard.sort();
    assert_eq!(heard, [(0, "one".to_owned()), (1, "zero".to_owned())]);
}

#[test]
fn nothing_is_removed_before_the_log_says_so() {
    let fixture = Fixture::new();
    let shard = fixture.open_with(Options { sync: SyncMode::Always, ..fixture.options() });
    put(&shard, 0, "k", Some(2000));
    fixture.at(2000);
    fixture.files.fail_sync_after(0);
    assert!(shard.flush_log().is_err());
    assert!(shard.sweep().is_err());
    assert_eq!(shard.index().table_keys(shard.index().tables().slot(Db(0))), 1);
    assert_eq!(shard.expiry_figures().removed, 0);
}

#[test]
fn the_thread_sweeps_by_itself_unless_it_is_told_not_to() {
    let fixture = Fixture::new();
    let shard = fixture.open_with(Options { expiry_sweep_time: Duration::from_secs(1), ..fixture.options() });
    let heard = listen(&shard);
    shard.set_active_expiry(false);
    (0..1000).for_each(|n| put(&shard, 0, &format!("k{n}"), Some(2000)));
    fixture.at(2000);
    // Also what nobody sweeps is removed when somebody asks for it.
    assert!(!there(&shard, "k7"));
    eventually("the key that was asked for is removed", || heard.lock().len() == 1);
    assert_eq!(*heard.lock(), [(0, "k7".to_owned())]);
    assert_eq!(shard.read_plain(&shard.batch(), Db(0), &shard.key(b"k8"), |value| value.is_some()), Some(false));
    eventually("the next, too", || heard.lock().len() == 2);
    shard.set_active_expiry(true);
    eventually("the others are removed", || heard.lock().len() == 1000);
    assert_eq!((keys(&shard, 0), counters(&shard)), (0, Vec::new()));
    assert!(shard.expiry_figures().stale_percent > 0.0);
}

#[test]
fn two_sweeps_give_the_index_its_room_back() {
    let fixture = Fixture::new();
    let shard = fixture.open();
    let fill = |expire: &dyn Fn(u64) -> Option<i64>| (0..40_000).for_each(|n| put(&shard, 0, &format!("k{n}"), expire(n)));
    // A table keeps a page of counters and one of cells in each stripe.
    const BASE: u64 = 8 * STRIPES as u64;
    (0..BASE).for_each(|n| put(&shard, 0, &format!("base{n}"), None));
    let base = shard.index().bytes_used();
    fill(&|n| Some(2000 + (n.wrapping_mul(2_654_435_761) % 2000) as i64));
    let full = shard.index().bytes_used();
    assert!(full > base + 300_000, "{base} {full}");
    for now in [3000, 4000] {
        fixture.at(now);
        shard.sweep().unwrap();
    }
    assert_eq!(keys(&shard, 0), BASE);
    let after = shard.index().bytes_used();
    assert!(after - base <= (full - base) / 10, "{base} {full} {after}");
}

/// Removes the index, and the checkpoints, so that the next start reads the whole log.
fn forget_images(files: &FaultyDirectory) {
    let directory = files.directory().subdirectory("shard-0").unwrap();
    for name in directory.list().unwrap().iter().filter(|name| *name == "index" || name.starts_with("checkpoint-")) {
        directory.remove(name).unwrap();
    }
}

#[test]
fn a_swept_key_stays_gone_after_cleaning_although_an_older_record_of_it_exists() {
    let fixture = Fixture::new();
    // Ahead of the wall clock, which tells cleaning nothing of what has expired then.
    const FAR: i64 = 1 << 50;
    fixture.at(FAR);
    let options = || Options { segment_size: 64 << 10, ..fixture.options() };
    let shard = fixture.open_with(options());
    let long = vec![b'x'; 200];
    let fill = |shard: &Shard, keys: std::ops::Range<usize>| {
        for n in keys {
            run(shard, |txn| txn.put(Db(0), &shard.key(format!("fill{n}").as_bytes()), &long, None));
        }
    };
    // A segment full of live keys and one dead record: it is not worth cleaning.
    put(&shard, 0, "k", None);
    fill(&shard, 0..600);
    put(&shard, 0, "k", Some(FAR + 1000));
    // What surrounds the second record dies, so its segment is cleaned.
    (0..40).for_each(|_| fill(&shard, 600..650));
    fixture.at(FAR + 1000);
    assert_eq!(shard.sweep().unwrap().removed, 1);
    shard.clean(Duration::from_secs(20)).unwrap();
    assert!(shard.cleaning_figures().jobs > 0);
    shard.abandon();
    forget_images(&fixture.files);
    let shard = fixture.open_with(options());
    assert!(!there(&shard, "k"));
    shard.sweep().unwrap();
    assert_eq!(keys(&shard, 0), 650);
    assert_eq!(shard.expiry_figures().expired_up_to, UnixMillis(FAR + 1000), "cleaning keeps the last T");
}

#[test]
fn two_sweeps_and_cleaning_give_the_disk_its_room_back() {
    let fixture = Fixture::new();
    let shard = fixture.open_with(Options { segment_size: 64 << 10, ..fixture.options() });
    (0..300).for_each(|n| put(&shard, 0, &format!("base{n}"), None));
    let base = shard.log().figures().bytes;
    (0..20_000).for_each(|n: u64| put(&shard, 0, &format!("k{n}"), Some(2000 + (n.wrapping_mul(2_654_435_761) % 2000) as i64)));
    let full = shard.log().figures().bytes;
    for now in [3000, 4000] {
        fixture.at(now);
        shard.sweep().unwrap();
    }
    shard.clean(Duration::from_secs(20)).unwrap();
    let after = shard.log().figures().bytes;
    assert!(after < base + (full - base) / 4, "{base} {full} {after}");
    assert_eq!(keys(&shard, 0), 300);
}
