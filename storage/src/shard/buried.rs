//! Value segments that no live record names any more, until their files may go.
//!
//! Invariants:
//! - A file goes only when what superseded its record is flushed, so no loss of power brings that record back.
//! - It stays for a while after that, unless space is short: whoever looked the record up before may still be about to open it.
//! - What is buried is not written down: after a restart cleaning finds it again when it drops the record.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::types::Lsn;

/// How long a file stays that nothing names.
const GRACE: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(10) };

#[derive(Debug)]
struct Grave {
    id: u128,
    /// The entry that superseded its record.
    superseder: Lsn,
    since: Instant,
}

/// The queue of those that wait.
#[derive(Debug, Default)]
pub(super) struct Buried(Mutex<VecDeque<Grave>>);

impl Buried {
    pub(super) fn add(&self, id: u128, superseder: Lsn, now: Instant) {
        self.0.lock().push_back(Grave { id, superseder, since: now });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Takes out those whose time has come. `settled`: superseded up to here is superseded for good; `at_once`: they do not stay longer.
    pub(super) fn due(&self, settled: Lsn, now: Instant, at_once: bool) -> Vec<u128> {
        let mut queue = self.0.lock();
        let mut due = Vec::new();
        let is_due = |grave: &&Grave| grave.superseder <= settled && (at_once || now.duration_since(grave.since) >= GRACE);
        while let Some(grave) = queue.front().filter(is_due) {
            due.push(grave.id);
            queue.pop_front();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_when_its_superseder_is_flushed_and_its_grace_is_over() {
        let buried = Buried::default();
        let start = Instant::now();
        buried.add(1, Lsn(10), start);
        buried.add(2, Lsn(20), start);
        assert!(buried.due(Lsn(30), start + GRACE / 2, false).is_empty());
        assert!(buried.due(Lsn(9), start, true).is_empty());
        assert!(buried.due(Lsn(9), start + GRACE, false).is_empty());
        assert_eq!(buried.due(Lsn(10), start + GRACE, false), [1]);
        assert_eq!(buried.due(Lsn(20), start, true), [2]);
    }
}
