//! `esker-log export`: what comes out of the log is what the server holds, and what it held.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use esker_tools::log::{Args, LogError, run};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use common::{Connection, Server};

const DATABASES: u8 = 4;

/// Value and time of expiry of each key of each database.
type State = BTreeMap<(u8, Vec<u8>), (Vec<u8>, Option<i64>)>;

fn try_export(dir: &Path, words: &[&str]) -> Result<Vec<u8>, LogError> {
    let args = [&["esker-log", "export", dir.to_str().unwrap()], words].concat();
    let mut out = Vec::new();
    run(&Args::try_parse_from(args).unwrap(), &mut out).map(|_| out)
}

fn export(dir: &Path, words: &[&str]) -> Vec<u8> {
    try_export(dir, words).unwrap()
}

/// The state that an export in JSON tells.
fn state_of(json: &[u8]) -> State {
    let bytes = |object: &Value, name: &str| match object.get(name) {
        Some(text) => text.as_str().unwrap().as_bytes().to_vec(),
        None => {
            let hex = object[format!("{name}_hex")].as_str().unwrap();
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        }
    };
    let lines = json.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let objects = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    objects
        .map(|object| {
            let expire_at = object.get("expire_at_ms").map(|at| at.as_i64().unwrap());
            ((object["db"].as_u64().unwrap() as u8, bytes(&object, "key")), (bytes(&object, "value"), expire_at))
        })
        .collect()
}

