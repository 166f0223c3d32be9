//! What a read may return, given the writes that this process sent and the replies that it got.
//!
//! A version is the Unix time in nanoseconds at which its write was sent, made unique. A write is stale once another one was acknowledged
//! that was sent after the first one's reply: whatever order the server chose, it is not the last. So when a write is sent it notes the
//! lowest version of its key that is still under way, its `low`; once it is acknowledged everything below that is stale. Writes that
//! overlap stay legal whichever comes out last, and so do writes whose outcome is unknown.
//!
//! Invariants:
//! - A key's floor rises only when a write is acknowledged, and only to that write's `low`.
//! - A version at or above the floor is never called stale.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const PARTS: u64 = 256;
/// How early a key may expire: servers read their clock once for many commands.
const EARLY: u64 = 100_000_000;

/// Gives versions.
#[derive(Debug, Default)]
pub(super) struct Versions(AtomicU64);

impl Versions {
    pub(super) fn next(&self) -> u64 {
        let now = unix_nanos();
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        last.map_or(now, |last| now.max(last + 1))
    }
}

fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// A write that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) version: u64,
    low: u64,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Acknowledged,
    /// It may have happened, or not.
    Unknown,
}

/// Writes of a key that are not simply in the past.
#[derive(Debug, Default)]
struct Open {
    under_way: Vec<u64>,
    unknown: Vec<u64>,
    unknown_delete: bool,
}

/// What is known of all keys.
#[derive(Debug)]
pub(super) struct Book {
    versions: Versions,
    floors: Box<[AtomicU64]>,
    /// The highest version of a DEL that was sent.
    deletes: Box<[AtomicU64]>,
    /// The highest INCR that was acknowledged.
    counters: Box<[AtomicI64]>,
    open: Vec<Mutex<HashMap<u64, Open>>>,
    /// The shortest time to live that any key can get.
    ttl: Option<u64>,
}

impl Book {
    /// `counters`: whether there will be any.
    pub(super) fn new(keys: u64, ttl: Option<u64>, counters: bool) -> Self {
        let zeros = |len: u64| (0..len).map(|_| AtomicU64::new(0)).collect();
        Self {
            versions: Versions::default(),
            floors: zeros(keys),
            deletes: zeros(keys),
            counters: (0..if counters { keys } else { 0 }).map(|_| AtomicI64::new(i64::MIN)).collect(),
            open: (0..PARTS).map(|_| Mutex::default()).collect(),
            ttl,
        }
    }

