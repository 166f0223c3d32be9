#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::clock::{Clock, wall_clock};
use crate::error::{Result, StorageError};
use crate::evict::{EvictionOrder, EvictionPolicy};
use crate::fs::{Directory, MemoryDirectory};
use crate::options::{Options, SyncMode};
use crate::shard::{LockPlan, Shard, Transaction};
use crate::types::{Db, Lsn, UnixMillis};

mod changed;

const PATIENCE: Duration = Duration::from_secs(30);
const DATABASES: u8 = 3;
const KEYS: usize = 12;

/// Value and expiry of each key of each database.
type State = BTreeMap<(u8, usize), (Arc<Vec<u8>>, Option<i64>)>;

fn name(key: usize) -> String {
    format!("key:{key}")
}

/// A shard, and all states that it was in.
struct Model {
    directory: Arc<dyn Directory>,
    options: Options,
    shard: Option<Shard>,
    clock: Arc<AtomicI64>,
    random: StdRng,
    now: State,
    /// By LSN: the clock, and the state after it.
    states: BTreeMap<u64, (i64, State)>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
        // Ahead of the machine's clock, by which an epoch begins.
        let clock = Arc::new(AtomicI64::new(wall_clock().0 + 1_000_000_000));
        let options = Options {
            segment_size: 64 << 10,
            index_reserve: 1 << 30,
            sync: SyncMode::No,
            checkpoint_bytes: 64 << 10,
            expiry_sweep_time: Duration::ZERO,
            scrub_period: Duration::ZERO,
            clock: Clock::Manual(Arc::clone(&clock)),
            ..Options::default()
        };
        let shard = Shard::open(&directory, options.clone()).unwrap();
        let random = StdRng::seed_from_u64(seed);
        Self { directory, options, shard: Some(shard), clock, random, now: State::new(), states: BTreeMap::new() }
    }

    fn shard(&self) -> &Shard {
        self.shard.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.shard.take().unwrap().close().unwrap();
        self.shard = Some(Shard::open(&self.directory, self.options.clone()).unwrap());
    }

    fn within<R>(&self, change: impl Fn(&mut Transaction<'_>) -> Result<R>) -> (R, Option<Lsn>) {
        let mut plan = LockPlan::exclusive();
        plan.add_all();
        let batch = self.shard().batch();
        loop {
            let mut txn = self.shard().begin(&batch, &plan);
            match change(&mut txn) {
                Ok(result) => return (result, txn.commit().unwrap()),
                Err(StorageError::Cold(location)) => {
                    drop(txn);
                    batch.add_fetched(self.shard().fetch_now(location).unwrap());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Forgets what expired, as the shard does.
    fn expire(&mut self) {
        let now = self.clock.load(Relaxed);
        self.now.retain(|_, (_, at)| at.is_none_or(|at| at > now));
    }

    fn step(&mut self) {
        self.clock.fetch_add(self.random.random_range(0..20), Relaxed);
        self.expire();
        let (db, key) = (self.random.random_range(0..DATABASES), self.random.random_range(0..KEYS));
        let expire_at = self.random.random_bool(0.3).then(|| self.clock.load(Relaxed) + self.random.random_range(1..3000));
        let lsn = match self.random.random_range(0..100) {
            0 => self.flush(db),
            1 => self.swap(db, self.random.clone().random_range(0..DATABASES)),
            2..12 => self.delete(db, key),
            12..30 => self.patch(db, key),
            30..35 => self.set_expire(db, key, expire_at),
            35..40 => self.several(db),
            _ => {
                let len =
                    if self.random.random_bool(0.3) { self.random.random_range(1100..2000) } else { self.random.random_range(0..200) };
                self.put(db, key, len, expire_at)
            }
        };
        if let Some(lsn) = lsn {
            self.states.insert(lsn.0, (self.clock.load(Relaxed), self.now.clone()));
        }
    }

    fn put(&mut self, db: u8, key: usize, len: usize, expire_at: Option<i64>) -> Option<Lsn> {
        let value: Vec<u8> = (0..len).map(|_| self.random.random()).collect();
        let bytes = name(key);
        let (_, lsn) = self.within(|txn| txn.put(Db(db), &self.shard().key(bytes.as_bytes()), &value, expire_at.map(UnixMillis)).map(drop));
        self.now.insert((db, key), (Arc::new(value), expire_at));
        lsn
    }

    fn several(&mut self, db: u8) -> Option<Lsn> {
        let (_, lsn) = self.within(|txn| {
            for key in 0..4 {
                txn.put(Db(db), &self.shard().key(name(key).as_bytes()), name(key + 7).as_bytes(), None)?;
            }
            txn.delete(Db(db), &self.shard().key(name(4).as_bytes()))
        });
        for key in 0..4 {
            self.now.insert((db, key), (Arc::new(name(key + 7).into_bytes()), None));
        }
        self.now.remove(&(db, 4));
        lsn
    }

    fn delete(&mut self, db: u8, key: usize) -> Option<Lsn> {
        self.now.remove(&(db, key));
        self.within(|txn| txn.delete(Db(db), &self.shard().key(name(key).as_bytes()))).1
    }

    fn patch(&mut self, db: u8, key: usize) -> Option<Lsn> {
        let at = self.random.random_range(0..1500_u64);
        let (_, lsn) = self.within(|txn| txn.write_range(Db(db), &self.shard().key(name(key).as_bytes()), at, b"patched"));
        let (value, _) = self.now.entry((db, key)).or_default();
        let value = Arc::make_mut(value);
        let end = at as usize + 7;
        value.resize(value.len().max(end), 0);
        value[at as usize..end].copy_from_slice(b"patched");
        lsn
    }

    fn set_expire(&mut self, db: u8, key: usize, expire_at: Option<i64>) -> Option<Lsn> {
        if let Some((_, at)) = self.now.get_mut(&(db, key)) {
            *at = expire_at;
        }
        self.within(|txn| txn.set_expire(Db(db), &self.shard().key(name(key).as_bytes()), expire_at.map(UnixMillis))).1
    }

    fn flush(&mut self, db: u8) -> Option<Lsn> {
        self.now.retain(|(of, _), _| *of != db);
        self.within(|txn| txn.flush(Db(db))).1
    }

    fn swap(&mut self, a: u8, b: u8) -> Option<Lsn> {
        let other = |db| {
            if db == a {
                b
            } else if db == b {
                a
            } else {
                db
            }
        };
        self.now = std::mem::take(&mut self.now).into_iter().map(|((db, key), value)| ((other(db), key), value)).collect();
        self.within(|txn| txn.swap(Db(a), Db(b))).1
    }

    fn ask(&self, db: u8, key: usize, at: Moment) -> Result<Option<PastValue>, HistoryError> {
        match self.shard().look_back(&Question::Value { db: Db(db), key: name(key).into_bytes(), at })? {
            Answer::Value(value) => Ok(value),
            _ => panic!("that was not asked"),
        }
    }

    /// Compares the past with what it was, from an LSN on.
    fn verify(&self, from: Lsn, every: usize) {
        for (lsn, (time, state)) in self.states.range(from.0..).step_by(every) {
            for db in 0..DATABASES {
                for key in (0..KEYS).step_by(1 + every / 3) {
                    let expected = state.get(&(db, key)).filter(|(_, at)| at.is_none_or(|at| at > *time));
                    let found = self.ask(db, key, Moment::Lsn(Lsn(*lsn))).unwrap_or_else(|error| panic!("LSN {lsn}: {error}"));
                    let found = found.map(|past| (past.value, past.expire_at.map(|at| at.0)));
                    let expected = expected.map(|(value, at)| (value.as_ref().clone(), *at));
                    assert!(found == expected, "LSN {lsn}, db {db}, {}: {found:?} and not {expected:?}", name(key));
                }
            }
        }
    }

    /// Has expired keys taken out of the index, which may take an entry.
    fn sweep(&mut self) {
        self.shard().sweep().unwrap();
        self.expire();
        self.states.insert(self.shard().written_lsn().0, (self.clock.load(Relaxed), self.now.clone()));
    }

    fn horizon(&self) -> Lsn {
        Lsn(self.shard().cleaning_figures().history_from)
    }

    /// Bytes of the segments that hold what is behind an LSN.
    fn bytes_from(&self, lsn: Lsn) -> u64 {
        let segments = self.shard().log().segments().in_order();
        segments.iter().filter(|segment| segment.last_lsn() > lsn).map(|segment| segment.map().written() as u64).sum()
    }

    fn clean(&self) {
        self.shard().clean(PATIENCE).unwrap();
    }
}

#[test]
fn every_state_of_a_log_that_was_not_cleaned_can_be_told() {
    let mut model = Model::new(1);
    (0..1500).for_each(|_| model.step());
    model.verify(Lsn(0), 7);
    model.reopen();
    model.verify(Lsn(0), 31);
}

#[test]
fn a_time_means_the_last_entry_written_by_then() {
    let mut model = Model::new(2);
    (0..800).for_each(|_| model.step());
    let mut by_time: BTreeMap<i64, &State> = BTreeMap::new();
    for (time, state) in model.states.values() {
        by_time.insert(*time, state);
    }
    for (time, state) in by_time.iter().step_by(23) {
        for key in 0..KEYS {
            let expected = state.get(&(0, key)).filter(|(_, at)| at.is_none_or(|at| at > *time)).map(|(value, _)| value.as_ref().clone());
            let found = model.ask(0, key, Moment::Time(UnixMillis(*time))).unwrap().map(|past| past.value);
            assert!(found == expected, "at {time}, {}", name(key));
        }
    }
    assert!(matches!(model.ask(0, 0, Moment::Time(UnixMillis(5))), Err(HistoryError::BeforeTheBeginning { .. })));
    let last = model.shard().written_lsn();
    assert!(matches!(model.ask(0, 0, Moment::Lsn(last.next())), Err(HistoryError::BehindTheEnd { last: l, .. }) if l == last));
}

#[test]
fn what_is_retained_can_be_told_after_cleaning_and_what_is_not_is_refused() {
    for seed in 3..6 {
        let mut model = Model::new(seed);
        model.options.history = HistoryRetention::Bytes(300 << 10);
        model.reopen();
        for _ in 0..6 {
            (0..500).for_each(|_| model.step());
            model.sweep();
            model.shard().checkpoint().unwrap();
            model.clean();
        }
        assert!(model.shard().cleaning_figures().jobs > 0);
        let horizon = model.horizon();
        let (first, last) = (*model.states.keys().next().unwrap(), *model.states.keys().last().unwrap());
        assert!(horizon > Lsn(first), "something was cleaned: {horizon} of {last}");
        let kept = model.shard().cleaning_figures().history_bytes;
        assert!((200 << 10..600 << 10).contains(&kept), "{kept} bytes kept");
        let behind: u64 = model.bytes_from(horizon);
        assert!(behind >= 300 << 10, "the state {behind} bytes ago can be told");
        model.verify(horizon, 11);
        assert!(matches!(model.ask(0, 0, Moment::Lsn(Lsn(first))), Err(HistoryError::BelowHorizon { horizon: h, .. }) if h == horizon));
        model.reopen();
        model.verify(horizon, 61);
    }
}

#[test]
fn without_retention_the_present_can_be_told_after_cleaning() {
    for seed in 8..11 {
        let mut model = Model::new(seed);
        for _ in 0..4 {
            (0..500).for_each(|_| model.step());
            model.sweep();
            model.shard().checkpoint().unwrap();
            model.clean();
            let last = *model.states.keys().last().unwrap();
            model.verify(Lsn(last), 1);
        }
        model.verify(model.horizon(), 5);
    }
}

#[test]
fn versions_are_told_newest_first_with_what_happened_to_the_database() {
    let mut model = Model::new(12);
    model.put(0, 1, 10, None);
    model.put(0, 2, 10, None);
    let expire_at = model.clock.load(Relaxed) + 9_000_000;
    model.put(0, 1, 1500, Some(expire_at));
    model.patch(0, 1);
    model.delete(0, 1);
    model.flush(0);
    model.put(1, 1, 30, None);
    model.swap(0, 1);
    let ask = |count| match model.shard().look_back(&Question::Versions { db: Db(0), key: name(1).into_bytes(), count }).unwrap() {
        Answer::Versions(versions) => versions,
        _ => panic!("that was not asked"),
    };
    let versions = ask(100);
    let changes: Vec<_> = versions.iter().map(|version| version.change.name()).collect();
    assert_eq!(changes, ["swap", "set", "flush", "delete", "write", "set", "set"]);
    let lengths: Vec<_> = versions.iter().map(|version| version.len).collect();
    assert_eq!(lengths[..4], [None, Some(30), None, None]);
    assert!(lengths[4] >= Some(1500));
    assert_eq!(lengths[5..], [Some(1500), Some(10)]);
    assert_eq!(versions[5].expire_at, Some(UnixMillis(expire_at)));
    assert!(versions.windows(2).all(|pair| pair[0].lsn > pair[1].lsn && pair[0].time >= pair[1].time));
    assert_eq!(ask(2), versions[..2]);
    assert!(matches!(
        model.shard().look_back(&Question::Versions { db: Db(0), key: b"none".to_vec(), count: 5 }).unwrap(),
        Answer::Versions(versions) if versions.iter().all(|version| version.len.is_none())
    ));
}

#[test]
fn a_large_value_that_was_given_back_is_told_to_be_gone() {
    let mut model = Model::new(13);
    let lsn = model.put(0, 1, 100_000, None).unwrap();
    assert_eq!(model.ask(0, 1, Moment::Lsn(lsn)).unwrap().unwrap().value.len(), 100_000);
    model.put(0, 1, 10, None);
    model.shard().flush_log().unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !matches!(model.ask(0, 1, Moment::Lsn(lsn)), Err(HistoryError::ValueGone { .. })) {
        assert!(std::time::Instant::now() < deadline, "the value stays");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_large_value_stays_as_long_as_history_is_retained() {
    let mut model = Model::new(14);
    model.options.history = HistoryRetention::Time(Duration::from_secs(60));
    model.reopen();
    let lsn = model.put(0, 1, 100_000, None).unwrap();
    model.put(0, 1, 10, None);
    model.shard().flush_log().unwrap();
    // Longer than the grace that values have anyway.
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(model.ask(0, 1, Moment::Lsn(lsn)).unwrap().unwrap().value.len(), 100_000);
}

#[test]
fn the_thread_answers() {
    let mut model = Model::new(15);
    let lsn = model.put(0, 1, 100, None).unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    let question = Question::Value { db: Db(0), key: name(1).into_bytes(), at: Moment::Lsn(lsn) };
    model.shard().ask_history(question, Box::new(move |answer| send.send(answer).unwrap()));
    assert!(matches!(receive.recv_timeout(PATIENCE).unwrap().unwrap(), Answer::Value(Some(past)) if past.value.len() == 100));
}

/// Writes many times what is retained; the log must not keep more than that and what is live.
fn bytes_after(rounds: usize, write: impl Fn(&mut Model, usize)) -> u64 {
    let mut model = Model::new(16);
    model.options.history = HistoryRetention::Bytes(256 << 10);
    model.reopen();
    for round in 0..rounds {
        for n in 0..1000 {
            model.clock.fetch_add(1, Relaxed);
            write(&mut model, round * 1000 + n);
        }
        model.shard().checkpoint().unwrap();
        model.clean();
    }
    // What was held back in a pass is looked at again in the next.
    model.shard().checkpoint().unwrap();
    model.clean();
    model.bytes_from(Lsn(0))
}

#[test]
fn old_versions_go_although_their_keys_are_written_all_the_time() {
    let bytes = bytes_after(20, |model, n| {
        model.put(0, n % 10, 300, None);
    });
    assert!(bytes < 700 << 10, "{bytes} of about 7 MB");
}

#[test]
fn deleted_keys_go_when_their_deletion_is_older_than_what_is_retained() {
    let bytes = bytes_after(20, |model, n| {
        model.put(0, n, 300, None);
        model.delete(0, n);
    });
    assert!(bytes < 900 << 10, "{bytes} of about 7 MB");
    // With a short life between: the deletion is far from what it deletes.
    let bytes = bytes_after(20, |model, n| {
        model.put(0, n, 300, None);
        if n >= 2500 {
            model.delete(0, n - 2500);
        }
    });
    assert!(bytes < 2500 << 10, "{bytes} of about 7 MB, of which 0.9 MB are live");
}

#[test]
fn databases_that_are_flushed_all_the_time_are_given_back() {
    let bytes = bytes_after(20, |model, n| {
        model.put(1, n % 100, 300, None);
        if n % 100 == 99 {
            model.flush(1);
        }
    });
    assert!(bytes < 900 << 10, "{bytes} of about 7 MB");
}

#[test]
fn what_was_evicted_is_there_before_and_absent_after() {
    let mut model = Model::new(17);
    model.options.history = HistoryRetention::Bytes(600 << 10);
    model.options.data_limit = 512 << 10;
    model.options.eviction = Some(EvictionPolicy { order: EvictionOrder::Random, volatile_only: false });
    model.reopen();
    // The whole of the index after each write is too much to compare with: what is evicted meanwhile shows in what reads as absent.
    let keys = 4000;
    let mut written = Vec::new();
    for key in 0..keys {
        written.push(model.put(0, key, 300, None).unwrap());
        if key % 500 == 499 {
            model.shard().checkpoint().unwrap();
            model.clean();
        }
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while model.shard().index().evicted() == Lsn(0) {
        assert!(std::time::Instant::now() < deadline, "nothing is evicted");
        std::thread::sleep(Duration::from_millis(10));
    }
    model.shard().checkpoint().unwrap();
    model.clean();
    let horizon = model.horizon();
    let (mut kept, mut evicted) = (0, 0);
    let now = model.shard().written_lsn();
    for key in (0..keys).filter(|key| written[*key] >= horizon).step_by(5) {
        let bytes = name(key);
        let there = model.within(|txn| Ok(txn.get(Db(0), &model.shard().key(bytes.as_bytes()))?.is_some())).0;
        let then = model.ask(0, key, Moment::Lsn(written[key])).unwrap();
        assert!(then.is_some_and(|past| past.value == *model.now[&(0, key)].0), "{bytes} at its LSN");
        // Eviction goes on beside: an answer that may be newer than the look is not held against it.
        if model.shard().written_lsn() == now {
            assert_eq!(model.ask(0, key, Moment::Lsn(now)).unwrap().is_some(), there, "{bytes} now");
        }
        kept += u32::from(there);
        evicted += u32::from(!there);
    }
    assert!(kept > 20 && evicted > 20, "{kept} kept, {evicted} evicted");
}
