//! Figures as tables and for programs.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::args::Replication;
use super::machine::Environment;
use super::sample::{Lag, Phase, Row, Rows, Sample};
use super::setup::Setup;

/// A figure of a table: its title, its name, its decimals.
type Column = (&'static str, &'static str, usize);

/// Of a figure whose median would hide what happened once.
const MOST: &str = "most of a round";

const LOAD: &[Column] = &[
    ("requests/s", "requests_per_second", 0),
    ("p50 ms", "p50_ms", 3),
    ("p99 ms", "p99_ms", 3),
    ("p99.9 ms", "p99.9_ms", 3),
    ("lag p99 ms", "lag_p99_ms", 0),
    ("lag p99 entries", "lag_p99_entries", 0),
    ("wire B/user B", "wire_bytes_per_user_byte", 2),
    ("disk B/user B, primary", "disk_bytes_per_user_byte_primary", 2),
    ("replica 1", "disk_bytes_per_user_byte_replica_1", 2),
    ("CPU µs/request, primary", "cpu_us_per_request_primary", 1),
    ("replica 1", "cpu_us_per_request_replica_1", 1),
];
const KILL: &[Column] = &[
    ("acknowledged", "acknowledged", 0),
    ("of them lost", "acknowledged_lost", 0),
    (MOST, "acknowledged_lost", 0),
    ("unanswered", "unanswered", 0),
    ("promotion ms", "promotion_ms", 1),
];
const CATCH_UP: &[Column] = &[
    ("seconds", "seconds", 3),
    ("missing MB", "missing_log_bytes", 0),
    ("wire B/missing B", "wire_bytes_per_missing_byte", 3),
    ("MB/s", "megabytes_per_second", 0),
    ("primary CPU s", "primary_cpu_seconds", 2),
];
const FULL_SYNC: &[Column] = &[
    ("seconds", "seconds", 3),
    ("wire MB", "wire_bytes_to_replica", 0),
    ("MB/s", "megabytes_per_second", 0),
    ("keys/s", "keys_per_second", 0),
    ("primary CPU s", "primary_cpu_seconds", 2),
    ("primary memory MiB more", "primary_anonymous_memory_growth_mib", 1),
];

fn columns(phase: Phase) -> &'static [Column] {
    match phase {
        Phase::FixedRate | Phase::Maximum => LOAD,
        Phase::Kill => KILL,
        Phase::CatchUp => CATCH_UP,
        Phase::FullSync => FULL_SYNC,
    }
}

/// A phase's table: its titles, then a line a row.
pub(super) fn table(rows: &Rows, phase: Phase) -> Vec<Vec<String>> {
    let columns = columns(phase);
    let loads = matches!(phase, Phase::FixedRate | Phase::Maximum);
    let mut titles = vec!["one-way delay".to_owned(), "setup".to_owned()];
    titles.extend(columns.iter().map(|(title, ..)| (*title).to_owned()));
    titles.extend(loads.then(|| "used up".to_owned()));
    let line = |row: &Row| {
        let mut cells = vec![delay(row.delay), row.setup.clone()];
        cells.extend(columns.iter().map(|column| cell(row, *column)));
        cells.extend(row.limit().filter(|_| loads).map(ToOwned::to_owned));
        cells
    };
    std::iter::once(titles).chain(rows.of(phase).map(line)).collect()
}

fn cell(row: &Row, (title, name, decimals): Column) -> String {
    let value = if title == MOST { row.most(name) } else { row.median(name) };
    let Some(value) = value else { return String::new() };
    if title.ends_with(" MB") { format!("{:.1}", value / 1e6) } else { format!("{value:.decimals$}") }
}

/// A link's delay in words.
pub(super) fn delay(delay: Option<Duration>) -> String {
    delay.map_or_else(|| "–".to_owned(), |delay| format!("{} ms", delay.as_secs_f64() * 1e3))
}

/// What the tables are to be read with.
pub(super) fn terms(options: &Replication) -> String {
    let values = options.value_bytes;
    let lengths = if values.from == values.to { values.from.to_string() } else { format!("{} to {}", values.from, values.to) };
    format!(
        "{} clients, {} requests at once each, {}; {} keys, values of {lengths} bytes; {} s a load, fixed rate {} requests/s; medians of {} rounds. \
         Links: {}, {} of segments lost; a round trip is twice the delay. Servers: {}",
        options.clients,
        options.pipeline,
        options.mix,
        options.keys,
        options.seconds,
        options.rate,
        options.rounds,
        options.link_rate.map_or_else(|| "no limit of rate".to_owned(), |rate| format!("{rate} MB/s each way")),
        options.link_loss,
        options.server_options().join(" "),
    )
}

