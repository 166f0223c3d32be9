//! What was found, for people and for programs.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::Misses;
use super::args::Trace;
use super::replay::Replayed;
use super::source::Requests;

/// A policy and what it missed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) misses: Misses,
}

pub(super) fn head(options: &Trace, requests: &Requests, cache: usize, warmup: usize, out: &mut dyn Write) -> io::Result<()> {
    let (length, footprint) = (requests.order.len(), requests.footprint());
    writeln!(out, "{}: {length} requests of {footprint} keys; the first {warmup} do not count", options.trace)?;
    writeln!(out, "cache of {cache} objects, {:.2} % of the keys", 100.0 * cache as f64 / footprint as f64)?;
    writeln!(out)?;
    out.flush()
}

pub(super) fn table(rows: &[Row], replayed: Option<&Replayed>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{:<8}  {:>10}  {:>10}  {:>10}  {:>10}", "", "misses", "miss ratio", "to LRU", "to S3-FIFO")?;
    for Row { name, misses } in rows {
        let to = |other| ratio(rows, other).map_or_else(String::new, |base| format!("{:+.2} %", 100.0 * (misses.ratio() / base - 1.0)));
        writeln!(out, "{name:<8}  {:>10}  {:>10.4}  {:>10}  {:>10}", misses.misses, misses.ratio(), to("LRU"), to("S3-FIFO"))?;
    }
    let Some(replayed) = replayed else { return Ok(()) };
    writeln!(out, "\nreplayed in {:.1} s, {} SETs", replayed.seconds, replayed.sets)?;
    for (text, count) in &replayed.refused {
        writeln!(out, "ERROR REPLY, {count} times: {text}")?;
    }
    if replayed.wrong > 0 {
        writeln!(out, "WRONG ANSWER, {} times, as", replayed.wrong)?;
        replayed.examples.iter().try_for_each(|example| writeln!(out, "  {example}"))?;
    }
    Ok(())
}

/// Of the model of that name.
fn ratio(rows: &[Row], name: &str) -> Option<f64> {
    rows.iter().find(|row| row.name == name).map(|row| row.misses.ratio()).filter(|ratio| *ratio > 0.0)
}

pub(super) fn json(options: &Trace, requests: &Requests, cache: usize, warmup: usize, rows: &[Row], replayed: Option<&Replayed>) -> Value {
    let ratios = rows.iter().map(|row| (row.name.to_owned(), row.misses.ratio().into()));
    json!({
        "trace": options.trace.to_string(), "seed": options.seed, "requests": requests.order.len(), "footprint": requests.footprint(),
        "warmup": warmup, "cache_objects": cache, "value_bytes": options.value_bytes, "window": options.window,
        "gets": rows.first().map(|row| row.misses.gets),
        "miss_ratios": ratios.collect::<Map<_, _>>(),
        "replay": replayed.map(|replayed| json!({
            "seconds": replayed.seconds, "sets": replayed.sets, "error_replies": replayed.refused, "wrong_answers": replayed.wrong,
            "examples": replayed.examples,
        })),
    })
}
