//! Which segments stay in memory, and how much of it copies of single records get: a pure function.
//!
//! If everything fits, everything is hot. Otherwise a byte goes where it answers more reads: a hot segment answers those of all its records,
//! copies only those of records that were asked for. Hot keys strewn over all segments are served best by copies, a hot time by segments.

/// What is known of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Bytes that it takes in memory.
    pub(super) bytes: u64,
    /// Whether it is in memory.
    pub(super) hot: bool,
    /// Whether it is still being written: then it is in memory anyway.
    pub(super) must: bool,
    /// Whether it may be read through memory at all.
    pub(super) fit: bool,
    /// Recent reads that it answered from memory.
    pub(super) uses: f64,
    /// Recent reads that had to go to the medium.
    pub(super) misses: f64,
}

/// What is known of the copies.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CopiesLoad {
    /// Bytes that they may take now.
    pub(super) budget: u64,
    /// Bytes that they take.
    pub(super) bytes: u64,
    /// Recent reads that they answered.
    pub(super) hits: f64,
    /// Whether some were dropped of late, to make room for others.
    pub(super) full: bool,
}

/// What is to be in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// For each candidate whether it is to be hot.
    pub(super) hot: Vec<bool>,
    /// Bytes that copies may take.
    pub(super) copies: u64,
}

/// Copies get at least one in so many bytes once there are cold segments: without them nobody knows what they are worth.
const LEAST_COPIES: u64 = 4;
/// Their part changes in steps of one in so many bytes.
const STEP: u64 = 16;
/// A cold segment must be worth so much more than what leaves for it: to become hot it has to be read.
const WORTH_READING: f64 = 2.0;

/// To become hot a segment is read: that has to be worth it within some seconds. Recent misses of one in so many bytes are.
const PAYS: u64 = 40 << 10;
/// Of the room for segments one in so many bytes may stay unused before segments are read that nobody missed.
const UNUSED: u64 = 8;

/// Chooses. `room`: bytes for segments and copies together; `segments`: from the oldest to the newest.
pub(super) fn choose(room: u64, segments: &[Candidate], copies: CopiesLoad) -> Choice {
    let total: u64 = segments.iter().filter(|one| one.fit).map(|one| one.bytes).sum();
    // Once it was tight, a little more room is needed before it counts as ample: or else it would go back and forth.
    let ample = if copies.budget > 0 { room - room / STEP } else { room };
    if total <= ample {
        return Choice { hot: segments.iter().map(|one| one.fit).collect(), copies: 0 };
    }
    let must: u64 = segments.iter().filter(|one| one.must).map(|one| one.bytes).sum();
    let left = room.saturating_sub(must);
    let copies = part_of_copies(left, segments, copies);
    let mut hot: Vec<bool> = segments.iter().map(|one| one.must && one.fit).collect();
    let mut others: Vec<usize> = (0..segments.len()).filter(|n| !segments[*n].must && segments[*n].fit).collect();
    // Of those that are worth the same, what is hot stays so, and the newer is the better guess.
    others.sort_by(|a, b| {
        let (one, other) = (&segments[*a], &segments[*b]);
        worth(other).total_cmp(&worth(one)).then(other.hot.cmp(&one.hot)).then(b.cmp(a))
    });
    let (worth_it, unasked): (Vec<usize>, Vec<usize>) = others.into_iter().partition(|n| segments[*n].hot || pays(&segments[*n]));
    let mut free = take(worth_it, left - copies, segments, &mut hot);
    if free > (left - copies) / UNUSED {
        free = take(unasked, free, segments, &mut hot);
    }
    debug_assert!(free <= left, "no more is taken than there is");
    Choice { hot, copies }
}

/// Takes candidates as long as they fit, and returns what is free then. The first that does not fit ends it: a smaller one further down is
/// worth less.
fn take(wanted: Vec<usize>, mut free: u64, segments: &[Candidate], hot: &mut [bool]) -> u64 {
    for n in wanted {
        if segments[n].bytes > free {
            break;
        }
        free -= segments[n].bytes;
        hot[n] = true;
    }
    free
}

/// Whether a cold segment is missed so often that reading it pays.
fn pays(one: &Candidate) -> bool {
    one.misses * PAYS as f64 > one.bytes as f64
}

/// Reads a byte.
fn worth(one: &Candidate) -> f64 {
    let reads = if one.hot { one.uses } else { one.misses / WORTH_READING };
    reads / one.bytes.max(1) as f64
}

