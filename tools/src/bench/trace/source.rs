//! Where requests come from.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::hash::Hash;
use std::path::PathBuf;
use std::str::FromStr;

use super::super::BenchError;
use super::{file, generate};

/// A trace: keys in the order in which they are asked for, numbered from 0 by their first appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Requests {
    pub(super) order: Vec<u32>,
    keys: u32,
}

impl Requests {
    /// Gives each of the names a number.
    pub(super) fn dense<N: Hash + Eq>(names: impl IntoIterator<Item = N>) -> Self {
        let mut numbers = HashMap::new();
        let mut order = Vec::new();
        for name in names {
            let next = numbers.len() as u32;
            order.push(*numbers.entry(name).or_insert(next));
        }
        Self { order, keys: numbers.len() as u32 }
    }

    /// Different keys.
    pub(super) fn footprint(&self) -> usize {
        self.keys as usize
    }
}

/// What a trace is made from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Key k with a share in proportion to 1 / (k + 1)^theta.
    Zipf(f64),
    /// Zipf 1.0, and this share of requests in scans.
    Scan(f64),
    /// A file.
    File(PathBuf),
}

impl Source {
    /// `length` at most, or what is usual.
    pub(super) fn requests(&self, keys: u32, length: Option<u64>, seed: u64) -> Result<Requests, BenchError> {
        let drawn = length.unwrap_or(4 * u64::from(keys)) as usize;
        match self {
            Self::Zipf(theta) => Ok(Requests::dense(generate::zipf(keys, *theta, seed).take(drawn))),
            Self::Scan(share) => Ok(Requests::dense(generate::scan(keys, *share, seed).take(drawn))),
            Self::File(path) => {
                file::read(path, length.unwrap_or(u64::MAX)).map_err(|reason| BenchError::Trace { path: path.clone(), reason })
            }
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<f64>().map_err(|_| format!("{text:?} is no number"));
        match text.split_once(':') {
            Some(("zipf", theta)) => match number(theta)? {
                theta if theta.is_finite() && theta >= 0.0 => Ok(Self::Zipf(theta)),
                theta => Err(format!("a theta of {theta} cannot be")),
            },
            Some(("scan", share)) => match number(share)? {
                share if (0.0..1.0).contains(&share) => Ok(Self::Scan(share)),
                share => Err(format!("scans cannot be {share} of all requests")),
            },
            _ => Ok(Self::File(PathBuf::from_str(text).unwrap_or_else(|never: Infallible| match never {}))),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zipf(theta) => write!(f, "zipf:{theta}"),
            Self::Scan(share) => write!(f, "scan:{share}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_by_their_first_appearance() {
        let requests = Requests::dense(["b", "a", "b", "c"]);
        assert_eq!((requests.order.as_slice(), requests.footprint()), (&[0, 1, 0, 2][..], 3));
    }

    #[test]
    fn sources_are_read_as_they_are_written() {
        for text in ["zipf:0.8", "zipf:1", "scan:0.25", "traces/a.bin"] {
            assert_eq!(text.parse::<Source>().map(|source| source.to_string()), Ok(text.to_owned()));
        }
        for text in ["zipf:x", "zipf:-1", "scan:1"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
