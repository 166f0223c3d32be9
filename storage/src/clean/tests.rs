#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::error::StorageError;
use crate::fs::{Directory, FaultyDirectory, MemoryDirectory};
use crate::options::{Options, SyncMode};
use crate::shard::testing::within;
use crate::shard::{Batch, LockPlan, Shard};
use crate::types::{Db, Lsn, UnixMillis};

const PATIENCE: Duration = Duration::from_secs(20);

fn options() -> Options {
    Options { segment_size: 64 << 10, index_reserve: 1 << 30, sync: SyncMode::No, checkpoint_bytes: 256 << 10, ..Options::default() }
}

fn get(shard: &Shard, key: &str) -> Option<Vec<u8>> {
    within(shard, |txn| Ok(txn.get(Db(0), &shard.key(key.as_bytes()))?.map(|object| object.data.into_owned())))
}

/// What a shard should hold, and a shard that holds it.
struct Model {
    directory: Arc<dyn Directory>,
    shard: Option<Shard>,
    keys: BTreeMap<String, Vec<u8>>,
    random: StdRng,
}

impl Model {
    fn new(seed: u64) -> Self {
        let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
        let shard = Shard::open(&directory, options()).unwrap();
        Self { directory, shard: Some(shard), keys: BTreeMap::new(), random: StdRng::seed_from_u64(seed) }
    }

    fn shard(&self) -> &Shard {
        self.shard.as_ref().unwrap()
    }

    fn write(&mut self, ops: usize, keys: usize) {
        for _ in 0..ops {
            let key = format!("key:{}", self.random.random_range(0..keys));
            match self.random.random_range(0..10) {
                0 => {
                    within(self.shard(), |txn| txn.delete(Db(0), &self.shard().key(key.as_bytes())));
                    self.keys.remove(&key);
                }
                1 => self.write_several(keys),
                2 => {
                    let long = self.random.random_range(1500..3000);
                    self.put(key, long);
                }
                3 => self.patch(),
                _ => {
                    let len = self.random.random_range(0..300);
                    self.put(key, len);
                }
            }
        }
    }

    fn put(&mut self, key: String, len: usize) {
        let value: Vec<u8> = (0..len).map(|_| self.random.random()).collect();
        within(self.shard(), |txn| txn.put(Db(0), &self.shard().key(key.as_bytes()), &value, None));
        self.keys.insert(key, value);
    }

    /// An entry of several ops, of which some will be dead before others.
    fn write_several(&mut self, keys: usize) {
        let named: Vec<String> = (0..5).map(|_| format!("key:{}", self.random.random_range(0..keys))).collect();
        within(self.shard(), |txn| {
            for key in &named {
                txn.put(Db(0), &self.shard().key(key.as_bytes()), key.as_bytes(), None)?;
            }
            Ok(())
        });
        for key in named {
            self.keys.insert(key.clone(), key.into_bytes());
        }
    }

    /// A delta of a long string.
    fn patch(&mut self) {
        let long: Vec<&String> = self.keys.iter().filter(|(_, value)| value.len() > 1100).map(|(key, _)| key).collect();
        if long.is_empty() {
            return;
        }
        let key = long[self.random.random_range(0..long.len())].clone();
        let at = self.random.random_range(0..1000);
        within(self.shard(), |txn| txn.write_range(Db(0), &self.shard().key(key.as_bytes()), at, b"patched"));
        self.keys.get_mut(&key).unwrap()[at as usize..at as usize + 7].copy_from_slice(b"patched");
    }

    fn clean(&self) {
        self.shard().clean(PATIENCE).unwrap();
    }

    fn reopen(&mut self, clean_stop: bool) {
        let shard = self.shard.take().unwrap();
        if clean_stop {
            shard.close().unwrap();
            drop(shard);
        } else {
            shard.abandon();
        }
        self.shard = Some(Shard::open(&self.directory, options()).unwrap());
    }

    /// The index is gone: it is built from the checkpoint and the log's tail, or from the whole log.
    fn rebuild(&mut self, with_checkpoint: bool) {
        self.shard.take().unwrap().abandon();
        let shard = self.directory.subdirectory("shard-0").unwrap();
        shard.remove("index").unwrap();
        if !with_checkpoint {
            for name in shard.list().unwrap().iter().filter(|name| name.starts_with("checkpoint-")) {
                shard.remove(name).unwrap();
            }
        }
        self.shard = Some(Shard::open(&self.directory, options()).unwrap());
    }

