//! The replicas' lag over time, as their primary tells it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::BenchError;
use super::info::{self, Progress};
use super::node::Node;
use super::sample::{Lag, Sample, quantile};

/// How often it is asked for.
const STEP: Duration = Duration::from_millis(50);

/// Does something, and watches the primary's replicas meanwhile.
pub(super) fn watch<T>(primary: &Node, work: impl FnOnce() -> T) -> Result<(T, Vec<Lag>), BenchError> {
    let mut client = primary.connect()?;
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (began, mut lags) = (Instant::now(), Vec::new());
            while !ended.load(Ordering::Relaxed) {
                let replicas = info::replicas(&client.ask(&["INFO", "replication"])?);
                lags.extend(last(began.elapsed(), &replicas));
                thread::sleep(STEP);
            }
            Ok::<_, BenchError>(lags)
        });
        let done = work();
        ended.store(true, Ordering::Relaxed);
        let lags = watcher.join().expect("a panic in the watcher is a fault of this program")?;
        Ok((done, lags))
    })
}

/// The lag of the replica that is behind the most, in each of its three measures.
fn last(at: Duration, replicas: &[Progress]) -> Option<Lag> {
    let most = |of: fn(&Progress) -> i64| Some(replicas.iter().map(of).max()?.max(0) as f64);
    Some(Lag {
        at: at.as_secs_f64(),
        entries: most(|replica| replica.lag_entries)?,
        bytes: most(|replica| replica.lag_bytes)?,
        millis: most(|replica| replica.lag_ms)?,
    })
}

/// Puts what a load's lag was in short.
pub(super) fn put(lags: &[Lag], sample: &mut Sample) {
    for (number, unit) in ["entries", "bytes", "ms"].into_iter().enumerate() {
        let of = |lag: &Lag| [lag.entries, lag.bytes, lag.millis][number];
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            if let Some(value) = quantile(lags.iter().map(of).collect(), share) {
                sample.put(format!("lag_{name}_{unit}"), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_replica_counts() {
        let replica = |entries, bytes, ms| Progress { lag_entries: entries, lag_bytes: bytes, lag_ms: ms, ..Progress::default() };
        let lag = last(Duration::from_secs(1), &[replica(5, 500, 0), replica(4, 900, -1)]);
        assert_eq!(lag, Some(Lag { at: 1.0, entries: 5.0, bytes: 900.0, millis: 0.0 }));
        assert_eq!(last(Duration::ZERO, &[]), None);
        let mut sample = Sample::default();
        put(lag.as_slice(), &mut sample);
        assert_eq!((sample.figures["lag_p99_entries"], sample.figures["lag_max_bytes"], sample.figures.len()), (5.0, 900.0, 9));
    }
}