/// The state that a server tells.
fn state(connection: &mut Connection) -> State {
    let mut state = State::new();
    for db in 0..DATABASES {
        assert_eq!(connection.ask(&format!("SELECT {db}")), "+OK|");
        connection.send(&[b"KEYS", b"*"]);
        for key in connection.bulks() {
            connection.send(&[b"MGET", &key]);
            let value = connection.bulks().remove(0);
            connection.send(&[b"PEXPIRETIME", &key]);
            let at: i64 = connection.reply()[1..].trim_end_matches('|').parse().unwrap();
            state.insert((db, key), (value, (at >= 0).then_some(at)));
        }
    }
    state
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn lsn(connection: &mut Connection) -> u64 {
    let info = connection.ask("INFO persistence");
    info.split('|').find_map(|line| line.strip_prefix("log_written_lsn:")).unwrap().parse().unwrap()
}

fn bytes(rng: &mut StdRng, len: usize) -> Vec<u8> {
    (0..len).map(|_| rng.random()).collect()
}

/// Writes of every kind.
fn write(connection: &mut Connection, rng: &mut StdRng, count: u32, large: bool) {
    for _ in 0..count {
        let key = [b"key:\xff", rng.random_range(0..60_u32).to_string().as_bytes()].concat();
        let key = &key[if rng.random_bool(0.5) { 5 } else { 0 }..];
        let short = rng.random_range(0..400);
        let value = bytes(rng, short);
        let at = now() + rng.random_range(3_600_000..7_200_000);
        let at = at.to_string();
        let offset = rng.random_range(0..2000_u32).to_string();
        let db = rng.random_range(0..DATABASES).to_string();
        let request: Vec<&[u8]> = match rng.random_range(0..1000) {
            0..300 => vec![b"SET", key, &value],
            300..400 => vec![b"SET", key, &value, b"PXAT", at.as_bytes()],
            400..430 => vec![b"SET", key, &value, b"PX", b"20"],
            430..600 => vec![b"APPEND", key, &value],
            600..700 => vec![b"SETRANGE", key, offset.as_bytes(), &value],
            700..780 => vec![b"DEL", key],
            780..830 => vec![b"PEXPIREAT", key, at.as_bytes()],
            830..850 => vec![b"PEXPIREAT", key, b"1000"],
            850..890 => vec![b"PERSIST", key],
            890..930 => vec![b"MSET", key, &value, b"other", &value],
            930..980 => vec![b"SELECT", db.as_bytes()],
            980..990 => vec![b"SWAPDB", b"1", db.as_bytes()],
            990..998 => vec![b"INCR", b"counter"],
            _ => vec![b"FLUSHDB"],
        };
        connection.send(&request);
        let reply = connection.reply();
        assert!(!reply.starts_with('-'), "{reply}");
    }
    if large {
        let large = bytes(rng, 2_000_000);
        connection.send(&[b"SET", b"large", &large]);
        assert_eq!(connection.reply(), "+OK|");
        connection.send(&[b"SETRANGE", b"large", b"1500000", b"a change in the middle"]);
        connection.reply();
    }
}

/// Lets what expires soon expire, and writes an entry after that: its LSN, and the state at it.
fn settle(connection: &mut Connection) -> (u64, State) {
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(connection.ask("SET marker set"), "+OK|");
    let lsn = lsn(connection);
    (lsn, state(connection))
}

fn differences(a: &State, b: &State) -> Vec<String> {
    let all = a.keys().chain(b.keys()).filter(|key| a.get(*key) != b.get(*key));
    let text = |state: &State, key| state.get(key).map_or("none".to_owned(), |(value, at)| format!("{} bytes until {at:?}", value.len()));
    all.map(|key| format!("db {} {}: {} and {}", key.0, key.1.escape_ascii(), text(a, key), text(b, key))).collect()
}

#[test]
fn an_export_piped_into_another_server_gives_the_same_keys() {
    let mut server = Server::with(&["--segment-size", "1mb"]);
    let mut rng = StdRng::seed_from_u64(5);
    let mut connection = server.connect();
    write(&mut connection, &mut rng, 3000, true);
    let (_, expected) = settle(&mut connection);
    assert!(expected.len() > 50 && expected.values().any(|(_, at)| at.is_some()), "{}", expected.len());
    assert!(expected.values().any(|(value, _)| value.len() > 1 << 20));

    let live = export(server.dir(), &[]);
    assert_eq!(differences(&state_of(&export(server.dir(), &["--format", "json"])), &expected), [""; 0]);
    server.terminate();
    assert!(live == export(server.dir(), &[]), "stopped or not makes no difference");

    let target = Server::start();
    let mut other = target.connect();
    other.send_raw(&live);
    other.send(&[b"ECHO", b"the end"]);
    let ok = std::iter::repeat_with(|| other.reply()).take_while(|reply| !reply.contains("the end"));
    ok.for_each(|reply| assert_eq!(reply, "+OK|"));
    assert_eq!(differences(&state(&mut other), &expected), [""; 0]);

    assert_eq!(other.ask("FLUSHALL"), "+OK|");
    let port = target.port().to_string();
    let Ok(mut pipe) = Command::new("redis-cli").args(["-p", &port, "--pipe"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        eprintln!("no redis-cli: not tried with it");
        return;
    };
    pipe.stdin.take().unwrap().write_all(&live).unwrap();
    let output = pipe.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("errors: 0"), "{text}");
    assert_eq!(differences(&state(&mut other), &expected), [""; 0]);
}

#[test]
fn the_state_at_any_lsn_that_the_log_holds_comes_out() {
    let mut server = Server::with(&["--segment-size", "1mb"]);
    let mut rng = StdRng::seed_from_u64(6);
    let mut states = Vec::new();
    for round in 0..8 {
        let mut connection = server.connect();
        write(&mut connection, &mut rng, 400, round % 2 == 0);
        states.push((settle(&mut connection), now()));
        std::thread::sleep(Duration::from_millis(5));
        if round % 3 == 1 {
            server.kill();
            server.restart();
        }
    }
    for ((lsn, expected), time) in &states {
        let at = state_of(&export(server.dir(), &["--format", "json", "--lsn", &lsn.to_string()]));
        assert_eq!(differences(&at, expected), [""; 0], "LSN {lsn}");
        let at = state_of(&export(server.dir(), &["--format", "json", "--time", &time.to_string()]));
        assert_eq!(differences(&at, expected), [""; 0], "time {time}");
    }
    assert_eq!(export(server.dir(), &["--lsn", "0"]), b"");
    let last = states.last().unwrap().0.0;
    let beyond = try_export(server.dir(), &["--lsn", &(last + 100_000).to_string()]).unwrap_err().to_string();
    assert!(beyond.contains("the log ends with LSN"), "{beyond}");
    let before = try_export(server.dir(), &["--time", "1000"]).unwrap_err().to_string();
    assert!(before.contains("the log begins at"), "{before}");
}

#[test]
fn what_has_expired_is_left_out_and_can_be_had_back() {
    let server = Server::start();
    let mut connection = server.connect();
    assert_eq!(connection.ask("SET short lived PX 200"), "+OK|");
    assert_eq!(connection.ask("SELECT 2"), "+OK|");
    assert_eq!(connection.ask("SET lasting one"), "+OK|");
    let lsn = lsn(&mut connection).to_string();
    std::thread::sleep(Duration::from_millis(250));
    let text = |words: &[&str]| String::from_utf8(export(server.dir(), words)).unwrap().replace("\r\n", " ");
    let lasting = "*2 $6 SELECT $1 2 *3 $3 SET $7 lasting $3 one ";
    assert_eq!(text(&[]), lasting);
    let then = text(&["--lsn", &lsn]);
    assert!(then.starts_with("*2 $6 SELECT $1 0 *5 $3 SET $5 short $5 lived $4 PXAT $13 ") && then.ends_with(lasting), "{then}");
    assert_eq!(text(&["--lsn", &lsn, "--no-expiry", "--key", "sh*"]), "*2 $6 SELECT $1 0 *3 $3 SET $5 short $5 lived ");
    assert_eq!(text(&["--lsn", &lsn, "--db", "2"]), lasting);
}

/// Exports while the server writes: each is a state between two of its own, here one of a counter that all keys follow.
#[test]
fn an_export_beside_a_busy_server_is_one_moment() {
    let server = Server::with(&["--segment-size", "1mb"]);
    let mut connection = server.connect();
    assert_eq!(connection.ask("SET a -1"), "+OK|");
    let writer = std::thread::spawn(move || {
        let filler = "x".repeat(500);
        for number in 0..6000 {
            assert_eq!(connection.ask(&format!("MSET a {number} b {number} c{} {filler}", number % 100)), "+OK|");
        }
    });
    let mut last = -1;
    while !writer.is_finished() {
        let state = state_of(&export(server.dir(), &["--format", "json", "--key", "[ab]"]));
        let number =
            |key: &[u8]| state.get(&(0, key.to_vec())).map_or(-1, |(value, _)| String::from_utf8_lossy(value).parse::<i64>().unwrap());
        assert!(number(b"a") == number(b"b") && number(b"a") >= last, "{} {} {last}", number(b"a"), number(b"b"));
        last = number(b"a");
    }
    writer.join().unwrap();
    assert!(last > 0);
}
