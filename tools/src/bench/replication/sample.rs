//! What one round measured, and what all rounds say together.

use std::collections::BTreeMap;
use std::time::Duration;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    FixedRate,
    Maximum,
    Kill,
    CatchUp,
    FullSync,
}

impl Phase {
    pub(super) const ALL: [Self; 5] = [Self::FixedRate, Self::Maximum, Self::Kill, Self::CatchUp, Self::FullSync];

    /// Its name in JSON.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::FixedRate => "fixed_rate",
            Self::Maximum => "maximum",
            Self::Kill => "kill",
            Self::CatchUp => "catch_up",
            Self::FullSync => "full_sync",
        }
    }

    /// Its name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FixedRate => "at a fixed rate",
            Self::Maximum => "as fast as it goes",
            Self::Kill => "primary killed under load",
            Self::CatchUp => "catch-up after 10 % of the data was written",
            Self::FullSync => "full sync of an empty replica",
        }
    }
}

/// The replicas' lag at one time, that of the last of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lag {
    /// Seconds since the start of the load.
    pub(super) at: f64,
    pub(super) entries: f64,
    pub(super) bytes: f64,
    pub(super) millis: f64,
}

/// Figures of one round, by their names in JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) figures: BTreeMap<String, f64>,
    /// What was used up.
    pub(super) limit: Option<String>,
    pub(super) lag: Vec<Lag>,
    /// What went wrong, in words.
    pub(super) troubles: Vec<String>,
}

impl Sample {
    pub(super) fn put(&mut self, name: impl Into<String>, value: f64) {
        self.figures.insert(name.into(), value);
    }
}

/// One setup over one link in one phase.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) phase: Phase,
    /// One way; none: there is no link.
    pub(super) delay: Option<Duration>,
    pub(super) setup: String,
    /// One a round.
    pub(super) samples: Vec<Sample>,
}

impl Row {
    /// The median of the rounds that have such a figure.
    pub(super) fn median(&self, name: &str) -> Option<f64> {
        median(self.samples.iter().filter_map(|sample| sample.figures.get(name).copied()).collect())
    }

    /// The highest of any round.
    pub(super) fn most(&self, name: &str) -> Option<f64> {
        self.samples.iter().filter_map(|sample| sample.figures.get(name).copied()).max_by(f64::total_cmp)
    }

    /// All figures that any round has.
    pub(super) fn medians(&self) -> BTreeMap<String, f64> {
        let names = self.samples.iter().flat_map(|sample| sample.figures.keys());
        names.filter_map(|name| Some((name.clone(), self.median(name)?))).collect()
    }

    /// What was used up in most of the rounds.
    pub(super) fn limit(&self) -> Option<&str> {
        let limits: Vec<&str> = self.samples.iter().filter_map(|sample| sample.limit.as_deref()).collect();
        limits.iter().copied().max_by_key(|limit| limits.iter().filter(|other| other == &limit).count())
    }
}

/// All that is measured.
#[derive(Debug, Default)]
pub(super) struct Rows(pub(super) Vec<Row>);

impl Rows {
    pub(super) fn add(&mut self, phase: Phase, delay: Option<Duration>, setup: &str, sample: Sample) {
        let same = |row: &&mut Row| row.phase == phase && row.delay == delay && row.setup == setup;
        match self.0.iter_mut().find(same) {
            Some(row) => row.samples.push(sample),
            None => self.0.push(Row { phase, delay, setup: setup.to_owned(), samples: vec![sample] }),
        }
    }

    pub(super) fn of(&self, phase: Phase) -> impl Iterator<Item = &Row> {
        self.0.iter().filter(move |row| row.phase == phase)
    }

    pub(super) fn troubles(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|row| {
            let of = move |trouble: &String| format!("{}, {}: {trouble}", row.setup, row.phase.name());
            row.samples.iter().flat_map(move |sample| sample.troubles.iter().map(of))
        })
    }
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(low.midpoint(*high))
}

/// The least value that so large a share of them does not exceed.
pub(super) fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles_are_those_of_the_sorted_values() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| quantile(values.clone(), share)), [1.0, 50.0, 99.0, 100.0].map(Some));
        assert_eq!(quantile(vec![], 0.5), None);
    }

    #[test]
    fn rounds_of_the_same_come_together() {
        let sample = |value: f64, limit: &str| {
            let mut sample = Sample { limit: Some(limit.to_owned()), troubles: vec!["late".to_owned()], ..Sample::default() };
            sample.put("rate", value);
            sample
        };
        let mut rows = Rows::default();
        for (value, limit) in [(1.0, "client"), (5.0, "primary"), (2.0, "primary")] {
            rows.add(Phase::Maximum, None, "none", sample(value, limit));
        }
        rows.add(Phase::FixedRate, None, "none", sample(7.0, "client"));
        let row = rows.of(Phase::Maximum).next();
        assert_eq!(row.map(|row| (row.median("rate"), row.limit(), row.median("other"))), Some((Some(2.0), Some("primary"), None)));
        assert_eq!((rows.0.len(), rows.troubles().count()), (2, 4));
        assert_eq!((rows.0[0].most("rate"), rows.0[0].most("other")), (Some(5.0), None));
    }
}
