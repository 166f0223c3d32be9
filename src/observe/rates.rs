//! Rates over the last one and a half seconds, from samples taken ten times a second.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::Mutex;

/// Samples kept.
const SAMPLES: usize = 16;
/// Totals sampled: commands, bytes received, bytes sent.
pub const TOTALS: usize = 3;

/// See the module.
#[derive(Debug, Default)]
pub struct Rates(Mutex<VecDeque<(Instant, [u64; TOTALS])>>);

impl Rates {
    /// Adds a sample of the totals.
    pub fn sample(&self, now: Instant, totals: [u64; TOTALS]) {
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back((now, totals));
    }

    /// How much each total grows in a second.
    #[must_use]
    pub fn per_second(&self) -> [f64; TOTALS] {
        let samples = self.0.lock();
        let (Some((from, old)), Some((to, new))) = (samples.front(), samples.back()) else { return [0.0; TOTALS] };
        let seconds = to.duration_since(*from).as_secs_f64();
        if seconds == 0.0 {
            return [0.0; TOTALS];
        }
        std::array::from_fn(|i| new[i].saturating_sub(old[i]) as f64 / seconds)
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_taken_over_the_samples_kept() {
        let rates = Rates::default();
        assert_eq!(rates.per_second(), [0.0; 3]);
        let start = Instant::now();
        for i in 0..40 {
            rates.sample(start + Duration::from_millis(100 * i), [i * 10, i * 100, 0]);
        }
        let [commands, received, sent] = rates.per_second();
        assert!((commands - 100.0).abs() < 0.01 && (received - 1000.0).abs() < 0.1 && sent == 0.0);
    }
}
