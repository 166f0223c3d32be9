//! Looking back in time through the real program: ESKER.GETAT, ESKER.HISTORY and `history-retention`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Connection, PATIENCE, Server};

fn info(connection: &mut Connection, name: &str) -> String {
    connection.info("persistence", name).unwrap()
}

fn lsn(connection: &mut Connection) -> u64 {
    info(connection, "log_written_lsn").parse().unwrap()
}

fn millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

#[test]
fn a_key_is_told_as_it_was() {
    let mut server = Server::start();
    let mut c = server.connect();
    assert_eq!(c.ask("SET k one"), "+OK|");
    let first = lsn(&mut c);
    std::thread::sleep(Duration::from_millis(5));
    let time = millis();
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(c.ask("APPEND k -two"), ":7|");
    let second = lsn(&mut c);
    assert_eq!(c.ask("SET short lived PX 20"), "+OK|");
    let expiring = lsn(&mut c);
    assert_eq!(c.ask("DEL k"), ":1|");
    let deleted = lsn(&mut c);
    assert_eq!(c.ask("SET k three"), "+OK|");
    assert_eq!(c.ask("FLUSHDB"), "+OK|");
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(c.ask("SET another value"), "+OK|");
    for _ in 0..2 {
        assert_eq!(c.ask(&format!("ESKER.GETAT k {first}")), "$3|one|");
        assert_eq!(c.ask(&format!("ESKER.GETAT k @{time}")), "$3|one|");
        assert_eq!(c.ask(&format!("ESKER.GETAT k {second}")), "$7|one-two|");
        assert_eq!(c.ask(&format!("ESKER.GETAT short {expiring}")), "$5|lived|");
        assert_eq!(c.ask(&format!("ESKER.GETAT k {deleted}")), "$-1|");
        assert_eq!(c.ask(&format!("ESKER.GETAT k {}", deleted + 1)), "$5|three|");
        assert_eq!(c.ask(&format!("ESKER.GETAT k {}", deleted + 2)), "$-1|");
        assert_eq!(c.ask(&format!("ESKER.GETAT short @{}", millis())), "$-1|");
        let history = c.ask("ESKER.HISTORY k");
        let kinds: Vec<_> = history.split('|').filter(|word| ["set", "write", "delete", "flush", "swap"].contains(word)).collect();
        assert_eq!(kinds, ["flush", "set", "delete", "set", "set"], "{history}");
        assert!(c.ask("ESKER.HISTORY k COUNT 2").starts_with("*2|*5|"));
        server.kill();
        server.restart();
        c = server.connect();
    }
    assert!(c.ask("ESKER.GETAT k 999999").starts_with("-ERR the log ends with LSN "));
    assert!(c.ask("ESKER.GETAT k @1").starts_with("-ERR the log begins at "));
    assert!(c.ask("ESKER.GETAT k yesterday").starts_with("-ERR an LSN, or @"));
    assert!(c.ask("ESKER.HISTORY k COUNT 0").starts_with("-ERR COUNT"));
    assert_eq!(c.ask("MULTI"), "+OK|");
    assert!(c.ask(&format!("ESKER.GETAT k {first}")).starts_with("-ERR"));
    assert!(c.ask("EXEC").starts_with("-EXECABORT"));
    // Replies keep their order in a pipeline, and their mode.
    c.send(&[b"ESKER.GETAT", b"k", first.to_string().as_bytes()]);
    c.send(&[b"CLIENT", b"REPLY", b"SKIP"]);
    c.send(&[b"ESKER.GETAT", b"k", first.to_string().as_bytes()]);
    c.send(&[b"GET", b"another"]);
    assert_eq!((c.reply(), c.reply()), ("$3|one|".to_owned(), "$5|value|".to_owned()));
}