pub(super) fn progress(phase: Phase, delay_of: Option<Duration>, setup: Setup, sample: &Sample, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{}, {setup}, {}:", delay(delay_of), phase.name())?;
    for (title, name, decimals) in columns(phase).iter().filter(|column| column.0 != MOST).take(4) {
        if let Some(value) = sample.figures.get(*name) {
            let (value, decimals) = if title.ends_with(" MB") { (value / 1e6, 1) } else { (*value, *decimals) };
            write!(out, " {title} {value:.decimals$},")?;
        }
    }
    writeln!(out, " {}", sample.limit.as_deref().map_or_else(String::new, |limit| format!("used up: {limit}")))?;
    sample.troubles.iter().try_for_each(|trouble| writeln!(out, "  TROUBLE: {trouble}"))?;
    out.flush()
}

/// All tables, as Markdown has them.
pub(super) fn print(options: &Replication, environment: &Environment, rows: &Rows, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}\n\n{}", environment.line(), terms(options))?;
    for phase in Phase::ALL.into_iter().filter(|phase| rows.of(*phase).next().is_some()) {
        writeln!(out, "\n{}:\n", capital(phase.name()))?;
        let table = table(rows, phase);
        let width = |column: usize| table.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
        for (number, line) in table.iter().enumerate() {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
            writeln!(out, "|{}", cells.collect::<String>())?;
            if number == 0 {
                writeln!(out, "|{}", widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect::<String>())?;
            }
        }
    }
    rows.troubles().try_for_each(|trouble| writeln!(out, "TROUBLE: {trouble}"))
}

/// A sentence's beginning.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// All options that matter and all that was measured.
pub(super) fn json(options: &Replication, environment: &Environment, rows: &Rows) -> Value {
    json!({
        "environment": environment.json(),
        "options": {
            "link_delay_ms_one_way": options.link_delay, "link_rate_megabytes_per_second": options.link_rate, "link_loss": options.link_loss,
            "modes": options.modes.iter().map(|mode| mode.name()).collect::<Vec<_>>(), "replicas": options.replicas,
            "rate": options.rate, "clients": options.clients, "pipeline": options.pipeline, "seconds": options.seconds,
            "warmup": options.warmup, "keys": options.keys, "value_bytes": [options.value_bytes.from, options.value_bytes.to],
            "mix": options.mix.to_string(), "seed": options.seed, "kill_after": options.kill, "sync_keys": options.sync_keys,
            "rounds": options.rounds, "server_options": options.server_options(),
        },
        "rows": rows.0.iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(row: &Row) -> Value {
    let lag = |lag: &Lag| json!([lag.at, lag.entries, lag.bytes, lag.millis]);
    let sample = |sample: &Sample| {
        json!({
            "figures": sample.figures, "used_up": sample.limit, "troubles": sample.troubles,
            "lag_seconds_entries_bytes_ms": sample.lag.iter().map(lag).collect::<Vec<_>>(),
        })
    };
    json!({
        "phase": row.phase.id(),
        "one_way_delay_ms": row.delay.map(|delay| delay.as_secs_f64() * 1e3),
        "setup": row.setup,
        "medians": row.medians(),
        "used_up": row.limit(),
        "rounds": row.samples.iter().map(sample).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_table_has_a_cell_for_each_title() {
        let mut rows = Rows::default();
        for (phase, name) in Phase::ALL.into_iter().zip(["p50_ms", "p50_ms", "acknowledged", "missing_log_bytes", "seconds"]) {
            let mut sample = Sample::default();
            sample.put(name, 2_500_000.0);
            sample.limit = matches!(phase, Phase::FixedRate | Phase::Maximum).then(|| "client".to_owned());
            rows.add(phase, Some(Duration::from_micros(500)), "async 1", sample);
        }
        for phase in Phase::ALL {
            let table = table(&rows, phase);
            assert_eq!((table.len(), table[0].len()), (2, table[1].len()), "{phase:?}");
            assert_eq!(table[1][..2], ["0.5 ms", "async 1"]);
        }
        assert_eq!(table(&rows, Phase::CatchUp)[1][3], "2.5", "bytes are told in millions of them");
        assert_eq!(table(&rows, Phase::Kill)[1][2..4], ["2500000", ""]);
        assert_eq!(row(&rows.0[0])["medians"]["p50_ms"], 2_500_000.0);
    }
}
