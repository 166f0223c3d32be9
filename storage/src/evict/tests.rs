#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{EvictionOrder, EvictionPolicy, KEY_BYTES};
use crate::codec::entry::{EntryView, encode_single, single_len};
use crate::codec::evicted::Evicted;
use crate::codec::op::{Op, OpCode};
use crate::fs::{Directory, MemoryDirectory};
use crate::log::{Frames, Segment};
use crate::options::{Options, SyncMode};
use crate::shard::Shard;
use crate::shard::testing::within;
use crate::types::{Db, UnixMillis};

const PATIENCE: Duration = Duration::from_secs(20);
const LIMIT: u64 = 2 << 20;
const SEGMENT: u64 = 32 << 10;

fn options(eviction: Option<EvictionPolicy>) -> Options {
    let sizes = Options { segment_size: SEGMENT as u32, index_reserve: 1 << 30, checkpoint_bytes: 1 << 20, ..Options::default() };
    Options { sync: SyncMode::No, data_limit: LIMIT, eviction, expiry_sweep_time: Duration::ZERO, ..sizes }
}

fn name(n: u64) -> String {
    format!("key:{n:06}")
}

/// A cache, and what was last written to it.
struct Cache {
    directory: Arc<dyn Directory>,
    shard: Option<Shard>,
    policy: Option<EvictionPolicy>,
    written: BTreeMap<String, Vec<u8>>,
    evicted: Arc<Mutex<Vec<String>>>,
    random: StdRng,
}

impl Cache {
    fn new(policy: Option<EvictionPolicy>, seed: u64) -> Self {
        let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new());
        let random = StdRng::seed_from_u64(seed);
        let mut cache = Self { directory, shard: None, policy, written: BTreeMap::new(), evicted: Arc::default(), random };
        cache.open();
        cache
    }

    fn open(&mut self) {
        let shard = Shard::open(&self.directory, options(self.policy)).unwrap();
        let evicted = Arc::clone(&self.evicted);
        shard.on_evicted(Box::new(move |_, key| evicted.lock().push(String::from_utf8(key.to_vec()).unwrap())));
        self.shard = Some(shard);
    }

    fn shard(&self) -> &Shard {
        self.shard.as_ref().unwrap()
    }

    fn put(&mut self, n: u64, len: usize, expire_at: Option<UnixMillis>) {
        let value: Vec<u8> = (0..len).map(|_| self.random.random()).collect();
        within(self.shard(), |txn| txn.put(Db(0), &self.shard().key(name(n).as_bytes()), &value, expire_at));
        self.written.insert(name(n), value);
        if let Some(delay) = self.shard().write_delay(0) {
            std::thread::sleep(delay);
        }
    }

    fn get(&self, n: u64) -> Option<Vec<u8>> {
        let key = name(n);
        within(self.shard(), |txn| Ok(txn.get(Db(0), &self.shard().key(key.as_bytes()))?.map(|object| object.data.into_owned())))
    }

    /// As a cache is used: what is not there is written.
    fn ask_for(&mut self, n: u64) -> bool {
        let hit = self.get(n).is_some();
        if !hit {
            self.put(n, 200, None);
        }
        hit
    }

    /// The keys that are there, each of which must have what was last written.
    fn present(&self, keys: u64) -> Vec<u64> {
        let there = |n: &u64| {
            let value = self.get(*n);
            assert!(value.is_none() || value.as_ref() == self.written.get(&name(*n)), "{n} is out of date");
            value.is_some()
        };
        (0..keys).filter(there).collect()
    }

    fn used(&self) -> u64 {
        let shard = self.shard();
        shard.live_bytes() + KEY_BYTES * shard.index().table_keys(shard.index().tables().slot(Db(0)))
    }

    fn wait_until_within_limit(&self) {
        self.shard().evict().unwrap();
        assert!(self.used() <= LIMIT, "{} of {LIMIT}", self.used());
    }

    /// Waits until the data is within its limit without being asked: it is soon, however fast it was written.
    fn wait_for_the_thread(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.used() > LIMIT + SEGMENT {
            assert!(Instant::now() < deadline, "{} of {LIMIT}", self.used());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn reopen(&mut self, clean_stop: bool) {
        let shard = self.shard.take().unwrap();
        if clean_stop {
            shard.close().unwrap();
            drop(shard);
        } else {
            shard.abandon();
        }
        self.open();
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
        self.open();
    }
}

fn policy(order: EvictionOrder) -> Option<EvictionPolicy> {
    Some(EvictionPolicy { order, volatile_only: false })
}

const ORDERS: [EvictionOrder; 5] =
    [EvictionOrder::S3Fifo, EvictionOrder::Lru, EvictionOrder::Lfu, EvictionOrder::Random, EvictionOrder::Ttl];

#[test]
fn data_stays_within_its_limit_and_what_is_left_is_right() {
    for order in ORDERS {
        let mut cache = Cache::new(policy(order), 1);
        for n in 0..20_000 {
            cache.put(n, 200, None);
            if n % 1000 == 0 {
                cache.wait_for_the_thread();
            }
        }
        cache.wait_until_within_limit();
        assert!(cache.used() > LIMIT - 4 * SEGMENT, "{order:?}: only {} of {LIMIT}", cache.used());
        let present = cache.present(20_000);
        let figures = cache.shard().eviction_figures();
        assert_eq!(figures.keys as usize, 20_000 - present.len(), "{order:?}: {figures:?}");
        assert_eq!(cache.evicted.lock().len(), figures.keys as usize);
        assert!(!cache.shard().is_over_data_limit());
    }
}

#[test]
fn what_was_evicted_stays_evicted_after_every_kind_of_start() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut cache = Cache::new(Some(EvictionPolicy::S3_FIFO), seed);
    for round in 0..14 {
        for _ in 0..4000 {
            let n = cache.random.random_range(0..15_000);
            match cache.random.random_range(0..10) {
                0 => {
                    within(cache.shard(), |txn| txn.delete(Db(0), &cache.shard().key(name(n).as_bytes())));
                    cache.written.remove(&name(n));
                }
                1..4 => cache.put(n, 250, None),
                _ => drop(cache.ask_for(n)),
            }
        }
        cache.wait_until_within_limit();
        if round % 3 == 0 {
            cache.shard().clean(PATIENCE).unwrap();
        }
        // Nothing is evicted while two sides are compared.
        cache.shard().set_eviction(None);
        let (before, used) = (cache.present(15_000), cache.used());
        cache.policy = None;
        match round % 7 {
            0 => cache.reopen(true),
            1 | 2 => cache.reopen(false),
            3 | 4 => cache.rebuild(true),
            5 | 6 => cache.rebuild(false),
            _ => {}
        }
        assert_eq!(cache.present(15_000), before, "round {round}");
        assert_eq!(cache.used(), used, "round {round}: counters");
        cache.shard().set_eviction(Some(EvictionPolicy::S3_FIFO));
        cache.policy = Some(EvictionPolicy::S3_FIFO);
    }
    assert!(cache.shard().eviction_figures().keys + cache.evicted.lock().len() as u64 > 10_000);
}

