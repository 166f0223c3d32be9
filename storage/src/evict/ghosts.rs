//! Keys that failed their probation, remembered for about as long as the main queue is.
//!
//! A table of buckets of eight marks: 12 bits of the key's hash and 4 bits of generation. A generation ends after a twelfth of what is to be
//! remembered; marks that are twelve generations old are forgotten.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;

use crate::types::KeyHash;

/// Marks of a bucket.
const BUCKET: usize = 8;
/// Generations that are remembered, of 15: 0 says that a place is free.
const REMEMBERED: u8 = 12;
const GENERATIONS: u8 = 15;

/// The table. One thread adds, any may take.
#[derive(Debug)]
pub(super) struct Ghosts {
    marks: ArcSwap<Box<[AtomicU16]>>,
    /// Keys to remember.
    capacity: AtomicUsize,
    /// 1 to 15.
    generation: AtomicU8,
    /// Marks added in this generation.
    added: AtomicUsize,
}

impl Default for Ghosts {
    fn default() -> Self {
        let marks = ArcSwap::from_pointee(empty(0));
        Self { marks, capacity: AtomicUsize::new(0), generation: AtomicU8::new(1), added: AtomicUsize::new(0) }
    }
}

fn empty(len: usize) -> Box<[AtomicU16]> {
    (0..len).map(|_| AtomicU16::new(0)).collect()
}

/// How many generations ago a mark was made; none if it is free.
fn age(mark: u16, now: u8) -> Option<u8> {
    let made = (mark & 15) as u8;
    (made != 0).then(|| (now + GENERATIONS - made) % GENERATIONS)
}

/// What is kept of a hash: bits that choose no bucket.
fn fingerprint(hash: KeyHash) -> u16 {
    (hash.0 >> 52) as u16
}

fn bucket(marks: &[AtomicU16], hash: KeyHash) -> Option<&[AtomicU16]> {
    let buckets = marks.len() / BUCKET;
    let at = (hash.0 as usize).checked_rem(buckets)? * BUCKET;
    marks.get(at..at + BUCKET)
}

impl Ghosts {
    /// Remembers so many keys from now on: what was remembered is kept only while the table need not grow.
    pub(super) fn reserve(&self, keys: u64) {
        let keys = keys as usize;
        self.capacity.store(keys, Relaxed);
        let wanted = (keys + keys / 2).div_ceil(BUCKET) * BUCKET;
        if self.marks.load().len() < wanted {
            // A quarter more, so that a cache that fills starts over only now and then.
            self.marks.store(empty((wanted + wanted / 4).next_multiple_of(BUCKET)).into());
        }
    }

    pub(super) fn add(&self, hash: KeyHash) {
        let marks = self.marks.load();
        let Some(bucket) = bucket(&marks, hash) else { return };
        let now = self.generation.load(Relaxed);
        let age_of = |place: &&AtomicU16| age(place.load(Relaxed), now).unwrap_or(u8::MAX);
        if let Some(place) = bucket.iter().max_by_key(age_of) {
            place.store(fingerprint(hash) << 4 | u16::from(now), Relaxed);
        }
        let added = self.added.load(Relaxed) + 1;
        self.added.store(added, Relaxed);
        if added > self.capacity.load(Relaxed) / usize::from(REMEMBERED) {
            self.next_generation(&marks);
        }
    }

    fn next_generation(&self, marks: &[AtomicU16]) {
        let next = self.generation.load(Relaxed) % GENERATIONS + 1;
        for place in marks {
            if age(place.load(Relaxed), next).is_some_and(|age| age >= REMEMBERED || age == 0) {
                place.store(0, Relaxed);
            }
        }
        self.generation.store(next, Relaxed);
        self.added.store(0, Relaxed);
    }

    /// Whether the key is remembered; it is not from then on.
    #[inline]
    pub(super) fn take(&self, hash: KeyHash) -> bool {
        let marks = self.marks.load();
        let Some(bucket) = bucket(&marks, hash) else { return false };
        let wanted = fingerprint(hash);
        let found = bucket.iter().find(|place| {
            let mark = place.load(Relaxed);
            mark & 15 != 0 && mark >> 4 == wanted
        });
        if let Some(place) = found {
            place.store(0, Relaxed);
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> KeyHash {
        KeyHash(xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()))
    }

    #[test]
    fn a_ghost_is_seen_once_and_few_others_are_taken_for_one() {
        let ghosts = Ghosts::default();
        assert!(!ghosts.take(hash(0)), "an empty table");
        ghosts.add(hash(0));
        ghosts.reserve(100_000);
        (0..90_000).for_each(|n| ghosts.add(hash(n)));
        let wrong = (100_000..200_000).filter(|n| ghosts.take(hash(*n))).count();
        assert!(wrong < 300, "{wrong}");
        let seen = (0..90_000).filter(|n| ghosts.take(hash(*n))).count();
        assert!(seen > 88_000, "{seen}");
        assert!((0..90_000).filter(|n| ghosts.take(hash(*n))).count() < 200);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let ghosts = Ghosts::default();
        ghosts.reserve(50_000);
        (0..200_000).for_each(|n| ghosts.add(hash(n)));
        let seen = |range: std::ops::Range<u64>| range.filter(|n| ghosts.take(hash(*n))).count();
        assert!(seen(0..100_000) < 1000, "long ago");
        assert!(seen(160_000..200_000) > 39_000, "of late");
    }
}
