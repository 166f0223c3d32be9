//! What cleaning is to do next: a pure function of how the log and the disk are.

use super::budget::Room;
use super::pick::Candidate;

/// Dead bytes may lie about up to this part of the log: the files then take at most 1.5 times what is live in them.
const DEAD_SHARE: f64 = 0.3;
/// Dead bytes may lie about up to so many segments, whatever the size of the log: as much as there is between two checkpoints anyway, above
/// which nothing can be cleaned.
const DEAD_SEGMENTS: u64 = 4;
/// A segment is cleaned if at least this part of it is dead: in general, and when space is short or a pass was asked for.
const LEAST_DEAD: f64 = 0.15;
const LEAST_DEAD_URGENT: f64 = 0.04;

/// How things are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) candidates: &'a [Candidate],
    /// Bytes of a segment.
    pub(super) segment: u64,
    pub(super) room: Room,
    /// Whether a pass over everything was asked for.
    pub(super) pass: bool,
    /// Bytes of segments that wait for a checkpoint to be removed.
    pub(super) retired: u64,
    /// Bytes that a checkpoint takes.
    pub(super) checkpoint: u64,
    /// Bytes of log written since the last one began.
    pub(super) since_checkpoint: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Demand {
    /// Clean segments of which at least this part is dead; none: do not clean.
    pub(super) least_dead: Option<f64>,
    /// Take a checkpoint: it sets retired segments free, and lets those above the last one be cleaned.
    pub(super) checkpoint: bool,
    /// Checkpoints are not to rest: the space that they set free is needed.
    pub(super) hurry: bool,
    /// There is something to give back.
    pub(super) reclaims: bool,
    /// Bytes of sealed segments.
    pub(super) log: u64,
    /// Those of them that are live.
    pub(super) live: u64,
    /// Dead bytes beyond what may lie about.
    pub(super) debt: u64,
}

