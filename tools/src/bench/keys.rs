//! Which key a request is about, and its name.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::Rng;
use rand_distr::{Distribution as _, Zipf};

/// How keys are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Each as often as any other.
    Uniform,
    /// Key k with a share in proportion to 1 / (k + 1)^theta.
    Zipf(f64),
    /// One after the other, over and over; all threads share the order.
    Sequential,
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("zipf:")) {
            ("uniform", _) => Ok(Self::Uniform),
            ("sequential", _) => Ok(Self::Sequential),
            (_, Some(theta)) => {
                let theta: f64 = theta.parse().map_err(|_| format!("{theta:?} is no number"))?;
                if theta.is_finite() && theta >= 0.0 { Ok(Self::Zipf(theta)) } else { Err(format!("a theta of {theta} cannot be")) }
            }
            _ => Err("uniform, zipf:THETA (as zipf:0.99) or sequential".to_owned()),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => write!(f, "uniform"),
            Self::Zipf(theta) => write!(f, "zipf:{theta}"),
            Self::Sequential => write!(f, "sequential"),
        }
    }
}

/// Chooses keys.
#[derive(Debug, Clone)]
pub(super) enum Chooser<'a> {
    Uniform(u64),
    Zipf(Zipf<f64>, u64),
    Sequential(&'a AtomicU64, u64),
}

impl<'a> Chooser<'a> {
    /// `next` is what sequential choosers share.
    pub(super) fn new(distribution: Distribution, keys: u64, next: &'a AtomicU64) -> Self {
        match distribution {
            Distribution::Uniform => Self::Uniform(keys),
            Distribution::Sequential => Self::Sequential(next, keys),
            Distribution::Zipf(theta) => Zipf::new(keys as f64, theta).map_or(Self::Uniform(keys), |zipf| Self::Zipf(zipf, keys)),
        }
    }

    pub(super) fn choose(&self, rng: &mut impl Rng) -> u64 {
        match self {
            Self::Uniform(keys) => rng.random_range(0..*keys),
            Self::Zipf(zipf, keys) => (zipf.sample(rng) as u64).saturating_sub(1).min(keys - 1),
            Self::Sequential(next, keys) => next.fetch_add(1, Ordering::Relaxed) % keys,
        }
    }
}

/// Names of keys, all of one length.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: Vec<u8>,
    digits: usize,
}

impl Names {
    /// Twelve digits, as redis-benchmark has them, or as many as the greatest key needs.
    pub(super) fn new(prefix: &str, tag: Option<&str>, keys: u64) -> Self {
        let tag = tag.map_or_else(String::new, |tag| format!("{{{tag}}}"));
        Self { prefix: format!("{tag}{prefix}").into_bytes(), digits: (keys - 1).to_string().len().max(12) }
    }

    pub(super) fn len(&self) -> usize {
        self.prefix.len() + self.digits
    }

    pub(super) fn write(&self, key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        let at = out.len();
        out.resize(at + self.digits, b'0');
        let mut rest = key;
        for digit in out[at..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    pub(super) fn name(&self, key: u64) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.len());
        self.write(key, &mut name);
        name
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn counts(distribution: Distribution, draws: u64) -> Vec<u64> {
        let (next, mut rng) = (AtomicU64::new(0), SmallRng::seed_from_u64(3));
        let chooser = Chooser::new(distribution, 1000, &next);
        let mut counts = vec![0; 1000];
        (0..draws).for_each(|_| counts[chooser.choose(&mut rng) as usize] += 1);
        counts
    }

    #[test]
    fn keys_occur_as_often_as_their_distribution_says() {
        assert!(counts(Distribution::Sequential, 3000).iter().all(|count| *count == 3));
        assert!(counts(Distribution::Uniform, 1_000_000).iter().all(|count| (800..1200).contains(count)));
        let zipf = counts(Distribution::Zipf(1.0), 1_000_000);
        let harmonic: f64 = (1..=1000).map(|k| 1.0 / f64::from(k)).sum();
        for key in [0_u32, 1, 9] {
            let expected = 1e6 / harmonic / f64::from(key + 1);
            let found = zipf[key as usize] as f64;
            assert!((found - expected).abs() < expected * 0.05, "key {key}: {found} and not {expected}");
        }
    }

    #[test]
    fn names_have_one_length() {
        let names = Names::new("key:", None, 100);
        assert_eq!(names.name(42), b"key:000000000042");
        assert_eq!(names.name(0).len(), names.len());
        let tagged = Names::new("k", Some("t"), 10_000_000_000_000);
        assert_eq!(tagged.name(9_999_999_999_999), b"{t}k9999999999999");
    }
}
