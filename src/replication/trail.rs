//! When how much was written: from it follows how far behind a replica is, in bytes and in time, given the LSN that it has reached.
//!
//! Invariants: marks only grow, in time, LSN and bytes; there are never more than `MOST`.

use std::collections::VecDeque;

use esker_storage::types::Lsn;

use super::time::Millis;

/// Marks kept. When there would be more, every second one of the older half goes: the longer ago, the coarser.
const MOST: usize = 1024;

/// How far behind a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Entries that it lacks.
    pub entries: u64,
    /// Bytes of them in the log, about.
    pub bytes: u64,
    /// Milliseconds since the oldest of them was written, about.
    pub millis: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    at: Millis,
    written: Lsn,
    bytes: u64,
    /// Whether there were others between it and the one before.
    thinned: bool,
}

/// Moments at which it was looked how far the log had got.
#[derive(Debug, Default)]
pub struct Trail {
    marks: VecDeque<Mark>,
}

impl Trail {
    /// The log has got to `written`, and `bytes` were appended to it in all. Called at each batch that is sent; more than once in a
    /// millisecond costs nothing.
    pub fn note(&mut self, at: Millis, written: Lsn, bytes: u64) {
        match self.marks.back_mut() {
            Some(last) if last.written > written || last.bytes > bytes => self.marks.clear(),
            Some(last) if last.written == written => return,
            Some(last) if last.at >= at => {
                (last.written, last.bytes) = (written, bytes);
                return;
            }
            _ => {}
        }
        if self.marks.len() == MOST {
            self.thin_out();
        }
        self.marks.push_back(Mark { at, written, bytes, thinned: false });
    }

    /// Forgets all: another log is written from now on.
    pub fn clear(&mut self) {
        self.marks.clear();
    }

    fn thin_out(&mut self) {
        let mut number = 0;
        self.marks.retain_mut(|mark| {
            number += 1;
            mark.thinned |= number > 1 && number <= MOST / 2 + 1;
            // The first one stays: what is older than it is not known.
            number > MOST / 2 || number % 2 == 1
        });
    }

    /// How far behind a copy is that goes to `reached`, of a log that goes to `written`.
    #[must_use]
    pub fn lag(&self, now: Millis, written: Lsn, reached: Lsn) -> Lag {
        let entries = written.0.saturating_sub(reached.0);
        if entries == 0 {
            return Lag::default();
        }
        let next = self.marks.partition_point(|mark| mark.written <= reached);
        let (Some(after), Some(last)) = (self.marks.get(next), self.marks.back()) else {
            // Written since the newest mark.
            return Lag { entries, ..Lag::default() };
        };
        let before = next.checked_sub(1).map_or(after, |before| &self.marks[before]);
        // As if all entries between two marks were of a size.
        let bytes = between((before.written.0, before.bytes), (after.written.0, after.bytes), reached.0);
        // As a rule it is noted at once what was written after a pause: then the pause is no lag.
        let since =
            if after.thinned { between((before.written.0, before.at.0), (after.written.0, after.at.0), reached.0) } else { after.at.0 };
        Lag { entries, bytes: last.bytes - bytes, millis: (now - Millis(since)).0 }
    }
}

/// What belongs to `x` on the line between two points.
fn between(from: (u64, u64), to: (u64, u64), x: u64) -> u64 {
    let (run, rise) = (to.0 - from.0, to.1 - from.1);
    let part = u128::from(x.saturating_sub(from.0)) * u128::from(rise) / u128::from(run.max(1));
    from.1 + u64::try_from(part).unwrap_or(rise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_copy_lacks_is_told_in_entries_bytes_and_time() {
        let mut trail = Trail::default();
        trail.note(Millis(1000), Lsn(10), 1000);
        trail.note(Millis(5000), Lsn(20), 3000);
        trail.note(Millis(5010), Lsn(30), 3500);
        let lag = |reached| trail.lag(Millis(5015), Lsn(30), Lsn(reached));
        assert_eq!(lag(30), Lag::default());
        // The log was idle before entry 11: how long nothing came is no lag.
        assert_eq!(lag(10), Lag { entries: 20, bytes: 2500, millis: 15 });
        assert_eq!(lag(15), Lag { entries: 15, bytes: 1500, millis: 15 });
        assert_eq!(lag(20), Lag { entries: 10, bytes: 500, millis: 5 });
        // What was there before the first mark is not known but for its entries.
        assert_eq!(lag(0), Lag { entries: 30, bytes: 2500, millis: 4015 });
        assert_eq!(trail.lag(Millis(5015), Lsn(31), Lsn(30)), Lag { entries: 1, bytes: 0, millis: 0 });
    }

    #[test]
    fn the_trail_stays_short_and_keeps_its_ends() {
        let mut trail = Trail::default();
        for n in 1..100_000_u64 {
            trail.note(Millis(n), Lsn(n), n * 100);
            trail.note(Millis(n), Lsn(n), n * 100);
        }
        assert!(trail.marks.len() <= MOST);
        let behind = |entries: u64| trail.lag(Millis(99_999), Lsn(99_999), Lsn(99_999 - entries));
        assert_eq!(behind(5), Lag { entries: 5, bytes: 500, millis: 4 });
        assert_eq!(behind(99_998).bytes, 9_999_800);
        let middle = behind(50_000);
        assert!(middle.bytes.abs_diff(5_000_000) < 500_000 && middle.millis.abs_diff(50_000) < 5_000, "{middle:?}");
    }

    #[test]
    fn a_log_that_begins_anew_begins_a_new_trail() {
        let mut trail = Trail::default();
        trail.note(Millis(1), Lsn(100), 1000);
        trail.note(Millis(2), Lsn(5), 50);
        trail.note(Millis(3), Lsn(6), 60);
        assert_eq!(trail.lag(Millis(4), Lsn(6), Lsn(5)), Lag { entries: 1, bytes: 10, millis: 1 });
    }
}
