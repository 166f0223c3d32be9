//! More data than `memory-limit` allows in memory: every key is right, memory stays within the limit, and what is hot is not held up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Connection, PATIENCE, Server};

/// `memory-limit`.
const LIMIT: u64 = 40 << 20;
/// What may be above it for a moment: what comes between two looks at it, five times a second.
const SLACK: u64 = 8 << 20;
/// Four times the limit in all.
const VALUE: usize = 3200;
const KEYS: usize = 4 * LIMIT as usize / VALUE;
const BATCH: usize = 100;

fn info(server: &Server, section: &str, field: &str) -> u64 {
    let value = server.connect().info(section, field);
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {field}"))
}

fn value(key: usize, version: u8) -> Vec<u8> {
    let mut value = format!("{key}:{version}:").into_bytes();
    value.resize(VALUE, b'0' + (key % 10) as u8);
    value
}

fn set(connection: &mut Connection, keys: impl Iterator<Item = usize>, version: u8) {
    let keys: Vec<usize> = keys.collect();
    for batch in keys.chunks(BATCH) {
        for key in batch {
            connection.send(&[b"SET", format!("key:{key}").as_bytes(), &value(*key, version)]);
        }
        assert_eq!(connection.read_exact(5 * batch.len()), b"+OK\r\n".repeat(batch.len()));
    }
}

/// All of these keys have the value of this version.
fn check(connection: &mut Connection, keys: impl Iterator<Item = usize>, version: u8) {
    let keys: Vec<usize> = keys.collect();
    for batch in keys.chunks(BATCH) {
        for key in batch {
            connection.send(&[b"GET", format!("key:{key}").as_bytes()]);
        }
        for key in batch {
            let head = format!("${VALUE}\r\n");
            let reply = connection.read_exact(head.len() + VALUE + 2);
            assert!(reply.starts_with(head.as_bytes()) && reply[head.len()..][..VALUE] == value(*key, version), "key {key}");
        }
    }
}

/// Checks all keys over several connections at once.
fn check_all(server: &Server) {
    std::thread::scope(|threads| {
        for part in 0..8 {
            let mut connection = server.connect();
            threads.spawn(move || check(&mut connection, (part..KEYS).step_by(8), 0));
        }
    });
}

/// Bytes of the data directory's segments in the page cache, mapped or not; none where no program can tell.
fn page_cache(server: &Server) -> Option<u64> {
    let mut segments = Vec::<PathBuf>::new();
    for shard in std::fs::read_dir(server.dir()).unwrap().filter_map(|entry| std::fs::read_dir(entry.unwrap().path()).ok()) {
        segments.extend(shard.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|ext| ext == "seg")));
    }
    let output = Command::new("fincore").args(["-b", "-n", "-o", "RES"]).args(segments).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).split_whitespace().map(|bytes| bytes.parse::<u64>().unwrap_or(0)).sum())
}

/// What the kernel says, not what the server believes: anonymous memory, index, and segments in the page cache.
fn in_memory(server: &Server) -> u64 {
    let own = info(server, "memory", "mem_anonymous_bytes") + info(server, "memory", "mem_index_bytes");
    own + page_cache(server).unwrap_or_else(|| info(server, "memory", "mem_hot_bytes"))
}

