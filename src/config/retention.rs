//! `history-retention`: bytes of the log, or a time.

use std::time::Duration;

use esker_storage::history::HistoryRetention;

use super::parse_memory;

/// The units of time, in seconds.
const TIMES: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
/// The units of bytes: those that no time has.
const BYTES: [&str; 4] = ["b", "kb", "mb", "gb"];

/// What the text says: `0`, a number with `b`, `kb`, `mb` or `gb`, or a number with `s`, `m`, `h` or `d`.
#[must_use]
pub fn parse_retention(text: &str) -> Option<HistoryRetention> {
    let text = text.to_ascii_lowercase();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if BYTES.contains(&unit) {
        return parse_memory(&text).map(|bytes| if bytes == 0 { HistoryRetention::Off } else { HistoryRetention::Bytes(bytes) });
    }
    let number: u64 = number.parse().ok()?;
    let seconds = TIMES.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds);
    match (number, seconds) {
        (0, _) if unit.is_empty() || seconds.is_some() => Some(HistoryRetention::Off),
        (_, Some(seconds)) => number.checked_mul(seconds).map(|seconds| HistoryRetention::Time(Duration::from_secs(seconds))),
        _ => None,
    }
}

/// Checks it.
pub(super) fn retention(_: &str, words: &[&str]) -> Result<String, String> {
    let [word] = words else { return Err("wrong number of arguments".to_owned()) };
    parse_retention(word)
        .map(|_| word.to_ascii_lowercase())
        .ok_or_else(|| "argument must be 0, bytes (b, kb, mb, gb) or a time (s, m, h, d)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_times_are_told_apart_by_their_units() {
        let seconds = |seconds| Some(HistoryRetention::Time(Duration::from_secs(seconds)));
        for (text, expected) in [
            ("0", Some(HistoryRetention::Off)),
            ("0s", Some(HistoryRetention::Off)),
            ("0mb", Some(HistoryRetention::Off)),
            ("512MB", Some(HistoryRetention::Bytes(512 << 20))),
            ("1024b", Some(HistoryRetention::Bytes(1024))),
            ("10m", seconds(600)),
            ("90s", seconds(90)),
            ("2H", seconds(7200)),
            ("7d", seconds(7 * 86_400)),
        ] {
            assert_eq!(parse_retention(text), expected, "{text}");
        }
        for text in ["", "5", "m", "10 m", "-1s", "10k", "99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(parse_retention(text), None, "{text}");
        }
    }
}
