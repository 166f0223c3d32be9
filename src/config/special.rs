//! Checks of the directives that take several words or have rules of their own.

use super::output_limit::OutputLimits;
use crate::pubsub::class;

/// `appendonly`: always on, whatever is asked.
pub fn appendonly(_: &str, words: &[&str]) -> Result<String, String> {
    super::Kind::Bool.canonical("", words).map(|_| "yes".to_owned())
}

/// `bind`: any number of addresses.
pub fn bind(_: &str, words: &[&str]) -> Result<String, String> {
    const MOST: usize = 16;
    if words.len() > MOST { Err("Too many bind addresses specified.".to_owned()) } else { Ok(words.join(" ")) }
}

/// `notify-keyspace-events`: letters.
pub fn event_classes(_: &str, words: &[&str]) -> Result<String, String> {
    let [letters] = words else { return if words.is_empty() { Ok(String::new()) } else { Err("wrong number of arguments".to_owned()) } };
    let classes = class::parse(letters).ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
    Ok(class::format(classes))
}

/// `client-output-buffer-limit`: changes the classes named, keeps the others.
pub fn output_limits(former: &str, words: &[&str]) -> Result<String, String> {
    let mut limits = OutputLimits::parse(former).unwrap_or_default();
    limits.change(words)?;
    Ok(limits.to_string())
}

/// `latency-tracking-info-percentiles`: numbers from 0 to 100.
pub fn percentiles(_: &str, words: &[&str]) -> Result<String, String> {
    let mut shown = Vec::new();
    for word in words {
        let number: f64 = word.parse().map_err(|_| "Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&number) {
            return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned());
        }
        shown.push(number.to_string());
    }
    Ok(shown.join(" "))
}

/// `replicaof`: host and port of a primary, or `no one`.
pub fn primary(_: &str, words: &[&str]) -> Result<String, String> {
    match words {
        [] | [""] => Ok(String::new()),
        [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => Ok(String::new()),
        [host, port] => match port.parse::<u16>() {
            Ok(port) => Ok(format!("{host} {port}")),
            Err(_) => Err("Invalid master port".to_owned()),
        },
        _ => Err("wrong number of arguments".to_owned()),
    }
}

/// `save`: pairs of seconds and changes; an empty word means none.
pub fn save_points(_: &str, words: &[&str]) -> Result<String, String> {
    if words == [""] || words.is_empty() {
        return Ok(String::new());
    }
    let number = |word: &&str| word.parse::<i32>().ok();
    let sound = |pair: &[&str]| number(&pair[0]).is_some_and(|s| s >= 1) && number(&pair[1]).is_some_and(|n| n >= 0);
    if !words.len().is_multiple_of(2) || !words.chunks(2).all(sound) {
        return Err("Invalid save parameters".to_owned());
    }
    Ok(words.join(" "))
}

/// `rename-command`: two words.
pub fn renaming(_: &str, words: &[&str]) -> Result<String, String> {
    if words.len() == 2 { Ok(words.join(" ")) } else { Err("Bad directive or wrong number of arguments".to_owned()) }
}

/// `hz`: a whole number, brought within Redis's bounds.
pub fn frequency(_: &str, words: &[&str]) -> Result<String, String> {
    const HIGHEST: i64 = 500;
    let given = super::Kind::SMALL.canonical("", words)?;
    Ok(given.parse::<i64>().unwrap_or(1).clamp(1, HIGHEST).to_string())
}

/// `oom-score-adj-values`: three numbers, for a primary, a replica and a child.
pub fn oom_scores(_: &str, words: &[&str]) -> Result<String, String> {
    let sound = |word: &&str| word.parse::<i32>().is_ok_and(|n| (-2000..=2000).contains(&n));
    match words {
        [_, _, _] if words.iter().all(sound) => Ok(words.join(" ")),
        [_, _, _] => Err("Invalid oom-score-adj-values, elements must be between -2000 and 2000.".to_owned()),
        _ => Err("wrong number of arguments".to_owned()),
    }
}

/// `segment-size`: bytes from 1 MiB to 64 MiB, or 0.
pub fn segment_size(_: &str, words: &[&str]) -> Result<String, String> {
    const LEAST: u64 = 1 << 20;
    const MOST: u64 = 64 << 20;
    let given = super::Kind::BYTES.canonical("", words)?;
    match given.parse::<u64>() {
        Ok(0 | LEAST..=MOST) => Ok(given),
        _ => Err(format!("argument must be between {LEAST} and {MOST} inclusive")),
    }
}
