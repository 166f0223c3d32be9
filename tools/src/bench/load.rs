//! `load`: fills, runs, reports.

use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::args::{Load, nanos};
use super::book::Book;
use super::connection::Target;
use super::keys::{Distribution, Names};
use super::mix::{Mix, Op};
use super::report::{self, IntervalLine, Measured};
use super::request::Maker;
use super::schedule::Limits;
use super::stats::{Figures, Interval};
use super::value::Values;
use super::worker::{Plan, Worker};
use super::{BenchError, Outcome, json};

/// Requests that a client of the fill sends at once.
const FILL_PIPELINE: u32 = 64;

pub(super) fn run(load: &Load, out: &mut dyn Write) -> Result<Outcome, BenchError> {
    load.check().map_err(BenchError::Options)?;
    let target = load.server.target();
    let maker = maker(load);
    let filled = if load.fill { Some(measure(fill_plan(load, &target, &maker), load, out, None)?) } else { None };
    if let Some(filled) = &filled {
        report::filled(filled, load, out)?;
    }
    let measured = match load.requests {
        Some(0) => None,
        _ => Some(measure(main_plan(load, &target, &maker), load, out, load.interval)?),
    };
    if let Some(measured) = &measured {
        report::summary(measured, load, out)?;
    }
    if let Some(path) = &load.json {
        let text = json::object(load, filled.as_ref(), measured.as_ref()).to_string();
        std::fs::write(path, text + "\n").map_err(|source| BenchError::Write { path: path.clone(), source })?;
    }
    let right = [filled, measured].iter().flatten().all(|measured| measured.is_right(load));
    Ok(if right { Outcome::Right } else { Outcome::Wrong })
}

/// Makes the requests of a load.
pub(super) fn maker(load: &Load) -> Maker {
    let names = Names::new(&load.key_prefix, load.hash_tag.as_deref(), load.keys);
    let values = Values::new(names, load.seed, !load.unchecked);
    let expires = load.ttl.is_some() || load.mix.has(Op::Expire);
    let ttl = expires.then(|| nanos(load.ttl.unwrap_or(60) as f64));
    let book = load.verify.then(|| Book::new(load.keys, ttl, load.mix.has(Op::Incr)));
    Maker::new(&load.key_prefix, load.hash_tag.as_deref(), load.keys, values, load.ttl, book)
}

/// The load itself.
pub(super) fn main_plan<'a>(load: &'a Load, target: &'a Target, maker: &'a Maker) -> Plan<'a> {
    Plan {
        target,
        maker,
        mix: load.mix.clone(),
        distribution: load.distribution,
        keys: load.keys,
        lengths: load.value_bytes,
        seed: load.seed,
        pipeline: load.pipeline,
        rate: load.rate,
        threads: load.threads.min(load.clients),
        reconnect: load.reconnect,
        limits: Limits::new(nanos(load.warmup), load.nanos(), load.requests),
        next: AtomicU64::new(0),
        origin: Instant::now(),
    }
}

/// Every key once, as fast as it goes.
pub(super) fn fill_plan<'a>(load: &'a Load, target: &'a Target, maker: &'a Maker) -> Plan<'a> {
    Plan {
        mix: Mix::only(Op::Set),
        distribution: Distribution::Sequential,
        // Its lengths are not those of the run.
        seed: !load.seed,
        pipeline: load.pipeline.max(FILL_PIPELINE),
        rate: None,
        limits: Limits::new(0, None, Some(load.keys)),
        ..main_plan(load, target, maker)
    }
}

/// Carries a plan out.
pub(super) fn measure(mut plan: Plan<'_>, load: &Load, out: &mut dyn Write, interval: Option<f64>) -> Result<Measured, BenchError> {
    let deadline = load.server.deadline();
    let mut streams = (0..load.clients).map(|_| plan.target.connect_until(deadline)).collect::<Result<Vec<_>, _>>()?;
    // The time starts when all are connected.
    plan.origin = Instant::now();
    let plan = &plan;
    let figures: Vec<Mutex<Figures>> = (0..plan.threads).map(|_| Mutex::default()).collect();
    let share = streams.len().div_ceil(figures.len());
    let mut intervals = Vec::new();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, figures) in (0..).zip(&figures) {
            let rest = streams.split_off(streams.len().saturating_sub(share.min(streams.len())));
            let worker = Worker::new(plan, number, rest, figures)?;
            threads.push(scope.spawn(move || worker.run()));
        }
        if let Some(seconds) = interval {
            intervals = watch(plan, seconds, &figures, &|| threads.iter().all(thread::ScopedJoinHandle::is_finished), out)?;
        }
        threads.into_iter().try_for_each(|thread| thread.join().expect("a panic in a worker is a fault of this program"))
    })?;
    let mut sum = Figures::default();
    for part in &figures {
        sum.add(&part.lock().unwrap_or_else(PoisonError::into_inner));
    }
    let ended = sum.last.max(plan.limits.end.unwrap_or(plan.limits.measure_from));
    let seconds = (ended - plan.limits.measure_from) as f64 / 1e9;
    Ok(Measured { seconds, wall_seconds: plan.now() as f64 / 1e9, threads: plan.threads, figures: sum, intervals })
}

/// Prints a line an interval until all threads have ended.
fn watch(
    plan: &Plan<'_>,
    seconds: f64,
    figures: &[Mutex<Figures>],
    finished: &dyn Fn() -> bool,
    out: &mut dyn Write,
) -> Result<Vec<IntervalLine>, BenchError> {
    let step = nanos(seconds).max(1_000_000);
    let mut lines = Vec::new();
    let mut from = 0;
    while !finished() {
        let to = from + step;
        while plan.now() < to && !finished() {
            thread::sleep(Duration::from_nanos(to.saturating_sub(plan.now()).min(50_000_000)));
        }
        let now = plan.now();
        let mut sum = Interval::default();
        for part in figures {
            let interval = std::mem::take(&mut part.lock().unwrap_or_else(PoisonError::into_inner).interval);
            sum.latencies.add(&interval.latencies);
            sum.errors += interval.errors;
        }
        if sum.latencies.count() == 0 && sum.errors == 0 && finished() {
            break;
        }
        let line = IntervalLine { at: now as f64 / 1e9, seconds: (now - from) as f64 / 1e9, interval: sum };
        report::interval(&line, lines.is_empty(), out)?;
        lines.push(line);
        from = now;
    }
    Ok(lines)
}
