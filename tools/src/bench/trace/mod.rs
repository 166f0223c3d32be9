//! `trace`: the share of GETs that miss, of a server that evicts and of models of known policies, on the same requests.
//!
//! Invariants:
//! - Every policy and the server see the same keys in the same order; a key that misses is written before it is asked for again.
//! - The size of a cache is a number of objects, all of one size, so that it means the same for a model and for a server.

mod args;
mod client;
mod file;
mod generate;
mod policy;
mod replay;
mod report;
mod source;

pub use args::Trace;

use std::io::Write;

use super::{BenchError, Outcome};
use policy::{Fifo, Lru, Policy, S3Fifo};
use report::Row;
use source::Requests;

/// Misses of what counts of a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Misses {
    /// GETs after the warm-up.
    gets: u64,
    /// Those of them that found nothing.
    misses: u64,
}

impl Misses {
    fn count(&mut self, hit: bool) {
        self.gets += 1;
        self.misses += u64::from(!hit);
    }

    fn ratio(self) -> f64 {
        self.misses as f64 / self.gets.max(1) as f64
    }
}

pub(super) fn run(options: &Trace, out: &mut dyn Write) -> Result<Outcome, BenchError> {
    let requests = options.trace.requests(options.keys, options.requests, options.seed)?;
    let cache = options.cache_objects(requests.footprint()).map_err(BenchError::Options)?;
    let warmup = (requests.order.len() as f64 * options.warmup) as usize;
    report::head(options, &requests, cache, warmup, out)?;
    let mut rows = models(&requests, cache, warmup);
    let replayed = if options.replay { Some(replay::run(options, &requests, warmup)?) } else { None };
    if let Some(replayed) = &replayed {
        rows.push(Row { name: "server", misses: replayed.misses });
    }
    report::table(&rows, replayed.as_ref(), out)?;
    if let Some(path) = &options.json {
        let text = report::json(options, &requests, cache, warmup, &rows, replayed.as_ref()).to_string();
        std::fs::write(path, text + "\n").map_err(|source| BenchError::Write { path: path.clone(), source })?;
    }
    let right = replayed.is_none_or(|replayed| replayed.is_right());
    Ok(if right { Outcome::Right } else { Outcome::Wrong })
}

fn models(requests: &Requests, cache: usize, warmup: usize) -> Vec<Row> {
    let keys = requests.footprint();
    vec![
        Row { name: "LRU", misses: model(&mut Lru::new(cache, keys), requests, warmup) },
        Row { name: "FIFO", misses: model(&mut Fifo::new(cache, keys), requests, warmup) },
        Row { name: "S3-FIFO", misses: model(&mut S3Fifo::new(cache, keys), requests, warmup) },
    ]
}

fn model(policy: &mut dyn Policy, requests: &Requests, warmup: usize) -> Misses {
    let mut misses = Misses::default();
    for (number, key) in requests.order.iter().enumerate() {
        let hit = policy.request(*key);
        if number >= warmup {
            misses.count(hit);
        }
    }
    misses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_end_of_the_warm_up_does_not_count() {
        let requests = Requests::dense([1, 2, 1, 2, 3]);
        let found = |warmup| model(&mut Lru::new(2, 3), &requests, warmup);
        assert_eq!(found(0), Misses { gets: 5, misses: 3 });
        assert_eq!(found(2), Misses { gets: 3, misses: 1 });
    }

    #[test]
    fn s3_fifo_beats_lru_on_skewed_keys_and_scans_and_fifo_does_not() {
        for trace in ["zipf:0.8", "zipf:1", "scan:0.2"] {
            let source: source::Source = trace.parse().unwrap_or_else(|error| panic!("{error}"));
            let requests = source.requests(20_000, Some(200_000), 1).unwrap_or_else(|error| panic!("{error}"));
            let cache = requests.footprint() / 20;
            let [lru, fifo, s3_fifo] = [0, 1, 2].map(|row| models(&requests, cache, 40_000)[row].misses.ratio());
            assert!(s3_fifo < lru && lru < fifo, "{trace}: LRU {lru}, FIFO {fifo}, S3-FIFO {s3_fifo}");
        }
    }
}
