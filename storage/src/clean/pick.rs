//! Which segments to clean: a pure function of what is known about them.
//!
//! Cost and benefit as in Rosenblum and Ousterhout, "The Design and Implementation of a Log-Structured File System" (1992): the space that
//! is freed, times its age, over what reading the segment and writing back its live part costs. Old dead space is worth more, because what
//! is still live beside it will stay so. Of the age we take the cube root: with the age itself segments full of life are cleaned only
//! because they are old, which writes much for little where all keys are overwritten alike. A rough model of a log with three quarters of
//! it live preferred small powers of the age; it did not single out this one.

use std::ops::Range;

/// A sealed segment that may be cleaned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    /// Bytes of its file.
    pub(crate) bytes: u64,
    /// The part of it that is live, 0 to 1, as far as that is known.
    pub(crate) live: f64,
    /// How old it is: LSNs written since.
    pub(crate) age: u64,
    /// Whether its keys have passed their probation; those that have not stay apart from them.
    pub(crate) main: bool,
    /// Whether it may be touched at all; those that may not only part the others.
    pub(crate) eligible: bool,
}

impl Candidate {
    fn live_bytes(&self) -> f64 {
        self.bytes as f64 * self.live
    }

    /// Bytes that cleaning would free.
    pub(crate) fn dead_bytes(&self) -> f64 {
        self.bytes as f64 * (1.0 - self.live)
    }

    fn score(&self) -> f64 {
        (1.0 - self.live) / (1.0 + self.live) * (self.age.max(1) as f64).cbrt()
    }

    /// Whether it is worth taking along when its neighbour `best` is cleaned: it is about as dead, or so small that it should grow.
    fn joins(&self, best: &Self, room: f64) -> bool {
        self.eligible && self.main == best.main && (1.0 - self.live >= JOIN_DEAD * (1.0 - best.live) || (self.bytes as f64) < room / 4.0)
    }
}

/// A neighbour joins the one that was chosen if it is dead by at least this part of what that one is: cleaning what is full of life costs
/// more than a few segments less are worth.
const JOIN_DEAD: f64 = 0.8;
/// Most segments of one job.
const MOST: usize = 16;

/// The neighbours, in the order of their LSNs, that are best cleaned next into one segment of `room` bytes; none if no segment is dead by
/// at least `least_dead`.
pub(crate) fn pick(candidates: &[Candidate], room: u64, least_dead: f64) -> Option<Range<usize>> {
    let worth = |candidate: &Candidate| candidate.eligible && 1.0 - candidate.live >= least_dead;
    let scored = candidates.iter().enumerate().filter(|(_, candidate)| worth(candidate));
    let (best, _) = scored.max_by(|(_, a), (_, b)| a.score().total_cmp(&b.score()))?;
    let room = room as f64;
    let mut range = best..best + 1;
    let mut live = candidates[best].live_bytes();
    loop {
        let after = candidates.get(range.end).map(|_| range.end);
        let before = range.start.checked_sub(1);
        let fits = |at: &usize| candidates[*at].joins(&candidates[best], room) && live + candidates[*at].live_bytes() <= room * 0.95;
        let next =
            [after, before].into_iter().flatten().filter(fits).max_by(|a, b| candidates[*a].score().total_cmp(&candidates[*b].score()));
        let Some(next) = next.filter(|_| range.len() < MOST) else { return Some(range) };
        live += candidates[next].live_bytes();
        range = range.start.min(next)..range.end.max(next + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: u64 = 1000;

    fn candidate(live: f64, age: u64) -> Candidate {
        Candidate { bytes: ROOM, live, age, main: false, eligible: true }
    }

    #[test]
    fn nothing_is_picked_where_little_is_dead() {
        assert_eq!(pick(&[], ROOM, 0.1), None);
        assert_eq!(pick(&[candidate(0.95, 9), candidate(1.0, 9)], ROOM, 0.1), None);
        assert_eq!(pick(&[Candidate { eligible: false, ..candidate(0.0, 9) }], ROOM, 0.1), None);
    }

    #[test]
    fn the_emptiest_of_one_age_is_picked() {
        assert_eq!(pick(&[candidate(0.9, 5), candidate(0.5, 5), candidate(0.95, 5)], ROOM, 0.2), Some(1..2));
    }

    #[test]
    fn old_space_is_worth_more_than_young() {
        // A young segment loses more by itself while it waits.
        assert_eq!(pick(&[candidate(0.7, 1000), candidate(1.0, 500), candidate(0.6, 10)], ROOM, 0.1), Some(0..1));
    }

    #[test]
    fn a_neighbour_full_of_life_is_left_alone() {
        assert_eq!(pick(&[candidate(0.8, 9), candidate(0.5, 9), candidate(0.55, 9)], 2 * ROOM, 0.1), Some(1..3));
    }

    #[test]
    fn neighbours_are_merged_as_long_as_what_is_live_fits() {
        let candidates = [candidate(0.3, 9), candidate(0.3, 9), candidate(0.2, 9), candidate(0.3, 9), candidate(1.0, 9)];
        assert_eq!(pick(&candidates, ROOM, 0.1), Some(0..3));
        let small = Candidate { bytes: 100, ..candidate(1.0, 9) };
        assert_eq!(pick(&[small, candidate(0.5, 9), small], ROOM, 0.1), Some(0..3));
    }

    #[test]
    fn what_may_not_be_touched_parts_its_neighbours() {
        let pinned = Candidate { eligible: false, ..candidate(0.1, 9) };
        assert_eq!(pick(&[candidate(0.2, 9), pinned, candidate(0.1, 9)], ROOM, 0.1), Some(2..3));
    }

    #[test]
    fn probation_and_the_main_queue_do_not_mix() {
        let main = Candidate { main: true, ..candidate(0.3, 9) };
        assert_eq!(pick(&[main, candidate(0.1, 9), candidate(0.2, 9), main], ROOM, 0.1), Some(1..3));
    }

    #[test]
    fn a_job_has_a_bounded_number_of_segments() {
        let picked = pick(&[candidate(0.0, 1); 100], ROOM, 0.1).map(|range| range.len());
        assert_eq!(picked, Some(MOST));
    }
}