#[test]
fn kill_between_the_entry_and_the_removal_loses_no_eviction() {
    // The entry is in the log, and its keys are still in the index: what the next start must make good.
    let mut cache = Cache::new(None, 3);
    for n in 0..3000 {
        cache.put(n, 200, None);
    }
    let before = cache.present(3000);
    let victim = cache.shard().log().segments().in_order().into_iter().find(|segment| segment.is_sealed()).unwrap();
    let mut frames = Frames::new(&victim);
    let mut gone = Vec::new();
    while let Some(window) = frames.window(64).ok().filter(|window| !window.is_empty()) {
        let has_key = |entry: &EntryView<'_>| entry.ops().all(|(_, op)| op.header.code.has_key());
        gone.extend(window.iter().filter(|(_, entry)| has_key(entry)).map(|(_, entry)| (entry.head().lsn, 0)));
    }
    let evicted = Evicted::new(gone.clone()).unwrap();
    let body = evicted.encode();
    let op = Op::control(OpCode::Evict, &body);
    let log = &cache.shard().log();
    let fill = |out: &mut [u8], head| encode_single(out, head, log.seed, &op);
    let index = cache.shard().index();
    let position = index.replay_position();
    log.append(single_len(&op), UnixMillis(0), fill).unwrap();
    // Some key of it is written again before it is removed.
    within(cache.shard(), |txn| txn.put(Db(0), &cache.shard().key(name(0).as_bytes()), b"again", None));
    // Who evicts holds all stripes, which a replay position waits for: none comes to lie behind the entry before it is carried out.
    let deadline = Instant::now() + PATIENCE;
    while index.replay_position().lsn < cache.shard().written_lsn() {
        assert!(Instant::now() < deadline, "the replay position does not follow");
        std::thread::sleep(Duration::from_millis(5));
    }
    index.set_replay_position(position);
    cache.written.insert(name(0), b"again".to_vec());
    cache.reopen(false);
    let after = cache.present(3000);
    assert_eq!(after.len(), before.len() - gone.len() + 1);
    assert_eq!(after[0], 0);
}

