//! What is counted.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::mix::Op;

/// Latencies above this count as this.
const LONGEST: u64 = 3_600_000_000_000;
/// How many different error texts are told apart, and how many wrong answers are kept.
const TEXTS: usize = 50;
const EXAMPLES: usize = 20;

/// Latencies in nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("constant bounds that are right"))
    }
}

impl Latencies {
    pub(super) fn record(&mut self, nanos: u64, times: u64) {
        self.0.saturating_record_n(nanos, times);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Milliseconds that this share of requests took at most.
    pub(super) fn millis(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e6
    }

    pub(super) fn max_millis(&self) -> f64 {
        self.0.max() as f64 / 1e6
    }

    pub(super) fn mean_millis(&self) -> f64 {
        self.0.mean() / 1e6
    }
}

/// In which way an answer was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    OtherKey,
    Corrupt,
    Stale,
    Missing,
    Counter,
    Unexpected,
}

impl Wrong {
    pub(super) const ALL: [Self; 6] = [Self::OtherKey, Self::Corrupt, Self::Stale, Self::Missing, Self::Counter, Self::Unexpected];

    /// Its name in figures for programs.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::OtherKey => "other_key",
            Self::Corrupt => "corrupt",
            Self::Stale => "stale",
            Self::Missing => "missing",
            Self::Counter => "counter",
            Self::Unexpected => "unexpected",
        }
    }

    /// Its name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OtherKey => "another key's value",
            Self::Corrupt => "corrupt value",
            Self::Stale => "stale value",
            Self::Missing => "missing key",
            Self::Counter => "counter went back",
            Self::Unexpected => "unexpected reply",
        }
    }
}

/// What one interval saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Interval {
    pub(super) latencies: Latencies,
    pub(super) errors: u64,
}

/// What a thread, or all of them, counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    by_op: [Option<Box<Latencies>>; Op::ALL.len()],
    /// Requests that were due and could not be sent before the end, with their age when it was given up: the least that they would have taken.
    pub(super) unsent: Latencies,
    /// How late requests were sent that a free client could have sent when due: the generator's own delay.
    pub(super) late: Latencies,
    pub(super) interval: Interval,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    /// Error replies by text.
    pub(super) errors: BTreeMap<String, u64>,
    /// Requests whose reply never came.
    pub(super) lost: u64,
    pub(super) disconnections: u64,
    /// Why connections ended, by text.
    pub(super) disconnected: BTreeMap<String, u64>,
    pub(super) reconnections: u64,
    wrong: [u64; Wrong::ALL.len()],
    /// The first wrong answers, in words.
    pub(super) examples: Vec<String>,
    /// The last reply of the measurement, in nanoseconds of the run.
    pub(super) last: u64,
    /// CPU time of the threads.
    pub(super) cpu_nanos: u64,
}

impl Figures {
    pub(super) fn record(&mut self, op: Op, nanos: u64) {
        self.by_op[op as usize].get_or_insert_default().record(nanos, 1);
        self.interval.latencies.record(nanos, 1);
    }

    pub(super) fn error(&mut self, text: &[u8]) {
        let text: String = String::from_utf8_lossy(text).chars().take(200).collect();
        let full = self.errors.len() >= TEXTS && !self.errors.contains_key(&text);
        *self.errors.entry(if full { "(other texts)".to_owned() } else { text }).or_insert(0) += 1;
        self.interval.errors += 1;
    }

    pub(super) fn wrong(&mut self, wrong: Wrong, example: impl FnOnce() -> String) {
        self.wrong[wrong as usize] += 1;
        self.interval.errors += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    pub(super) fn of_op(&self, op: Op) -> Option<&Latencies> {
        self.by_op[op as usize].as_deref()
    }

    pub(super) fn wrong_of(&self, wrong: Wrong) -> u64 {
        self.wrong[wrong as usize]
    }

    pub(super) fn wrong_answers(&self) -> u64 {
        self.wrong.iter().sum()
    }

    pub(super) fn error_replies(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Latencies of all requests, those included that could not be sent.
    pub(super) fn all(&self) -> Latencies {
        let mut all = self.unsent.clone();
        self.by_op.iter().flatten().for_each(|latencies| all.add(latencies));
        all
    }

    /// Requests that were answered.
    pub(super) fn answered(&self) -> u64 {
        self.by_op.iter().flatten().map(|latencies| latencies.count()).sum()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.by_op.iter_mut().zip(&other.by_op) {
            if let Some(theirs) = theirs {
                mine.get_or_insert_default().add(theirs);
            }
        }
        self.unsent.add(&other.unsent);
        self.late.add(&other.late);
        self.hits += other.hits;
        self.misses += other.misses;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        for (text, count) in &other.errors {
            *self.errors.entry(text.clone()).or_insert(0) += count;
        }
        for (text, count) in &other.disconnected {
            *self.disconnected.entry(text.clone()).or_insert(0) += count;
        }
        self.lost += other.lost;
        self.disconnections += other.disconnections;
        self.reconnections += other.reconnections;
        self.wrong.iter_mut().zip(&other.wrong).for_each(|(mine, theirs)| *mine += theirs);
        self.examples.extend(other.examples.iter().take(EXAMPLES.saturating_sub(self.examples.len())).cloned());
        self.last = self.last.max(other.last);
        self.cpu_nanos += other.cpu_nanos;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let mut sum = Figures::default();
        for (op, nanos) in [(Op::Get, 1_000_000), (Op::Set, 3_000_000)] {
            let mut figures = Figures::default();
            figures.record(op, nanos);
            figures.error(b"OOM");
            figures.wrong(Wrong::Stale, || "old".to_owned());
            sum.add(&figures);
        }
        assert!(sum.answered() == 2 && sum.error_replies() == 2 && sum.wrong_answers() == 2 && sum.wrong_of(Wrong::Stale) == 2);
        let max = sum.all().max_millis();
        assert!((3.0..3.01).contains(&max), "{max}");
        assert!(sum.of_op(Op::Del).is_none() && sum.examples == ["old", "old"]);
    }
}