fn stays_within_the_limit(server: &Server, when: &str) {
    let deadline = Instant::now() + PATIENCE;
    // Under load it may be above for a moment; what it comes back to counts.
    loop {
        let used = in_memory(server);
        if used <= LIMIT + SLACK && info(server, "memory", "mem_counted_bytes") <= LIMIT {
            return;
        }
        assert!(Instant::now() < deadline, "{used} bytes in memory {when}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn four_times_the_memory_is_served_within_it() {
    let mut server = Server::with(&["--memory-limit", &LIMIT.to_string(), "--io-threads", "1"]);
    set(&mut server.connect(), 0..KEYS, 0);
    stays_within_the_limit(&server, "after the load");
    assert!(info(&server, "memory", "mem_cold_segments") > 0);
    check_all(&server);
    stays_within_the_limit(&server, "after reading all keys");
    assert!(info(&server, "stats", "cold_reads") > KEYS as u64 / 4, "most of it is cold");

    // Overwriting needs the old record: its key is not counted twice, and the new value is there.
    let mut connection = server.connect();
    set(&mut connection, (0..KEYS).step_by(40), 1);
    check(&mut connection, (0..KEYS).step_by(40), 1);
    assert_eq!(connection.ask("DBSIZE"), format!(":{KEYS}|"));
    stays_within_the_limit(&server, "after overwriting cold keys");

    server.kill();
    server.restart();
    check(&mut server.connect(), (0..KEYS).step_by(40), 1);
    check(&mut server.connect(), (7..KEYS).step_by(40), 0);
    stays_within_the_limit(&server, "after a restart");
}

#[test]
fn hot_keys_are_answered_from_memory_while_cold_ones_are_read() {
    let server = Server::with(&["--memory-limit", &LIMIT.to_string(), "--io-threads", "1"]);
    set(&mut server.connect(), 0..KEYS, 0);
    stays_within_the_limit(&server, "after the load");
    // Strewn over all segments.
    let hot = || (0..KEYS).step_by(50);
    let mut connection = server.connect();
    for _ in 0..6 {
        check(&mut connection, hot(), 0);
    }
    let reading = server.connect();
    let (cold_before, hits_before) = (info(&server, "stats", "cold_reads"), info(&server, "stats", "cold_hits_in_memory"));
    check(&mut connection, hot(), 0);
    let misses = info(&server, "stats", "cold_reads") - cold_before;
    let hits = info(&server, "stats", "cold_hits_in_memory") - hits_before;
    assert!(misses < hot().count() as u64 / 4 && hits > hot().count() as u64 / 2, "{misses} reads, {hits} hits of {}", hot().count());
    // On the only worker there is.
    std::thread::scope(|threads| {
        let mut reading = reading;
        let cold = threads.spawn(move || check(&mut reading, (0..KEYS).filter(|key| key % 50 > 40), 0));
        let mut longest = Duration::ZERO;
        let mut answered = 0;
        while !cold.is_finished() {
            let key = answered * 50 % KEYS;
            let started = Instant::now();
            connection.send(&[b"GET", format!("key:{key}").as_bytes()]);
            assert!(connection.read_exact(format!("${VALUE}\r\n").len() + VALUE + 2)[7..][..VALUE] == value(key, 0));
            longest = longest.max(started.elapsed());
            answered += 1;
        }
        cold.join().unwrap();
        assert!(longest < Duration::from_secs(2), "a GET of a hot key took {longest:?}");
    });
}

#[test]
fn the_limit_can_be_changed_and_one_that_cannot_be_kept_is_refused() {
    let server = Server::with(&["--memory-limit", &LIMIT.to_string()]);
    let mut connection = server.connect();
    set(&mut connection, 0..KEYS / 2, 0);
    stays_within_the_limit(&server, "after the load");
    assert!(info(&server, "memory", "mem_cold_segments") > 0);
    let refusal = connection.ask("CONFIG SET memory-limit 100kb");
    assert!(refusal.starts_with("-ERR CONFIG SET failed (possibly related to argument 'memory-limit') - 102400 bytes"), "{refusal}");
    assert_eq!(connection.ask("CONFIG GET memory-limit"), format!("*2|$12|memory-limit|$8|{LIMIT}|"));
    assert_eq!(connection.ask("CONFIG SET memory-limit 1gb"), "+OK|");
    let deadline = Instant::now() + PATIENCE;
    while info(&server, "memory", "mem_cold_segments") > 0 {
        assert!(Instant::now() < deadline, "it does not become hot again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(info(&server, "memory", "mem_copies_bytes"), 0);
    check(&mut connection, (0..KEYS / 2).step_by(20), 0);
}