#[test]
fn what_is_asked_for_stays() {
    for order in [EvictionOrder::S3Fifo, EvictionOrder::Lru, EvictionOrder::Lfu] {
        let mut cache = Cache::new(policy(order), 4);
        for n in 0..30_000 {
            cache.ask_for(n);
            // A fifth of the limit is asked for again and again.
            cache.ask_for(n % 1500);
        }
        cache.wait_until_within_limit();
        let kept = (0..1500).filter(|n| cache.get(*n).is_some()).count();
        assert!(kept > 1480, "{order:?}: {kept} of 1500");
    }
}

#[test]
fn a_scan_does_not_push_out_what_has_proved_itself() {
    let mut cache = Cache::new(Some(EvictionPolicy::S3_FIFO), 5);
    for round in 0..30 {
        for n in 0..2000 {
            cache.ask_for(n);
        }
        for n in 0..2000 {
            cache.ask_for(100_000 + 2000 * round + n);
        }
    }
    let kept = (0..2000).filter(|n| cache.get(*n).is_some()).count();
    assert!(kept > 1900, "{kept} of 2000");
}

#[test]
fn only_keys_with_an_expiry_go_under_a_volatile_policy() {
    let mut cache = Cache::new(Some(EvictionPolicy { order: EvictionOrder::Lru, volatile_only: true }), 6);
    let far = UnixMillis(i64::MAX / 2);
    for n in 0..12_000 {
        cache.put(n, 200, (n % 2 == 0).then_some(far));
        if cache.shard().is_over_data_limit() {
            break;
        }
    }
    cache.shard().evict().unwrap();
    let present = cache.present(12_000);
    assert!(present.iter().filter(|n| *n % 2 == 1).count() * 2 >= cache.written.len() - 1, "keys without an expiry stay");
    assert!(cache.written.len() - present.len() > 1000, "{} of {} left", present.len(), cache.written.len());
}

#[test]
fn without_anything_to_evict_writers_are_told() {
    for policy in [None, Some(EvictionPolicy { order: EvictionOrder::Lru, volatile_only: true })] {
        let mut cache = Cache::new(policy, 7);
        for n in 0..12_000 {
            cache.put(n, 200, None);
        }
        let deadline = Instant::now() + PATIENCE;
        while !cache.shard().is_over_data_limit() {
            assert!(Instant::now() < deadline, "{policy:?}: never over the limit");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(cache.present(12_000).len(), 12_000);
        cache.shard().set_data_limit(0);
        while cache.shard().is_over_data_limit() {
            assert!(Instant::now() < deadline, "{policy:?}: over no limit");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn of_keys_that_expire_the_soonest_go_first() {
    let mut cache = Cache::new(Some(EvictionPolicy { order: EvictionOrder::Ttl, volatile_only: true }), 8);
    let far = i64::MAX / 2;
    for n in 0..12_000 {
        let at = far + cache.random.random_range(0..1_000_000);
        cache.put(n, 200, Some(UnixMillis(at + if n % 2 == 0 { 0 } else { 2_000_000 })));
    }
    cache.wait_until_within_limit();
    let present = cache.present(12_000);
    let (soon, late): (Vec<u64>, Vec<u64>) = present.into_iter().partition(|n| n % 2 == 0);
    assert!(soon.len() * 3 < late.len() * 2, "{} that expire soon and {} that expire late", soon.len(), late.len());
}

#[test]
fn entries_that_evict_go_when_what_they_name_is_gone() {
    let mut cache = Cache::new(Some(EvictionPolicy::S3_FIFO), 9);
    for n in 0..60_000 {
        cache.put(n, 200, None);
    }
    cache.wait_until_within_limit();
    cache.shard().set_eviction(None);
    cache.policy = None;
    let before = cache.present(60_000);
    for _ in 0..4 {
        cache.shard().checkpoint().unwrap();
        cache.shard().clean(PATIENCE).unwrap();
    }
    let count = || {
        let segments = cache.shard().log().segments().in_order();
        let of_segment = |segment: &Arc<Segment>| {
            let mut frames = Frames::new(segment);
            let mut count = 0;
            while let Some(window) = frames.window(64).ok().filter(|window| !window.is_empty()) {
                let is_one = |code| code == OpCode::Evict;
                count += window.iter().flat_map(|(_, entry)| entry.ops()).filter(|(_, op)| is_one(op.header.code)).count();
            }
            count
        };
        segments.iter().filter(|segment| segment.is_sealed()).map(of_segment).sum::<usize>()
    };
    let (left, made) = (count(), cache.shard().eviction_figures().entries as usize);
    assert!(made > 20 && left < made / 2, "{left} of {made} are left");
    cache.rebuild(false);
    assert_eq!(cache.present(60_000), before);
}