    fn verify(&self, keys: usize) {
        for key in (0..keys).map(|n| format!("key:{n}")) {
            assert_eq!(get(self.shard(), &key).as_ref(), self.keys.get(&key), "{key}");
        }
        let bytes: u64 = self.keys.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        assert_eq!(self.shard().live_bytes(), bytes);
        let shard = self.shard();
        assert_eq!(shard.index().table_keys(shard.index().tables().slot(Db(0))), self.keys.len() as u64);
    }
}

#[test]
fn cleaning_keeps_what_is_live_and_gives_the_rest_back() {
    let mut model = Model::new(1);
    model.write(20_000, 500);
    let before = model.shard().log().figures().bytes;
    model.clean();
    model.verify(500);
    let figures = model.shard().cleaning_figures();
    let after = model.shard().log().figures().bytes;
    assert!(figures.jobs > 0 && figures.reclaimed_bytes > 0, "{figures:?}");
    assert!(after < before / 5, "{before} bytes before, {after} after, {figures:?}");
}

#[test]
fn what_was_cleaned_survives_every_kind_of_start() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut model = Model::new(seed);
    for round in 0..12 {
        model.write(3000, 300);
        if round % 2 == 0 {
            model.clean();
        }
        match round % 6 {
            0 => model.reopen(true),
            1 | 2 => model.reopen(false),
            3 => model.rebuild(true),
            4 => model.rebuild(false),
            _ => {}
        }
        model.verify(300);
    }
}

#[test]
fn deleted_key_stays_deleted_while_an_older_record_of_it_exists() {
    let mut model = Model::new(3);
    // A segment that is full of live keys, and one dead record in it: it is not worth cleaning.
    model.put("key:0".to_owned(), 10);
    for n in 1..600 {
        model.put(format!("key:{n}"), 200);
    }
    within(model.shard(), |txn| txn.delete(Db(0), &model.shard().key(b"key:0")));
    model.keys.remove("key:0");
    // What surrounds the tombstone dies, so its segment is cleaned while the older one stays.
    for _ in 0..40 {
        for n in 600..650 {
            model.put(format!("key:{n}"), 200);
        }
    }
    model.clean();
    assert!(model.shard().cleaning_figures().jobs > 0);
    model.rebuild(false);
    model.verify(650);
}

#[test]
fn expired_record_still_hides_an_older_one_after_cleaning() {
    // Without a tombstone in its place a replay of the whole log brings the older value back.
    let mut model = Model::new(4);
    model.put("key:0".to_owned(), 10);
    for n in 1..600 {
        model.put(format!("key:{n}"), 200);
    }
    let batch = Batch::at(UnixMillis(1000));
    let mut plan = LockPlan::exclusive();
    plan.add_all();
    {
        let shard = model.shard();
        let mut txn = shard.begin(&batch, &plan);
        txn.put(Db(0), &shard.key(b"key:0"), b"short-lived", Some(UnixMillis(2000))).unwrap();
        txn.commit().unwrap();
    }
    model.keys.remove("key:0");
    for _ in 0..40 {
        for n in 600..650 {
            model.put(format!("key:{n}"), 200);
        }
    }
    model.clean();
    model.rebuild(false);
    assert_eq!(get(model.shard(), "key:0"), None);
}

#[test]
fn what_was_superseded_above_a_pin_stays() {
    let mut model = Model::new(7);
    model.write(3000, 50);
    let pinned = model.shard().written_lsn();
    model.shard().keep_history_from(pinned);
    model.write(3000, 50);
    let before = model.shard().log().figures().bytes;
    model.clean();
    let kept = model.shard().log().figures().bytes;
    // What the first writes superseded among themselves may go, and is about half.
    assert!(kept > before * 4 / 10, "{kept} of {before} bytes kept");
    model.shard().keep_history_from(Lsn(u64::MAX));
    model.reopen(false);
    model.clean();
    assert!(model.shard().log().figures().bytes < kept / 4);
    model.verify(50);
}

#[test]
fn flushed_databases_are_given_back_and_stay_empty() {
    let mut model = Model::new(5);
    model.write(5000, 300);
    within(model.shard(), |txn| txn.flush_all());
    model.keys.clear();
    model.write(2000, 100);
    model.clean();
    model.verify(300);
    model.rebuild(false);
    model.verify(300);
}

/// Files of value segments.
fn value_files(model: &Model) -> usize {
    let names = model.directory.subdirectory("shard-0").unwrap().list().unwrap();
    names.iter().filter(|name| name.ends_with(".seg") && !name.contains('-')).count()
}

