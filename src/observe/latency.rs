//! The latency monitor: for each kind of event, the moments when it took longer than `latency-monitor-threshold`.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

/// Samples kept of an event.
const HISTORY: usize = 160;

/// One moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// In seconds since the Unix epoch.
    pub unix_seconds: i64,
    /// The longest time in that second.
    pub millis: u64,
}

/// One kind of event: `command`, `fast-command` and the like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The newest samples, the oldest first, one a second at most.
    pub samples: VecDeque<Sample>,
    /// The longest time since the start or the last reset.
    pub worst_millis: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Latency(Mutex<BTreeMap<&'static str, Event>>);

impl Latency {
    /// Adds an event. Whether it took long enough is the caller's to know.
    pub fn add(&self, event: &'static str, unix_seconds: i64, millis: u64) {
        let mut events = self.0.lock();
        let event = events.entry(event).or_default();
        event.worst_millis = event.worst_millis.max(millis);
        if let Some(last) = event.samples.back_mut().filter(|s| s.unix_seconds == unix_seconds) {
            last.millis = last.millis.max(millis);
            return;
        }
        if event.samples.len() == HISTORY {
            event.samples.pop_front();
        }
        event.samples.push_back(Sample { unix_seconds, millis });
    }

    /// All events by name.
    #[must_use]
    pub fn events(&self) -> Vec<(&'static str, Event)> {
        self.0.lock().iter().map(|(name, event)| (*name, event.clone())).collect()
    }

    /// One event.
    #[must_use]
    pub fn event(&self, name: &[u8]) -> Option<Event> {
        let events = self.0.lock();
        events.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, event)| event.clone())
    }

    /// Forgets the events named, or all; gives how many there were.
    pub fn reset(&self, names: &[&[u8]]) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|name, _| !names.is_empty() && !names.contains(&name.as_bytes()));
        before - events.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_sample_its_longest_time() {
        let latency = Latency::default();
        for (second, millis) in [(1, 5), (1, 9), (1, 7), (2, 3)] {
            latency.add("command", second, millis);
        }
        let event = latency.event(b"command").unwrap();
        assert_eq!(event.samples, [Sample { unix_seconds: 1, millis: 9 }, Sample { unix_seconds: 2, millis: 3 }]);
        assert_eq!(event.worst_millis, 9);
    }

    #[test]
    fn the_history_is_bounded_and_resets_by_name() {
        let latency = Latency::default();
        for second in 0..500 {
            latency.add("command", second, 1);
        }
        latency.add("fast-command", 1, 1);
        assert_eq!(latency.event(b"command").unwrap().samples.len(), 160);
        assert_eq!(latency.reset(&[b"command", b"none"]), 1);
        assert_eq!(latency.reset(&[]), 1);
        assert!(latency.events().is_empty());
    }
}
