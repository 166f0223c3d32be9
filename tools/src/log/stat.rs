//! `stat`: keys and bytes, by size, time to live and slot, and what of the log is live.

use std::fs;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use esker_storage::segment::names::FileName;
use esker_storage::types::{DATABASES, SLOTS};
use serde_json::{Value, json};

use super::args::Plain;
use super::directory::DataDirectory;
use super::liveness::{Liveness, Newest};
use super::{LogError, Outcome};

/// Largest value of each size class but the last.
const SIZES: &[(u64, &str)] = &[
    (16, "<= 16 B"),
    (64, "<= 64 B"),
    (256, "<= 256 B"),
    (1 << 10, "<= 1 KiB"),
    (4 << 10, "<= 4 KiB"),
    (16 << 10, "<= 16 KiB"),
    (64 << 10, "<= 64 KiB"),
    (1 << 20, "<= 1 MiB"),
    (u64::MAX, "> 1 MiB"),
];
/// Longest time to live, in milliseconds, of each class but the last.
const TTLS: &[(u64, &str)] = &[
    (0, "expired"),
    (60_000, "<= 1 minute"),
    (3_600_000, "<= 1 hour"),
    (86_400_000, "<= 1 day"),
    (7 * 86_400_000, "<= 7 days"),
    (30 * 86_400_000, "<= 30 days"),
    (u64::MAX, "longer"),
];
/// Neighbouring slots that are counted together.
const SLOTS_A_GROUP: u16 = 1024;

/// A count of keys and the bytes of their keys and values.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    keys: u64,
    bytes: u64,
}

impl Count {
    fn add(&mut self, newest: &Newest) {
        self.keys += 1;
        self.bytes += u64::from(newest.key_len) + newest.value_len;
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
struct Counts {
    all: Count,
    databases: Vec<Count>,
    sizes: Vec<Count>,
    no_ttl: Count,
    ttls: Vec<Count>,
    slots: Vec<Count>,
}

pub(super) fn run(directory: &DataDirectory, options: &Plain, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let listing = directory.listing()?;
    let liveness = Liveness::replay(directory, &listing)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let counts = Counts::of(&liveness, now);
    let (live, total) = bytes(directory, &liveness)?;
    let ratio = if total == 0 { 1.0 } else { live as f64 / total as f64 };
    if options.json {
        writeln!(out, "{}", counts.json(live, total, ratio))?;
    } else {
        counts.print(out)?;
        writeln!(out, "\nlog: {total} bytes, {live} live, {} dead; live ratio {ratio:.3}", total.saturating_sub(live))?;
    }
    Ok(Outcome::Sound)
}

/// Live bytes and all bytes of log and value segments.
fn bytes(directory: &DataDirectory, liveness: &Liveness) -> Result<(u64, u64), LogError> {
    let mut live: u64 = liveness.bytes_by_segment().values().sum();
    let mut total: u64 = liveness.segments.iter().map(|read| read.end.position.offset as u64).sum();
    let referenced = liveness.values();
    for name in directory.names()? {
        let Some(FileName::Value(id)) = FileName::parse(&name) else { continue };
        let path = directory.path(&name);
        let len = fs::metadata(&path).map_err(LogError::read(&path))?.len();
        total += len;
        if referenced.contains_key(&id) {
            live += len;
        }
    }
    Ok((live, total))
}

fn class(classes: &[(u64, &str)], value: u64) -> usize {
    classes.iter().position(|(most, _)| value <= *most).unwrap_or(classes.len() - 1)
}

impl Counts {
    fn of(liveness: &Liveness, now: i64) -> Self {
        let mut counts = Self {
            databases: vec![Count::default(); usize::from(DATABASES)],
            sizes: vec![Count::default(); SIZES.len()],
            ttls: vec![Count::default(); TTLS.len()],
            slots: vec![Count::default(); usize::from(SLOTS / SLOTS_A_GROUP)],
            ..Self::default()
        };
        for newest in liveness.keys() {
            counts.all.add(newest);
            if let Some(db) = liveness.tables().db_of(newest.table) {
                counts.databases[usize::from(db.0)].add(newest);
            }
            counts.sizes[class(SIZES, newest.value_len)].add(newest);
            counts.slots[usize::from(newest.slot.0 / SLOTS_A_GROUP)].add(newest);
            match newest.expire_at {
                None => counts.no_ttl.add(newest),
                Some(at) => counts.ttls[class(TTLS, u64::try_from(at.0.saturating_sub(now)).unwrap_or(0))].add(newest),
            }
        }
        counts
    }

    fn sections(&self) -> [(&'static str, Vec<(String, Count)>); 4] {
        let named = |classes: &[(u64, &str)], counts: &[Count]| {
            classes.iter().zip(counts).map(|((_, name), count)| ((*name).to_owned(), *count)).collect::<Vec<_>>()
        };
        let mut ttls = vec![("none".to_owned(), self.no_ttl)];
        ttls.extend(named(TTLS, &self.ttls));
        let slots = (0..).zip(&self.slots).map(|(group, count)| {
            let first: u16 = group * SLOTS_A_GROUP;
            (format!("{first}-{}", first + SLOTS_A_GROUP - 1), *count)
        });
        let databases = self.databases.iter().enumerate().map(|(db, count)| (format!("db {db}"), *count));
        [("database", databases.collect()), ("value size", named(SIZES, &self.sizes)), ("time to live", ttls), ("slots", slots.collect())]
    }

    fn print(&self, out: &mut dyn Write) -> Result<(), LogError> {
        writeln!(out, "keys: {}, {} bytes of keys and values", self.all.keys, self.all.bytes)?;
        for (title, lines) in self.sections() {
            writeln!(out, "\n{title:<14}  {:>12}  {:>14}", "keys", "bytes")?;
            for (name, count) in lines.iter().filter(|(_, count)| count.keys > 0) {
                writeln!(out, "{name:<14}  {:>12}  {:>14}", count.keys, count.bytes)?;
            }
        }
        Ok(())
    }

    fn json(&self, live: u64, total: u64, ratio: f64) -> Value {
        let section = |lines: Vec<(String, Count)>| -> Value {
            lines.into_iter().map(|(name, count)| json!({"class": name, "keys": count.keys, "bytes": count.bytes})).collect()
        };
        let [databases, sizes, ttls, slots] = self.sections();
        json!({
            "keys": self.all.keys, "bytes": self.all.bytes, "log_bytes": total, "live_bytes": live, "live_ratio": ratio,
            "databases": section(databases.1), "sizes": section(sizes.1), "ttls": section(ttls.1), "slots": section(slots.1),
        })
    }
}
