//! LATENCY GRAPH and LATENCY DOCTOR: the latency history for people.

use super::{Event, Sample};

/// Lines of a graph.
const ROWS: u64 = 4;
/// Columns of a graph: its newest samples.
const COLUMNS: usize = 80;

/// A graph of an event's newest samples, with their ages beneath, written top down.
#[must_use]
pub fn graph(name: &str, event: &Event, now: i64) -> String {
    let samples: Vec<&Sample> = event.samples.iter().skip(event.samples.len().saturating_sub(COLUMNS)).collect();
    let times = || samples.iter().map(|s| s.millis);
    let (low, high) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n", event.worst_millis, "-".repeat(COLUMNS));
    for row in 0..ROWS {
        text.push_str(samples.iter().map(|s| mark(s.millis, low, high, row)).collect::<String>().trim_end());
        text.push('\n');
    }
    text.push('\n');
    let ages: Vec<String> = samples.iter().map(|s| age(now - s.unix_seconds)).collect();
    for line in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        let letters = ages.iter().map(|age| age.as_bytes().get(line).map_or(' ', |b| char::from(*b)));
        text.push_str(letters.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

/// What row `row` (0 is the top) shows of a sample: `#` where it reaches through, `o` at its top, `_` for the lowest on the ground.
fn mark(millis: u64, low: u64, high: u64, row: u64) -> char {
    const STEPS: u64 = 3;
    let height = (millis - low) * (ROWS * STEPS - 1) / (high - low).max(1);
    let ground = ROWS - 1 - row;
    match height / STEPS {
        top if top == ground => ['_', 'o', '#'][(height % STEPS) as usize],
        top if top > ground => '|',
        _ => ' ',
    }
}

fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..86400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86400),
    }
}

/// What stands out in the history, and what to look at.
#[must_use]
pub fn doctor(events: &[(&str, Event)], threshold: u64) -> String {
    if threshold == 0 && events.is_empty() {
        return "Latency monitoring is disabled: set latency-monitor-threshold to the milliseconds from which an event is to be kept, for \
                example CONFIG SET latency-monitor-threshold 100.\n"
            .to_owned();
    }
    if events.is_empty() {
        return format!("No event took {threshold} ms or more since the monitor was switched on.\n");
    }
    let mut text = format!("{} kinds of events took {threshold} ms or more:\n\n", events.len());
    for (i, (name, event)) in events.iter().enumerate() {
        text.push_str(&format!("{}. {name}: {}\n", i + 1, summary(event)));
    }
    text.push_str("\nWhere to look:\n\n");
    for (name, _) in events {
        text.push_str(&format!("- {name}: {}\n", advice(name)));
    }
    text
}

fn summary(event: &Event) -> String {
    let count = event.samples.len() as u64;
    let mean = event.samples.iter().map(|s| s.millis).sum::<u64>() / count.max(1);
    let deviation = event.samples.iter().map(|s| s.millis.abs_diff(mean)).sum::<u64>() / count.max(1);
    let span = event.samples.back().zip(event.samples.front()).map_or(0, |(last, first)| last.unix_seconds - first.unix_seconds);
    let period = span as f64 / count.max(1) as f64;
    format!(
        "{count} seconds with spikes (mean {mean} ms, mean deviation {deviation} ms, one in {period:.2} s), worst of all {} ms",
        event.worst_millis
    )
}

fn advice(event: &str) -> &'static str {
    match event {
        "command" => "commands that do much work at once. SLOWLOG GET names them; KEYS, long ranges and large values are the usual ones.",
        "fast-command" => {
            "commands that do little work were held up: by the processor (too many io-threads for the cores), or by the disk."
        }
        "fsync" => "the disk is slow to sync. Look at it with iostat; appendfsync everysec waits for it less often than always.",
        "checkpoint" => "a checkpoint took long. It runs beside the commands; it matters only if they show up here too.",
        _ => "see docs/operations.md.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(times: &[u64]) -> Event {
        let mut event = Event { worst_millis: 500, ..Event::default() };
        event.samples = times.iter().enumerate().map(|(i, millis)| Sample { unix_seconds: i as i64, millis: *millis }).collect();
        event
    }

    #[test]
    fn a_graph_has_a_column_a_sample_with_its_age_beneath() {
        let text = graph("command", &event(&[10, 20, 120]), 70);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "command - high 120 ms, low 10 ms (all time high 500 ms)");
        assert_eq!(lines[2], "  #");
        assert_eq!(lines[5], "_o|");
        assert_eq!(&lines[7..], ["111", "mmm"]);
    }

    #[test]
    fn the_doctor_says_when_the_monitor_is_off_and_what_it_saw_when_on() {
        assert!(doctor(&[], 0).contains("disabled"));
        assert!(doctor(&[], 100).contains("No event"));
        let report = doctor(&[("command", event(&[100, 300]))], 50);
        assert!(report.contains("1. command: 2 seconds with spikes (mean 200 ms, mean deviation 100 ms"), "{report}");
        assert!(report.contains("SLOWLOG"));
    }
}
