//! How much of the disk a shard may take.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::hold::Hold;
use crate::fs::Directory;

/// The limit, and how far it is reached. What checks it is the making of segments and of value segments: nothing else grows by itself.
#[derive(Debug, Default)]
pub struct SpaceLimit {
    /// Bytes; 0: none.
    limit: AtomicU64,
    /// Bytes in use when last measured.
    measured: AtomicU64,
    /// Bytes that the limit and the medium allow in all, when last measured; 0: not measured yet.
    allowed: AtomicU64,
    /// Bytes taken for value segments since the start, those of them that have been allocated, and those that are in what was measured.
    taken: AtomicU64,
    allocated: AtomicU64,
    noted: AtomicU64,
    /// Bytes of a segment: the log leaves some free of the limit, for cleaning and for entries that free space.
    segment: AtomicU64,
    /// What else it leaves free.
    others: OnceLock<Others>,
    /// Somebody was refused since cleaning last looked, and before it did.
    refused: AtomicBool,
    pressed: AtomicBool,
    /// Whether cleaning has something to give back.
    reclaims: AtomicBool,
    /// Bytes of the reserve that the segment which cleaning is writing takes.
    lent: AtomicU64,
    hold: Hold,
}

/// Asked for the bytes that are to stay free for what is not the log: the next checkpoint, which lets cleaning give space back, and the
/// index. Asked each time, as a log that is written fast fills a small disk between two looks of cleaning.
struct Others(Box<dyn Fn() -> u64 + Send + Sync>);

impl std::fmt::Debug for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", (self.0)())
    }
}

/// Segments that may still be written when the log may not grow any more: by cleaning, one at a time, one of entries that free space, and as
/// much for footers, manifests and the first segment of a start.
const RESERVED_SEGMENTS: u64 = 3;

/// From this share of the space on.
const NEAR_LIMIT: f64 = 0.85;

impl SpaceLimit {
    /// Bytes that the shard's files may take; 0: no limit.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit; 0: none.
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that the shard's files take: what was last measured, and the value segments begun since.
    #[must_use]
    pub fn used(&self) -> u64 {
        let since = self.taken.load(Ordering::Relaxed).saturating_sub(self.noted.load(Ordering::Relaxed));
        self.measured.load(Ordering::Relaxed) + since
    }

    /// Looks how much is in use, and how much the medium has left: a full medium is a limit like the other.
    pub(crate) fn measure(&self, directory: &dyn Directory) -> std::io::Result<()> {
        self.measure_with(&|| directory.free_space(), &|| directory.usage())
    }

    fn measure_with(&self, free: &dyn Fn() -> std::io::Result<u64>, usage: &dyn Fn() -> std::io::Result<u64>) -> std::io::Result<()> {
        // First: what is taken meanwhile is counted twice rather than not at all.
        let noted = self.allocated.load(Ordering::Relaxed);
        // Before and after: what goes or comes between two looks must not count as room twice.
        let before = free()?;
        let used = usage()?;
        self.set_measured(noted, used, before.min(free()?));
        Ok(())
    }

    fn set_measured(&self, noted: u64, used: u64, free: u64) {
        self.noted.store(noted, Ordering::Relaxed);
        self.measured.store(used, Ordering::Relaxed);
        self.allowed.store(used.saturating_add(free).max(1), Ordering::Relaxed);
    }

    /// Whether room can be expected without anything being deleted.
    pub(crate) fn reclaims(&self) -> bool {
        self.reclaims.load(Ordering::Relaxed)
    }

    pub(crate) fn set_reclaims(&self, reclaims: bool) {
        self.reclaims.store(reclaims, Ordering::Relaxed);
    }

    /// How long whoever has just written so many bytes should pause, so that cleaning keeps up with the log; none as a rule.
    #[inline]
    #[must_use]
    pub fn write_delay(&self, bytes: u64) -> Option<Duration> {
        self.hold.wrote(bytes)
    }

    /// Holds writers to so many bytes a second; none: to nothing.
    pub(crate) fn hold_writers(&self, rate: Option<f64>) {
        self.hold.set_rate(rate);
    }

    /// Leaves room for some segments of this size.
    pub(crate) fn reserve_segments(&self, segment: u64) {
        self.segment.store(segment, Ordering::Relaxed);
    }

    /// Leaves so many bytes free beside that.
    pub(crate) fn reserve_for(&self, others: impl Fn() -> u64 + Send + Sync + 'static) {
        self.others.get_or_init(|| Others(Box::new(others)));
    }

    /// The part of the reserve that is for entries that free space.
    fn for_entries(&self) -> u64 {
        self.segment.load(Ordering::Relaxed)
    }

    fn reserve(&self) -> u64 {
        RESERVED_SEGMENTS * self.for_entries() + self.others.get().map_or(0, |others| (others.0)())
    }