#[test]
fn keys_are_told_apart_by_whether_they_were_changed_since() {
    let mut server = Server::with(&["--segment-size", "1mb"]);
    let mut c = server.connect();
    let long = "x".repeat(2000);
    for n in 0..2000 {
        c.send(&[b"SET", format!("key:{n}").as_bytes(), long.as_bytes()]);
        assert_eq!(c.reply(), "+OK|");
    }
    let since = lsn(&mut c);
    assert_eq!(c.ask("APPEND key:1 more"), ":2004|");
    assert_eq!(c.ask("DEL key:2 key:none"), ":1|");
    let deleted = lsn(&mut c);
    // Several segments further.
    for n in 1000..2000 {
        c.send(&[b"SET", format!("key:{n}").as_bytes(), long.as_bytes()]);
        assert_eq!(c.reply(), "+OK|");
    }
    assert_eq!(c.ask("SET new 1"), "+OK|");
    let ask = |c: &mut Connection| c.ask(&format!("ESKER.CHANGED {since} key:0 key:1 key:2 key:1000 new never key:0"));
    for _ in 0..2 {
        assert_eq!(ask(&mut c), format!("*7|:0|:{}|:{deleted}|:{}|:{}|:0|:0|", since + 1, deleted + 1, deleted + 1001));
        server.kill();
        server.restart();
        c = server.connect();
    }
    c.ask("SELECT 1");
    assert_eq!(ask(&mut c), "*7|:0|:0|:0|:0|:0|:0|:0|");
    assert_eq!(c.ask("SWAPDB 1 2"), "+OK|");
    let swapped = lsn(&mut c);
    assert!(ask(&mut c).starts_with(&format!("*7|:{swapped}|:{swapped}|")));
    assert_eq!(c.ask("FLUSHALL"), "+OK|");
    c.ask("SELECT 0");
    let flushed = lsn(&mut c);
    assert!(ask(&mut c).starts_with(&format!("*7|:{flushed}|:{flushed}|")));
    assert!(c.ask("ESKER.CHANGED here key").starts_with("-ERR value is not an integer"));
}

#[test]
fn what_is_retained_survives_cleaning_and_what_is_not_is_refused() {
    let server = Server::with(&["--segment-size", "1mb", "--history-retention", "4mb"]);
    let mut c = server.connect();
    let write = |c: &mut Connection, round: usize| {
        for n in 0..200 {
            let value = format!("{round:05}").repeat(1000);
            c.send(&[b"SET", format!("key:{n}").as_bytes(), value.as_bytes()]);
            assert_eq!(c.reply(), "+OK|");
        }
    };
    let mut after = Vec::new();
    for round in 0..20 {
        write(&mut c, round);
        after.push(lsn(&mut c));
    }
    assert_eq!(c.ask("BGREWRITEAOF").chars().next(), Some('+'));
    let deadline = Instant::now() + PATIENCE;
    while info(&mut c, "aof_rewrite_in_progress") != "0" || info(&mut c, "clean_jobs") == "0" {
        assert!(Instant::now() < deadline, "cleaning does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    // About a megabyte a round.
    let refused = c.ask(&format!("ESKER.GETAT key:7 {}", after[2]));
    let horizon = info(&mut c, "history_from_lsn");
    assert!(refused.starts_with("-ERR the state at LSN") && refused.contains(&format!("{horizon} is the oldest")), "{refused}");
    for (round, lsn) in after.iter().enumerate().skip(17) {
        assert!(c.ask(&format!("ESKER.GETAT key:7 {lsn}")).starts_with(&format!("$5000|{round:05}")), "round {round}");
    }
    // What the log does not have is not known not to have been.
    assert_eq!(c.ask(&format!("ESKER.CHANGED {} never", after[2])), "*1|$-1|");
    assert_eq!(c.ask(&format!("ESKER.CHANGED {} never", after[18])), "*1|:0|");
    assert!(info(&mut c, "history_bytes").parse::<u64>().unwrap() >= 4 << 20);
    assert_eq!(c.ask("CONFIG SET history-retention 10m"), "+OK|");
    assert_eq!(c.ask("CONFIG GET history-retention"), "*2|$17|history-retention|$3|10m|");
    assert!(c.ask("CONFIG SET history-retention 10").starts_with("-ERR"));
    assert_eq!(c.ask("CONFIG SET history-retention 0"), "+OK|");
}
