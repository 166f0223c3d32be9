//! Sections with a line a command or error: commandstats, errorstats, latencystats.

use super::{Lines, Source};
use crate::command::rows;

pub(super) fn commandstats(source: &Source<'_>, out: &mut Lines) {
    for (id, spec) in rows() {
        let totals = source.server.counters.command(id);
        if totals.calls == 0 && totals.rejected == 0 {
            continue;
        }
        let micros = totals.nanoseconds / 1000;
        let each = if totals.calls == 0 { 0.0 } else { totals.nanoseconds as f64 / 1000.0 / totals.calls as f64 };
        out.put(
            format_args!("cmdstat_{}", spec.name),
            format_args!(
                "calls={},usec={micros},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                totals.calls, totals.rejected, totals.failed
            ),
        );
    }
}

pub(super) fn errorstats(source: &Source<'_>, out: &mut Lines) {
    for (code, count) in source.server.counters.errors() {
        out.put(format_args!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn latencystats(source: &Source<'_>, out: &mut Lines) {
    let config = &source.server.config;
    if !config.hot().latency_tracking() {
        return;
    }
    let percentiles = config.text("latency-tracking-info-percentiles");
    for (id, spec) in rows() {
        let times = source.server.counters.times(id);
        if times.total() == 0 {
            continue;
        }
        let shown = |p: &str| Some(format!("p{p}={:.3}", times.percentile(p.parse().ok()?)));
        let line: Vec<String> = percentiles.split_ascii_whitespace().filter_map(shown).collect();
        out.put(format_args!("latency_percentiles_usec_{}", spec.name), line.join(","));
    }
}