fn wait_for_value_files(model: &Model, wanted: usize) {
    let deadline = Instant::now() + PATIENCE;
    while value_files(model) != wanted {
        assert!(Instant::now() < deadline, "{} files of value segments, not {wanted}", value_files(model));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn large_values_go_when_no_record_names_them() {
    let mut model = Model::new(8);
    for n in 0..4 {
        model.put(format!("key:{n}"), 40_000);
    }
    // Another record of the same value: the file is that of the new record.
    let shard = model.shard();
    within(shard, |txn| txn.set_expire(Db(0), &shard.key(b"key:0"), Some(UnixMillis(i64::MAX))));
    model.put("key:1".to_owned(), 40_000);
    model.put("key:2".to_owned(), 5);
    within(model.shard(), |txn| txn.delete(Db(0), &model.shard().key(b"key:3")));
    model.keys.remove("key:3");
    model.shard().flush_log().unwrap();
    wait_for_value_files(&model, 2);
    model.verify(4);
}

#[test]
fn large_values_that_a_kill_left_behind_go_with_their_records() {
    let mut model = Model::new(9);
    for n in 0..4 {
        model.put(format!("large:{n}"), 40_000);
    }
    model.put("large:0".to_owned(), 5);
    model.reopen(false);
    within(model.shard(), |txn| {
        for n in 0..4 {
            txn.delete(Db(0), &model.shard().key(format!("large:{n}").as_bytes()))?;
        }
        Ok(())
    });
    model.keys.clear();
    model.reopen(false);
    // What is left of them lies in segments that are sealed and cleaned.
    model.write(2000, 50);
    model.clean();
    model.shard().flush_log().unwrap();
    wait_for_value_files(&model, 0);
    model.verify(50);
}

/// Was: files of large values that a flush or the sweep had made dead stayed until cleaning came by their records: never, if those were few.
#[test]
fn large_values_of_flushed_and_expired_keys_go_at_once() {
    let model = Model::new(10);
    let shard = model.shard();
    let put = |db: u8, n: usize, expire: Option<UnixMillis>| {
        within(shard, |txn| txn.put(Db(db), &shard.key(format!("key:{n}").as_bytes()), &[7; 40_000], expire));
    };
    (0..3).for_each(|n| put(1, n, None));
    put(0, 0, None);
    let soon = UnixMillis(crate::clock::wall_clock().0 + 300);
    (1..3).for_each(|n| put(0, n, Some(soon)));
    assert_eq!(value_files(&model), 6);
    within(shard, |txn| txn.flush(Db(1)));
    shard.flush_log().unwrap();
    wait_for_value_files(&model, 3);
    std::thread::sleep(Duration::from_millis(400));
    shard.sweep().unwrap();
    shard.flush_log().unwrap();
    wait_for_value_files(&model, 1);
    assert_eq!(get(shard, "key:0").map(|value| value.len()), Some(40_000));
}

/// Was: the file of a large value stayed until the next start if the transaction that wrote it was given up, or wrote the key again.
#[test]
fn large_values_that_nothing_was_made_of_go() {
    let model = Model::new(11);
    let shard = model.shard();
    let batch = shard.batch();
    let mut plan = LockPlan::exclusive();
    plan.add_all();
    let mut txn = shard.begin(&batch, &plan);
    txn.put(Db(0), &shard.key(b"key:0"), &[7; 40_000], None).unwrap();
    drop(txn);
    assert_eq!(value_files(&model), 0);
    within(shard, |txn| {
        txn.put(Db(0), &shard.key(b"key:0"), &[7; 40_000], None)?;
        txn.put(Db(0), &shard.key(b"key:0"), &[8; 40_000], None)
    });
    shard.flush_log().unwrap();
    wait_for_value_files(&model, 1);
    assert_eq!(get(shard, "key:0"), Some(vec![8; 40_000]));
}

#[test]
fn large_values_are_refused_beyond_the_limit_and_taken_again_when_there_is_room() {
    let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
    let shard = Shard::open(&directory, Options { disk_limit: 10 << 20, ..options() }).unwrap();
    // The index grows ahead of the first keys.
    std::thread::sleep(Duration::from_millis(300));
    let put = |n: usize| {
        let mut plan = LockPlan::exclusive();
        plan.add_all();
        let batch = shard.batch();
        let mut txn = shard.begin(&batch, &plan);
        txn.put(Db(0), &shard.key(format!("key:{n}").as_bytes()), &[7; 200_000], None)?;
        txn.commit()
    };
    let refused = (0..100).find_map(|n| put(n).err().map(|error| (n, error)));
    let (written, error) = refused.expect("a limit");
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    assert!(shard.log().figures().refused_writes > 0);
    let used = directory.subdirectory("shard-0").unwrap().usage().unwrap();
    assert!(used <= 10 << 20 && written >= 3, "{written} values, {used} bytes");
    let text = put(0).unwrap_err().to_string();
    assert!(text.contains("no space left"), "{text}");
    // More than one: index and checkpoint may take of what they leave.
    for key in [b"key:1", b"key:2", b"key:3"] {
        within(&shard, |txn| txn.delete(Db(0), &shard.key(key)));
    }
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = put(1) {
        assert!(error.is_disk_full() && Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A shard over a disk with faults, in which every key has been overwritten.
fn faulty_shard(files: &FaultyDirectory) -> Shard {
    let shard = Shard::open(&files.directory(), options()).unwrap();
    for round in 0..20 {
        for n in 0..100 {
            let value = format!("{round}").repeat(100);
            within(&shard, |txn| txn.put(Db(0), &shard.key(format!("key:{n}").as_bytes()), value.as_bytes(), None));
        }
    }
    shard
}

fn verify_faulty(files: &FaultyDirectory) {
    let shard = Shard::open(&files.directory(), options()).unwrap();
    for n in 0..100 {
        assert_eq!(get(&shard, &format!("key:{n}")).unwrap(), b"19".repeat(100), "key:{n}");
    }
}

#[test]
fn failed_sync_of_a_job_loses_nothing_and_leaves_nothing_that_is_not_listed() {
    // Among the syncs of the first job are those of the new manifest: before its name changes, and after, when it may be what a start finds.
    for successes in 0..14 {
        let files = FaultyDirectory::new();
        let shard = faulty_shard(&files);
        shard.checkpoint().unwrap();
        files.fail_sync_after(successes);
        shard.request_cleaning();
        let deadline = Instant::now() + PATIENCE;
        let over = || shard.cleaning_figures().failed > 0 || shard.log().durability().is_poisoned() || shard.cleaning_passes().1 > 0;
        while !over() {
            assert!(Instant::now() < deadline, "neither failed nor done after {successes} syncs");
            std::thread::sleep(Duration::from_millis(1));
        }
        let log = shard.log();
        let listed = |segment: &Arc<crate::log::Segment>| log.manifest.lock().segment(segment.id()).is_some();
        let open = log.segments().in_order();
        let stray: Vec<_> = open.iter().filter(|segment| segment.is_cleaned() && !listed(segment)).map(|segment| segment.id()).collect();
        assert!(stray.is_empty(), "{stray:?} after {successes} syncs");
        shard.abandon();
        verify_faulty(&files.kill().unwrap());
        verify_faulty(&files.power_loss(successes).unwrap());
    }
}

#[test]
fn cleaned_segment_that_rots_at_once_does_not_keep_what_it_replaced() {
    let files = FaultyDirectory::new();
    let shard = faulty_shard(&files);
    shard.checkpoint().unwrap();
    let directory = files.directory().subdirectory("shard-0").unwrap();
    let seen: Vec<String> = directory.list().unwrap();
    let (disk, done) = (files.clone(), AtomicBool::new(false));
    // The first cleaned segment to get its name.
    let hook = move || {
        let new = directory.list().unwrap().into_iter().find(|name| name.ends_with(".seg") && !seen.contains(name));
        if let Some(name) = new.filter(|_| !done.swap(true, Ordering::SeqCst)) {
            disk.flip_bit(&format!("shard-0/{name}"), 200, 1).unwrap();
        }
    };
    files.before_each_step(Some(Arc::new(hook)));
    shard.clean(PATIENCE).unwrap();
    files.before_each_step(None);
    let retired: Vec<_> = shard.log().segments().retired().iter().map(|segment| segment.id()).collect();
    assert!(retired.is_empty() && shard.cleaning_figures().reclaimed_bytes > 0, "{retired:?}");
}

#[test]
fn writes_go_on_while_segments_are_cleaned() {
    let mut model = Model::new(6);
    for _ in 0..10 {
        model.write(2000, 200);
        model.shard().request_cleaning();
    }
    model.verify(200);
    model.clean();
    model.reopen(false);
    model.verify(200);
}
