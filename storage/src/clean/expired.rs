//! Which `expired up to` entries there were: of those before the pin only the last has to stay, and the index knows none but the very last.

use std::collections::VecDeque;

use crate::types::Lsn;

/// LSNs that are remembered, at most.
const MOST: usize = 1024;

/// Some of the LSNs of `expired up to` entries, rising.
#[derive(Debug, Default)]
pub(super) struct ExpiredEntries(VecDeque<Lsn>);

impl ExpiredEntries {
    /// The last one is at `lsn` now.
    pub(super) fn note(&mut self, lsn: Lsn) {
        if self.0.back().is_some_and(|last| *last >= lsn) {
            return;
        }
        if self.0.len() == MOST {
            // Every other one will do.
            let mut odd = false;
            self.0.retain(|_| {
                odd = !odd;
                odd
            });
        }
        self.0.push_back(lsn);
    }

    /// The last known one that is not behind `pin`, those before it forgotten.
    pub(super) fn last_before(&mut self, pin: Lsn) -> Lsn {
        while self.0.get(1).is_some_and(|next| *next <= pin) {
            self.0.pop_front();
        }
        self.0.front().copied().filter(|lsn| *lsn <= pin).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_before_a_pin_is_known_as_the_pin_moves_on() {
        let mut entries = ExpiredEntries::default();
        (1..=5000).for_each(|n| entries.note(Lsn(10 * n)));
        assert!(entries.0.len() <= MOST);
        assert_eq!(entries.last_before(Lsn(5)), Lsn(0));
        let found = entries.last_before(Lsn(30_000));
        assert!(found <= Lsn(30_000) && found > Lsn(29_000), "{found}");
        assert_eq!(entries.last_before(Lsn(u64::MAX)), Lsn(50_000));
    }
}