impl Situation<'_> {
    /// Whether a segment is worth cleaning in a pass, although it cannot be cleaned before the next checkpoint.
    pub(super) fn waits_for_checkpoint(&self) -> bool {
        self.any(false, LEAST_DEAD_URGENT)
    }

    /// Whether segments that are eligible, or that are not, are dead by at least so much.
    fn any(&self, eligible: bool, least_dead: f64) -> bool {
        self.candidates.iter().any(|candidate| candidate.eligible == eligible && 1.0 - candidate.live >= least_dead)
    }

    pub(super) fn demand(&self) -> Demand {
        let log: f64 = self.candidates.iter().map(|candidate| candidate.bytes as f64).sum();
        let dead: f64 = self.candidates.iter().map(Candidate::dead_bytes).sum();
        let short = self.room.is_short();
        let allowed = if short { 0.0 } else { (log * DEAD_SHARE).max((DEAD_SEGMENTS * self.segment) as f64) };
        let least_dead = if self.pass || short { Some(LEAST_DEAD_URGENT) } else { (dead > allowed).then_some(LEAST_DEAD) };
        // There is something to clean, and all of it lies above the last checkpoint.
        let stuck = least_dead.is_some_and(|least| self.any(false, least) && !self.any(true, least));
        Demand {
            least_dead,
            checkpoint: self.is_checkpoint_worth_it(log as u64, stuck),
            hurry: self.retired > 0 && self.room.wants_checkpoint(),
            reclaims: self.retired > 0 || dead > self.segment as f64,
            log: log as u64,
            live: (log - dead) as u64,
            debt: (dead - allowed).max(0.0) as u64,
        }
    }

    /// Worth its cost: its own size several times over, or space that is needed now.
    fn is_checkpoint_worth_it(&self, log: u64, stuck: bool) -> bool {
        let many = self.retired > (4 * self.checkpoint).max(log / 10).max(4 * self.segment);
        let above: f64 = self.candidates.iter().filter(|candidate| !candidate.eligible).map(Candidate::dead_bytes).sum();
        let enough = self.retired + above as u64 >= self.segment.max(self.checkpoint);
        // Writers are refused, and there is nothing else to be had: however little it is.
        let last_resort = self.room.free <= 0.0 && self.retired > 0 && !self.any(true, LEAST_DEAD_URGENT);
        let urgent = self.room.wants_checkpoint() && (enough || stuck || last_resort);
        let overdue = stuck && self.since_checkpoint > (2 * self.checkpoint).max(2 * self.segment);
        many || urgent || overdue || (self.pass && (self.retired > 0 || stuck))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1000;

    fn candidates(live: f64, eligible: bool) -> [Candidate; 20] {
        [Candidate { bytes: SEGMENT, live, age: 9, main: false, eligible }; 20]
    }

    fn situation(candidates: &[Candidate]) -> Situation<'_> {
        Situation { candidates, segment: SEGMENT, room: Room::UNLIMITED, pass: false, retired: 0, checkpoint: 100, since_checkpoint: 0 }
    }

    fn room(free: f64) -> Room {
        Room { free, soon: free, ahead: 1.0, checkpoint: 0.0 }
    }

    #[test]
    fn what_is_not_too_dead_is_left_alone_while_there_is_space() {
        let demand = situation(&candidates(0.75, true)).demand();
        assert_eq!((demand.least_dead, demand.checkpoint, demand.debt), (None, false, 0));
        assert_eq!((demand.log, demand.live), (20_000, 15_000));
        let demand = situation(&candidates(0.65, true)).demand();
        assert_eq!((demand.least_dead, demand.debt), (Some(LEAST_DEAD), 1000));
    }

    #[test]
    fn a_few_dead_segments_are_left_alone_whatever_they_are_part_of() {
        assert_eq!(situation(&candidates(0.0, true)[..4]).demand().least_dead, None);
        assert!(situation(&candidates(0.0, true)[..5]).demand().least_dead.is_some());
    }

    #[test]
    fn nothing_dead_lies_about_when_space_is_short_or_a_pass_was_asked_for() {
        let candidates = candidates(0.95, true);
        let urgent = Some(LEAST_DEAD_URGENT);
        assert_eq!(Situation { room: room(1.0), ..situation(&candidates) }.demand().least_dead, urgent);
        assert_eq!(Situation { pass: true, ..situation(&candidates) }.demand().least_dead, urgent);
    }

    #[test]
    fn a_checkpoint_is_taken_when_what_it_frees_is_worth_it_or_needed() {
        let candidates = candidates(1.0, true);
        let with = |free, retired| Situation { room: room(free), retired, ..situation(&candidates) }.demand();
        assert!(!with(9.0, 4 * SEGMENT).checkpoint);
        assert!(with(9.0, 4 * SEGMENT + 1).checkpoint && !with(9.0, 9 * SEGMENT).hurry);
        assert!(!with(1.0, SEGMENT - 1).checkpoint);
        assert!(with(1.0, SEGMENT).checkpoint && with(1.0, SEGMENT).hurry);
    }

    /// Was: what a segment took that was a few bytes short of full was not given back, and nobody could write.
    #[test]
    fn a_checkpoint_is_taken_for_however_little_when_there_is_no_room_and_nothing_to_clean() {
        let with = |live, retired| Situation { room: room(0.0), retired, ..situation(&candidates(live, true)) }.demand().checkpoint;
        assert!(with(1.0, 1));
        assert!(!with(1.0, 0) && !with(0.9, 1));
    }

    #[test]
    fn a_checkpoint_is_taken_when_all_that_is_dead_lies_above_the_last() {
        let above = candidates(0.5, false);
        let with = |free, since_checkpoint| Situation { room: room(free), since_checkpoint, ..situation(&above) }.demand().checkpoint;
        assert!(!with(9.0, 2 * SEGMENT) && with(9.0, 2 * SEGMENT + 1));
        assert!(!with(2.1, 0) && with(1.9, 0));
        let mut mixed = above;
        mixed[0].eligible = true;
        assert!(!Situation { since_checkpoint: 9 * SEGMENT, ..situation(&mixed) }.demand().checkpoint);
        assert!(Situation { pass: true, ..situation(&above) }.demand().checkpoint);
    }

    #[test]
    fn there_is_something_to_give_back_if_a_segment_waits_or_more_than_one_is_dead() {
        assert!(!situation(&candidates(0.96, true)).demand().reclaims);
        assert!(situation(&candidates(0.94, true)).demand().reclaims);
        assert!(Situation { retired: 1, ..situation(&candidates(1.0, true)) }.demand().reclaims);
    }
}
