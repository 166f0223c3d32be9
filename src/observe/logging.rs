//! Messages to standard output or a file, one line each, in the form of Redis: process id, time (UTC), mark of importance, text.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt as lines};

use crate::config::LogLevel;

/// The level in force; CONFIG SET changes it while messages are written.
static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Notice as u8);

/// Starts writing messages. A second call changes the level only.
///
/// # Errors
/// The file cannot be opened.
pub fn init(level: LogLevel, file: Option<&Path>) -> io::Result<()> {
    set_level(level);
    let layer = lines::layer().event_format(RedisLines).with_ansi(false);
    let is_wanted =
        dynamic_filter_fn(|metadata, _| importance(metadata.level()) as u8 >= LEVEL.load(Relaxed)).with_max_level_hint(LevelFilter::TRACE);
    // Only the first subscriber of a process counts; tests start several servers in one.
    let _ = match file {
        Some(path) => tracing_subscriber::registry().with(layer.with_writer(open(path)?).with_filter(is_wanted)).try_init(),
        None => tracing_subscriber::registry().with(layer.with_filter(is_wanted)).try_init(),
    };
    Ok(())
}

/// Changes the level.
pub fn set_level(level: LogLevel) {
    LEVEL.store(level as u8, Relaxed);
}

fn open(path: &Path) -> io::Result<std::sync::Mutex<File>> {
    OpenOptions::new().create(true).append(true).open(path).map(std::sync::Mutex::new)
}

fn importance(level: &Level) -> LogLevel {
    match *level {
        Level::TRACE => LogLevel::Debug,
        Level::DEBUG => LogLevel::Verbose,
        Level::INFO => LogLevel::Notice,
        Level::WARN | Level::ERROR => LogLevel::Warning,
    }
}

struct RedisLines;

impl<S, N> FormatEvent<S, N> for RedisLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mark = match importance(event.metadata().level()) {
            LogLevel::Debug => '.',
            LogLevel::Verbose => '-',
            LogLevel::Notice => '*',
            LogLevel::Warning => '#',
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        write!(writer, "{}:M {} {mark} ", std::process::id(), date(now.as_secs(), now.subsec_millis()))?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// A date as Redis writes it.
fn date(unix_seconds: u64, millis: u32) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAY: u64 = 86400;
    let (year, month, day) = civil(unix_seconds / DAY);
    let second = unix_seconds % DAY;
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!("{day:02} {} {year} {hours:02}:{minutes:02}:{seconds:02}.{millis:03}", MONTHS[month as usize - 1])
}

/// Year, month and day of a day since 1970-01-01. Counts in years that begin in March, so that a leap day comes last, and in their
/// cycles of 400.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_BEFORE_1970: u64 = 719_468;
    const CYCLE: u64 = 146_097;
    let days = days + DAYS_BEFORE_1970;
    let (cycle, day_of_cycle) = (days / CYCLE, days % CYCLE);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0, 7), "01 Jan 1970 00:00:00.007");
        assert_eq!(date(951_782_399, 0), "28 Feb 2000 23:59:59.000");
        assert_eq!(date(951_782_400, 0), "29 Feb 2000 00:00:00.000");
        assert_eq!(date(1_795_344_486, 280), "22 Nov 2026 10:48:06.280");
        assert_eq!(date(4_107_542_400, 0), "01 Mar 2100 00:00:00.000");
    }

    #[test]
    fn levels_are_ordered_as_in_redis() {
        let all = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN].map(|level| importance(&level));
        assert_eq!(all, [LogLevel::Debug, LogLevel::Verbose, LogLevel::Notice, LogLevel::Warning]);
        assert_eq!(importance(&Level::ERROR), LogLevel::Warning);
    }
}
