//! Figures for people.

use std::io::{self, Write};

use super::args::Load;
use super::mix::Op;
use super::stats::{Figures, Interval, Latencies, Wrong};

/// The quantiles of every table.
pub(super) const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
/// From which share of a thread's time on the generator itself is the limit.
const BUSY: f64 = 0.9;

/// An interval and when it ended, in seconds.
pub(super) struct IntervalLine {
    pub(super) at: f64,
    pub(super) seconds: f64,
    pub(super) interval: Interval,
}

/// What a run measured.
pub(super) struct Measured {
    /// From the end of the warm-up to the end, or the last reply if that is later.
    pub(super) seconds: f64,
    /// From the start to the end of the threads.
    pub(super) wall_seconds: f64,
    pub(super) threads: u32,
    pub(super) figures: Figures,
    pub(super) intervals: Vec<IntervalLine>,
}

impl Measured {
    /// Whether nothing went wrong that the options do not allow.
    pub(super) fn is_right(&self, load: &Load) -> bool {
        let figures = &self.figures;
        let failed = !load.tolerate_errors && !figures.errors.is_empty();
        let lost = !load.reconnect && (figures.lost > 0 || figures.disconnections > 0);
        figures.wrong_answers() == 0 && !failed && !lost
    }

    pub(super) fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.figures.answered() as f64 / self.seconds } else { 0.0 }
    }

    /// CPU time of the generator as a share of its threads' time.
    pub(super) fn busy(&self) -> f64 {
        self.figures.cpu_nanos as f64 / 1e9 / (self.wall_seconds * f64::from(self.threads)).max(1e-9)
    }
}

pub(super) fn interval(line: &IntervalLine, first: bool, out: &mut dyn Write) -> io::Result<()> {
    if first {
        writeln!(out, "{:>9}  {:>10}  {:>9}  {:>9}  {:>9}  {:>8}", "seconds", "requests/s", "p50 ms", "p99 ms", "max ms", "errors")?;
    }
    let Interval { latencies, errors } = &line.interval;
    let rate = latencies.count() as f64 / line.seconds.max(1e-9);
    let (p50, p99, max) = (latencies.millis(0.5), latencies.millis(0.99), latencies.max_millis());
    writeln!(out, "{:>9.1}  {rate:>10.0}  {p50:>9.3}  {p99:>9.3}  {max:>9.3}  {errors:>8}", line.at)?;
    out.flush()
}

pub(super) fn filled(measured: &Measured, load: &Load, out: &mut dyn Write) -> io::Result<()> {
    let answered = measured.figures.answered();
    writeln!(out, "filled {answered} of {} keys in {:.1} s, {:.0} a second", load.keys, measured.seconds, measured.rate())?;
    troubles(measured, load, out)?;
    writeln!(out)
}

pub(super) fn summary(measured: &Measured, load: &Load, out: &mut dyn Write) -> io::Result<()> {
    let figures = &measured.figures;
    let pace = load.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("open loop at {rate} requests/s"));
    writeln!(
        out,
        "{pace}, {} clients, {} at once each, {} threads; {} keys, {}, values of {} bytes; {}",
        load.clients,
        load.pipeline,
        measured.threads,
        load.keys,
        load.distribution,
        if load.value_bytes.from == load.value_bytes.to {
            load.value_bytes.to.to_string()
        } else {
            format!("{} to {}", load.value_bytes.from, load.value_bytes.to)
        },
        load.mix
    )?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(
        out,
        "{} requests answered in {:.2} s: {:.0} a second; {:.1} MiB sent, {:.1} MiB received",
        figures.answered(),
        measured.seconds,
        measured.rate(),
        mib(figures.sent_bytes),
        mib(figures.received_bytes)
    )?;
    if figures.hits + figures.misses > 0 {
        writeln!(out, "{} GETs found their key, {} did not", figures.hits, figures.misses)?;
    }
    writeln!(out)?;
    table(figures, out)?;
    writeln!(out)?;
    generator(measured, load, out)?;
    troubles(measured, load, out)
}

fn table(figures: &Figures, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{:<10}  {:>10}  {:>9}", "", "requests", "mean ms")?;
    QUANTILES.iter().try_for_each(|(name, _)| write!(out, "  {:>9}", format!("{name} ms")))?;
    writeln!(out, "  {:>9}", "max ms")?;
    for op in Op::ALL {
        if let Some(latencies) = figures.of_op(op) {
            row(op.name(), latencies, out)?;
        }
    }
    if figures.unsent.count() > 0 {
        row("not sent", &figures.unsent, out)?;
    }
    row("all", &figures.all(), out)
}

fn row(name: &str, latencies: &Latencies, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{name:<10}  {:>10}  {:>9.3}", latencies.count(), latencies.mean_millis())?;
    QUANTILES.iter().try_for_each(|(_, quantile)| write!(out, "  {:>9.3}", latencies.millis(*quantile)))?;
    writeln!(out, "  {:>9.3}", latencies.max_millis())
}

/// Whether the generator itself can be believed.
fn generator(measured: &Measured, load: &Load, out: &mut dyn Write) -> io::Result<()> {
    let figures = &measured.figures;
    if load.rate.is_some() && figures.late.count() > 0 {
        let (p99, max) = (figures.late.millis(0.99), figures.late.max_millis());
        writeln!(out, "The generator sent late by itself: p99 {p99:.3} ms, max {max:.3} ms (part of the latencies above)")?;
    }
    if measured.busy() > BUSY {
        writeln!(
            out,
            "WARNING: the generator used {:.0} % of its threads' time: it may be the limit, try more --threads",
            100.0 * measured.busy()
        )?;
    }
    if figures.unsent.count() > 0 {
        writeln!(
            out,
            "WARNING: {} requests were due and not sent when time was up: the server did not keep up with the rate. They count with their age then",
            figures.unsent.count()
        )?;
    }
    Ok(())
}

/// What went wrong, in words.
fn troubles(measured: &Measured, load: &Load, out: &mut dyn Write) -> io::Result<()> {
    let figures = &measured.figures;
    for (text, count) in &figures.errors {
        writeln!(out, "ERROR REPLY, {count} times: {text}{}", hint(text))?;
    }
    for (text, count) in &figures.disconnected {
        writeln!(out, "CONNECTION LOST, {count} times: {text}")?;
    }
    if figures.disconnections > 0 {
        let again =
            if load.reconnect { format!("{} were made again", figures.reconnections) } else { "--reconnect makes them again".to_owned() };
        writeln!(
            out,
            "{} connections were lost, and with them {} requests without a reply; {again}",
            figures.disconnections, figures.lost
        )?;
    }
    for wrong in Wrong::ALL {
        if figures.wrong_of(wrong) > 0 {
            writeln!(out, "WRONG ANSWER, {} times: {}", figures.wrong_of(wrong), wrong.name())?;
        }
    }
    figures.examples.iter().try_for_each(|example| writeln!(out, "  {example}"))?;
    if (figures.examples.len() as u64) < figures.wrong_answers() {
        writeln!(out, "  … and {} more", figures.wrong_answers() - figures.examples.len() as u64)?;
    }
    Ok(())
}

fn hint(text: &str) -> &'static str {
    match text.split(' ').next() {
        Some("LOADING") => " (the server is still loading its data)",
        Some("OOM") => " (the server is at its memory limit and refuses writes)",
        Some("NOAUTH") => " (give --password)",
        Some("MOVED" | "ASK") => " (this is a cluster: esker-bench talks to the node it is given, use --hash-tag with a slot of it)",
        _ => "",
    }
}