fn part_of_copies(left: u64, segments: &[Candidate], copies: CopiesLoad) -> u64 {
    let least = left / LEAST_COPIES;
    let now = copies.budget.clamp(least, left);
    let step = left / STEP;
    let sealed = || segments.iter().filter(|one| !one.must && one.fit);
    let weakest = sealed().filter(|one| one.hot).map(worth).reduce(f64::min);
    let strongest_cold = sealed().filter(|one| !one.hot).map(worth).fold(0.0, f64::max);
    let each = copies.hits / copies.bytes.max(1) as f64;
    let wanted = if copies.bytes < now / 2 || strongest_cold > WORTH_READING * each {
        now.saturating_sub(step)
    } else if copies.full && weakest.is_none_or(|weakest| each > weakest) {
        now + step
    } else {
        now
    };
    wanted.clamp(least, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn segment(hot: bool, uses: f64) -> Candidate {
        let (uses, misses) = if hot { (uses, 0.0) } else { (0.0, uses) };
        Candidate { bytes: 64 * MB, hot, must: false, fit: true, uses, misses }
    }

    fn active() -> Candidate {
        Candidate { must: true, ..segment(true, 0.0) }
    }

    fn count(choice: &Choice) -> usize {
        choice.hot.iter().filter(|hot| **hot).count()
    }

    #[test]
    fn what_fits_is_all_hot_and_needs_no_copies() {
        let segments = [segment(false, 0.0), segment(false, 5.0), active()];
        assert_eq!(choose(192 * MB, &segments, CopiesLoad::default()), Choice { hot: vec![true; 3], copies: 0 });
        // What was tight needs a little more room than that.
        let copies = CopiesLoad { budget: MB, ..CopiesLoad::default() };
        assert!(choose(192 * MB, &segments, copies).copies > 0);
        assert_eq!(choose(210 * MB, &segments, copies).copies, 0);
    }

    #[test]
    fn the_least_used_become_cold_and_the_most_missed_hot() {
        let mut segments: Vec<_> = [9e3, 1e3, 8e3, 2e3, 7e3].map(|uses| segment(true, uses)).into();
        segments.push(active());
        let choice = choose(320 * MB, &segments, CopiesLoad::default());
        assert_eq!(choice.hot, [true, false, true, false, true, true]);
        // Twice as many misses as the weakest has uses are not enough, more are.
        for (misses, becomes_hot) in [(13e3, false), (15e3, true)] {
            segments[1] = segment(false, misses);
            assert_eq!(choose(320 * MB, &segments, CopiesLoad::default()).hot[1], becomes_hot, "{misses}");
        }
    }

    #[test]
    fn without_any_reads_the_newest_stay_and_nothing_changes_any_more() {
        let mut segments = vec![segment(true, 0.0); 8];
        segments.push(active());
        let first = choose(256 * MB, &segments, CopiesLoad::default());
        assert_eq!(first.hot, [false, false, false, false, false, false, true, true, true]);
        for (segment, hot) in segments.iter_mut().zip(&first.hot) {
            segment.hot = *hot;
        }
        let copies = CopiesLoad { budget: first.copies, ..CopiesLoad::default() };
        assert_eq!(choose(256 * MB, &segments, copies), first);
    }

    #[test]
    fn a_segment_that_is_missed_now_and_then_is_not_read_for_it() {
        let mut segments = vec![segment(true, 0.0); 3];
        segments.extend([segment(false, 1000.0), segment(false, 2000.0), active()]);
        assert_eq!(choose(320 * MB, &segments, CopiesLoad::default()).hot, [false, true, true, false, true, true]);
        // With room to spare there is no need to wait until it is.
        segments[0].hot = false;
        segments[1].hot = false;
        assert_eq!(count(&choose(320 * MB, &segments, CopiesLoad::default())), 4);
    }

    #[test]
    fn copies_grow_as_long_as_they_answer_more_a_byte_than_the_weakest_segment() {
        let mut segments = vec![segment(true, 100.0); 8];
        segments.push(active());
        let room = 320 * MB;
        let left = room - 64 * MB;
        let mut copies = CopiesLoad::default();
        for _ in 0..20 {
            let choice = choose(room, &segments, copies);
            copies = CopiesLoad { budget: choice.copies, bytes: choice.copies, hits: 1e6, full: true };
        }
        assert_eq!(copies.budget, left, "all but what is being written");
        assert_eq!(count(&choose(room, &segments, copies)), 1);
        copies.hits = 1.0;
        for _ in 0..20 {
            copies.budget = choose(room, &[vec![segment(false, 50.0); 8], vec![active()]].concat(), copies).copies;
            copies.bytes = copies.budget;
        }
        assert_eq!(copies.budget, left / LEAST_COPIES, "segments are worth more");
        // Nobody asks for them.
        copies = CopiesLoad { budget: left, bytes: MB, hits: 1.0, full: false };
        assert!(choose(room, &segments, copies).copies < left);
    }

    #[test]
    fn what_is_chosen_stays_within_the_room() {
        use rand::{Rng, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(3);
        for _ in 0..2000 {
            let segments: Vec<_> = (0..random.random_range(0..40))
                .map(|_| Candidate {
                    bytes: random.random_range(0..64 * MB),
                    hot: random.random(),
                    must: random.random_bool(0.05),
                    fit: random.random_bool(0.95),
                    uses: random.random_range(0.0..100.0),
                    misses: random.random_range(0.0..100.0),
                })
                .collect();
            let room = random.random_range(0..1024 * MB);
            let copies = CopiesLoad {
                budget: random.random_range(0..room + 1),
                bytes: random.random_range(0..room + 1),
                hits: 50.0,
                full: random.random(),
            };
            let choice = choose(room, &segments, copies);
            let taken = |must: bool| {
                segments.iter().zip(&choice.hot).filter(|(one, hot)| **hot && one.must == must).map(|(one, _)| one.bytes).sum::<u64>()
            };
            let must: u64 = segments.iter().filter(|one| one.must).map(|one| one.bytes).sum();
            assert!(taken(false) + choice.copies <= room.saturating_sub(must));
            assert!(segments.iter().zip(&choice.hot).all(|(one, hot)| one.fit || !hot), "a bad medium is not read through memory");
        }
    }

    #[test]
    fn without_room_only_what_is_being_written_is_hot() {
        let choice = choose(0, &[segment(true, 9.0), active()], CopiesLoad::default());
        assert_eq!(choice, Choice { hot: vec![false, true], copies: 0 });
    }
}
