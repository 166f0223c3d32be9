//! The report as one page that needs nothing else.

use std::fmt::Write;
use std::time::Duration;

use super::super::report::QUANTILES;
use super::args::Replication;
use super::machine::Environment;
use super::report::{capital, delay, table, terms};
use super::sample::{Phase, Row, Rows};
use super::svg::{Line, bars, escape, lines};

const STYLE: &str = "body{font:14px system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em}table{border-collapse:collapse;margin:1em 0}\
    td,th{padding:3px 8px;border:1px solid #ccc;text-align:right}td:nth-child(-n+2),th:nth-child(-n+2),td:last-child{text-align:left}\
    svg{display:block;margin:1.5em 0;font:12px system-ui,sans-serif;max-width:100%}.trouble{color:#b00}";

pub(super) fn page(options: &Replication, environment: &Environment, rows: &Rows) -> String {
    let mut page = format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Replication of Esker</title><style>{STYLE}</style>\
         <h1>Replication of Esker</h1><p>{}</p><p>{}</p><p><code>{}</code></p>",
        escape(&environment.line()),
        escape(&terms(options)),
        escape(&environment.command)
    );
    for trouble in rows.troubles() {
        let _ = write!(page, "<p class='trouble'>{}</p>", escape(&trouble));
    }
    for phase in Phase::ALL.into_iter().filter(|phase| rows.of(*phase).next().is_some()) {
        let _ = write!(page, "<h2>{}</h2>", escape(&capital(phase.name())));
        table_into(&mut page, &table(rows, phase));
        match phase {
            Phase::FixedRate | Phase::Maximum => load_plots(&mut page, rows, phase),
            Phase::Kill => bars_into(&mut page, rows, phase, "Acknowledged writes lost", "acknowledged_lost"),
            Phase::CatchUp | Phase::FullSync => bars_into(&mut page, rows, phase, "MB/s over the link", "megabytes_per_second"),
        }
    }
    page + "</html>\n"
}

fn table_into(page: &mut String, table: &[Vec<String>]) {
    page.push_str("<table>");
    for (number, line) in table.iter().enumerate() {
        let tag = if number == 0 { "th" } else { "td" };
        let cells = line.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
        let _ = write!(page, "<tr>{}</tr>", cells.collect::<String>());
    }
    page.push_str("</table>");
}

fn name(row: &Row) -> String {
    if row.delay.is_some() { format!("{}, {}", row.setup, delay(row.delay)) } else { row.setup.clone() }
}

fn bars_into(page: &mut String, rows: &Rows, phase: Phase, title: &str, figure: &str) {
    let values: Vec<(String, f64)> = rows.of(phase).filter_map(|row| Some((name(row), row.median(figure)?))).collect();
    page.push_str(&bars(title, &values));
}

fn load_plots(page: &mut String, rows: &Rows, phase: Phase) {
    if phase == Phase::Maximum {
        bars_into(page, rows, phase, "Requests a second", "requests_per_second");
    }
    bars_into(page, rows, phase, "CPU of the primary, µs a request", "cpu_us_per_request_primary");
    let mut delays: Vec<Duration> = rows.of(phase).filter_map(|row| row.delay).collect();
    delays.dedup();
    let over = |of: Duration| rows.of(phase).filter(move |row| row.delay.is_none_or(|delay| delay == of));
    for of in delays {
        let link = delay(Some(of));
        let ticks: Vec<(f64, String)> = (0..).map(f64::from).zip(QUANTILES.map(|(name, _)| name.to_owned())).collect();
        let quantiles = over(of).map(|row| Line { name: row.setup.clone(), points: latencies(row) }).collect::<Vec<_>>();
        page.push_str(&lines(&format!("Latency, one-way delay {link}"), "ms", &quantiles, &ticks));
        let lags: Vec<Line> = over(of).filter_map(lag).collect();
        let end = lags.iter().flat_map(|line| &line.points).map(|point| point.0).fold(0.0, f64::max);
        let ticks: Vec<(f64, String)> = (0..=end as u32).map(|second| (f64::from(second), format!("{second} s"))).collect();
        page.push_str(&lines(&format!("Lag of the last replica over time, one-way delay {link}, first round"), "entries", &lags, &ticks));
    }
}

fn latencies(row: &Row) -> Vec<(f64, f64)> {
    let at = |(number, (name, _)): (u32, (&str, f64))| Some((f64::from(number), row.median(&format!("{name}_ms"))?));
    (0..).zip(QUANTILES).filter_map(at).collect()
}

fn lag(row: &Row) -> Option<Line> {
    let points: Vec<(f64, f64)> = row.samples.first()?.lag.iter().map(|lag| (lag.at, lag.entries)).collect();
    (!points.is_empty()).then(|| Line { name: row.setup.clone(), points })
}