    fn open(&self, key: u64) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open[(key % PARTS) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write is about to be sent.
    pub(super) fn begin(&self, key: u64, delete: bool) -> Write {
        let mut open = self.open(key);
        let version = self.versions.next();
        let open = open.entry(key).or_default();
        // They were begun in order, under the lock.
        let low = open.under_way.first().copied().unwrap_or(version);
        open.under_way.push(version);
        if delete {
            self.deletes[key as usize].fetch_max(version, Ordering::Relaxed);
        }
        Write { version, low }
    }

    /// A write's reply has come, or never will.
    pub(super) fn end(&self, key: u64, write: Write, delete: bool, ended: Ended) {
        let mut parts = self.open(key);
        let Some(open) = parts.get_mut(&key) else { return };
        open.under_way.retain(|version| *version != write.version);
        match ended {
            Ended::Acknowledged => drop(self.floors[key as usize].fetch_max(write.low, Ordering::Relaxed)),
            Ended::Unknown if delete => open.unknown_delete = true,
            Ended::Unknown => open.unknown.push(write.version),
        }
        if open.under_way.is_empty() && open.unknown.is_empty() && !open.unknown_delete {
            parts.remove(&key);
        }
    }

    /// What a read that is about to be sent may not be older than; 0: nothing was acknowledged.
    pub(super) fn floor(&self, key: u64) -> u64 {
        self.floors[key as usize].load(Ordering::Relaxed)
    }

    /// Whether a read sent at this floor may return this version.
    pub(super) fn allows(&self, key: u64, floor: u64, version: u64) -> bool {
        version >= floor || self.open(key).get(&key).is_some_and(|open| open.unknown.contains(&version))
    }

    /// Whether a read sent at this floor may find nothing.
    pub(super) fn allows_miss(&self, key: u64, floor: u64) -> bool {
        floor == 0
            || self.deletes[key as usize].load(Ordering::Relaxed) >= floor
            || self.ttl.is_some_and(|ttl| floor.saturating_add(ttl) <= unix_nanos() + EARLY)
            || self.open(key).get(&key).is_some_and(|open| open.unknown_delete)
    }

    /// The highest reply of INCR so far.
    pub(super) fn counter(&self, key: u64) -> i64 {
        self.counters[key as usize].load(Ordering::Relaxed)
    }

    /// INCR returned this.
    pub(super) fn counted(&self, key: u64, value: i64) {
        self.counters[key as usize].fetch_max(value, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(book: &Book) -> u64 {
        let write = book.begin(1, false);
        book.end(1, write, false, Ended::Acknowledged);
        write.version
    }

    #[test]
    fn what_was_acknowledged_before_a_later_write_was_sent_is_stale() {
        let book = Book::new(2, None, false);
        assert!(book.allows(1, book.floor(1), 0) && book.allows_miss(1, book.floor(1)), "nothing is known");
        let (first, second) = (set(&book), set(&book));
        let floor = book.floor(1);
        assert!(book.allows(1, floor, second) && !book.allows(1, floor, first) && !book.allows_miss(1, floor));
        assert!(book.open.iter().all(|part| part.lock().is_ok_and(|part| part.is_empty())), "nothing is kept of what is past");
    }

    #[test]
    fn writes_that_overlap_may_end_in_either_order() {
        let book = Book::new(2, None, false);
        let before = set(&book);
        let (a, b) = (book.begin(1, false), book.begin(1, false));
        book.end(1, b, false, Ended::Acknowledged);
        assert!(book.allows(1, book.floor(1), a.version), "a is under way and may come last");
        book.end(1, a, false, Ended::Acknowledged);
        assert!(book.allows(1, book.floor(1), a.version) && book.allows(1, book.floor(1), b.version));
        assert!(!book.allows(1, book.floor(1), before));
        let after = set(&book);
        assert!(!book.allows(1, book.floor(1), b.version) && book.allows(1, book.floor(1), after));
    }

    #[test]
    fn a_write_without_a_reply_may_have_happened() {
        let book = Book::new(2, None, false);
        let lost = book.begin(1, false);
        book.end(1, lost, false, Ended::Unknown);
        let (older, newer) = (set(&book), set(&book));
        let floor = book.floor(1);
        assert!(book.allows(1, floor, lost.version) && book.allows(1, floor, newer) && !book.allows(1, floor, older));
        assert!(!book.allows_miss(1, floor));
        let deleted = book.begin(1, true);
        book.end(1, deleted, true, Ended::Unknown);
        set(&book);
        assert!(book.allows_miss(1, book.floor(1)));
    }

    #[test]
    fn misses_need_a_delete_or_the_end_of_a_time_to_live() {
        let book = Book::new(2, None, false);
        set(&book);
        let read = book.floor(1);
        let delete = book.begin(1, true);
        assert!(book.allows_miss(1, read), "the delete may have overtaken the read");
        book.end(1, delete, true, Ended::Acknowledged);
        assert!(book.allows_miss(1, book.floor(1)));
        set(&book);
        assert!(!book.allows_miss(1, book.floor(1)), "written again since");

        let short = Book::new(2, Some(0), false);
        let long = Book::new(2, Some(3_600_000_000_000), false);
        set(&short);
        set(&long);
        assert!(short.allows_miss(1, short.floor(1)) && !long.allows_miss(1, long.floor(1)));
    }
}