    /// Tells how much of the reserve cleaning has in use.
    pub(crate) fn set_lent(&self, bytes: u64) {
        self.lent.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that the shard may take in all; none before the first measurement, without a limit.
    fn bound(&self) -> Option<u64> {
        let bounds = [self.limit(), self.allowed.load(Ordering::Relaxed)];
        bounds.into_iter().filter(|bound| *bound > 0).min()
    }

    /// Bytes that the log and large values may take of the limit, beside what is reserved; none before the first measurement, without a
    /// limit.
    pub(crate) fn for_log(&self) -> Option<u64> {
        // What cleaning has of the reserve is in what is used.
        let lent = self.lent.load(Ordering::Relaxed).min(self.for_entries());
        let reserve = self.reserve().saturating_sub(lent);
        Some(self.bound()?.saturating_sub(reserve).max(1))
    }

    /// Bytes that are left of that; negative when more is in use.
    pub(crate) fn free(&self) -> Option<i64> {
        self.for_log().map(|bound| bound as i64 - self.used() as i64)
    }

    /// Whether somebody was refused when cleaning last looked: what is left may be too little for a large value.
    pub(crate) fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// The part of what the log may use that is in use, 0 without a limit. All of it while somebody is refused: what is left may be too
    /// little for a large value.
    pub(crate) fn share(&self) -> f64 {
        let share = self.for_log().map_or(0.0, |bound| self.used() as f64 / bound as f64);
        if self.pressed.load(Ordering::Relaxed) { share.max(1.0) } else { share }
    }

    /// Whether cleaning may soon be needed for there to be any room.
    #[must_use]
    pub fn is_near_limit(&self) -> bool {
        self.share() >= NEAR_LIMIT
    }

    /// The same without what cleaning is about to give back; that counts for whoever is refused as long as it is worth a segment.
    pub(crate) fn share_without(&self, reclaimed: u64, segment: u64) -> f64 {
        if reclaimed <= segment {
            return self.share();
        }
        self.for_log().map_or(0.0, |bound| self.used().saturating_sub(reclaimed) as f64 / bound as f64)
    }

    /// Somebody gets no room.
    pub(crate) fn note_refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Cleaning looks whether somebody was refused.
    pub(crate) fn look_at_refused(&self) {
        self.pressed.store(self.refused.swap(false, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether the log may take `more` bytes.
    pub(crate) fn admits(&self, more: u64) -> bool {
        self.for_log().is_none_or(|bound| self.used() + more <= bound)
    }

    /// The same for entries that free space: they may take a part of the reserve.
    pub(crate) fn admits_from_reserve(&self, more: u64) -> bool {
        self.for_log().is_none_or(|bound| self.used() + more <= bound + self.for_entries())
    }

    /// The same for a job of cleaning: all but what a checkpoint needs, without which nothing is given back.
    pub(crate) fn admits_job(&self, more: u64) -> bool {
        self.for_log().is_none_or(|bound| self.used() + more <= bound + 2 * self.for_entries())
    }

    /// Takes so many bytes for a value segment; false if there is no room for them.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        let admitted = self.admits(0);
        if !admitted {
            self.give_back(bytes);
        }
        admitted
    }

    /// What was taken is allocated: the next measurement sees it.
    pub(crate) fn settle(&self, bytes: u64) {
        self.allocated.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What was taken is not needed.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: u64 = 1 << 50;

    #[test]
    fn without_a_limit_the_medium_is_the_limit() {
        let space = SpaceLimit::default();
        assert!(space.admits(1 << 60));
        space.set_measured(0, 1 << 30, ROOM);
        assert!(space.admits(1 << 40));
        assert!(space.share() < 0.001);
        space.reserve_segments(10);
        space.set_measured(0, 80, 40);
        assert!(space.admits(10));
        assert!(!space.admits(11));
    }

    #[test]
    fn the_log_may_not_take_the_reserve() {
        let space = SpaceLimit::default();
        space.set_limit(100);
        space.reserve_segments(5);
        space.reserve_for(|| 10);
        space.set_measured(0, 70, ROOM);
        assert!(space.admits(5));
        assert!(!space.admits(6));
        space.set_measured(0, 75, ROOM);
        assert_eq!(space.share(), 1.0);
        assert!(space.admits_from_reserve(5) && !space.admits_from_reserve(6));
    }

    #[test]
    fn what_comes_or_goes_while_space_is_measured_is_not_room_twice() {
        // A medium of 100 bytes, of which 40 are in use, until a file of 10 comes or goes between the looks.
        for (first, second, used) in [(60, 50, 50), (60, 50, 40), (60, 70, 40), (60, 70, 30)] {
            let (space, looks) = (SpaceLimit::default(), std::cell::Cell::new(0));
            let free = || Ok(if looks.replace(looks.get() + 1) == 0 { first } else { second });
            space.measure_with(&free, &|| Ok(used)).expect("nothing fails");
            assert!(space.bound().is_some_and(|bound| bound <= 100), "{first} and {second} free, {used} used");
        }
    }

    #[test]
    fn what_is_about_to_be_given_back_is_not_in_use_for_good() {
        let space = SpaceLimit::default();
        space.set_limit(100);
        space.set_measured(0, 90, ROOM);
        space.note_refused();
        space.look_at_refused();
        assert_eq!(space.share_without(40, 10), 0.5);
        assert_eq!(space.share_without(10, 10), 1.0, "somebody is refused, and little is to come");
        space.look_at_refused();
        assert_eq!(space.share_without(10, 10), 0.9);
    }

    #[test]
    fn what_cleaning_takes_of_the_reserve_is_not_the_log_s() {
        let space = SpaceLimit::default();
        assert_eq!(space.free(), None);
        space.set_limit(100);
        space.reserve_segments(10);
        space.set_measured(0, 85, ROOM);
        assert_eq!(space.free(), Some(-15));
        space.set_lent(8);
        assert_eq!(space.free(), Some(-7));
        space.set_lent(30);
        assert_eq!(space.free(), Some(-5), "no more than there is");
    }

    #[test]
    fn what_values_take_counts_before_it_is_measured() {
        let space = SpaceLimit::default();
        space.set_limit(100);
        assert!(space.take(60));
        assert!(!space.take(41), "refused values take nothing");
        assert_eq!(space.used(), 60);
        space.set_measured(60, 55, ROOM);
        assert_eq!(space.used(), 55);
        assert!(space.take(45));
        assert!(!space.take(1));
    }
}
