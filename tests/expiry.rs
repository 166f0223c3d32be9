//! Keys whose time comes: events, counts and transactions, as clients see them, and as a real redis-server shows them where one is installed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Connection, Server, eventually};

/// A number that INFO shows.
fn info(c: &mut Connection, section: &str, field: &str) -> String {
    c.info(section, field).unwrap_or_default()
}

fn events_to(server: &Server, classes: &str, pattern: &str) -> Connection {
    let mut c = server.connect();
    assert_eq!(c.ask(&format!("CONFIG SET notify-keyspace-events {classes}")), "+OK|");
    assert!(c.ask(&format!("PSUBSCRIBE {pattern}")).ends_with(":1|"));
    c
}

/// Esker, and Redis where it is installed.
fn both(test: impl Fn(&Server)) {
    test(&Server::start());
    if let Some(redis) = Server::redis() {
        test(&redis);
    }
}

#[test]
fn each_key_that_expires_is_told_once_and_counted() {
    both(|server| {
        let mut events = events_to(server, "Ex", "__keyevent@*__:expired");
        let mut c = server.connect();
        let mut expected = BTreeSet::new();
        for n in 0..60 {
            let db = if n % 3 == 0 { 5 } else { 0 };
            c.ask(&format!("SELECT {db}"));
            assert_eq!(c.ask(&format!("SET k{n} v PX {}", 20 + n)), "+OK|");
            assert_eq!(c.ask(&format!("SET stays{n} v")), "+OK|");
            expected.insert((db.to_string(), format!("k{n}")));
        }
        c.ask("SET later v PX 1000000");
        let mut heard = BTreeSet::new();
        while heard.len() < expected.len() {
            let message = events.reply();
            let parts: Vec<&str> = message.split('|').collect();
            let db = parts[6].trim_start_matches("__keyevent@").trim_end_matches("__:expired");
            assert!(heard.insert((db.to_owned(), parts[8].to_owned())), "told twice: {message}");
        }
        assert_eq!(heard, expected);
        eventually("all are counted", || info(&mut c, "stats", "expired_keys") == "60");
        c.ask("SELECT 0");
        assert_eq!(c.ask("DBSIZE"), ":41|");
        c.ask("SELECT 5");
        assert_eq!(c.ask("DBSIZE"), ":20|");
        assert!(info(&mut c, "keyspace", "db0").starts_with("keys=41,expires=1,"));
        assert_eq!(c.ask("CONFIG RESETSTAT"), "+OK|");
        assert_eq!(info(&mut c, "stats", "expired_keys"), "0");
    });
}

#[test]
fn keys_that_expire_while_they_are_watched_stop_exec_and_others_do_not() {
    both(|server| {
        let mut c = server.connect();
        let mut run = |watched: &str, before: &dyn Fn(&mut Connection)| {
            assert_eq!(c.ask(&format!("WATCH {watched}")), "+OK|");
            before(&mut c);
            c.ask("MULTI");
            c.ask("PING");
            c.ask("EXEC")
        };
        let pause = |_: &mut Connection| std::thread::sleep(Duration::from_millis(350));
        let set = |key: &str| assert_eq!(server.connect().ask(&format!("SET {key} v PX 30")), "+OK|");
        set("k");
        assert_eq!(run("k", &pause), "*-1|", "it expired and was removed meanwhile");
        set("k");
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(run("k", &pause), "*1|+PONG|", "it had expired before");
        set("another");
        assert_eq!(run("k", &pause), "*1|+PONG|", "another expired");
    });
}

#[test]
fn with_active_expiry_off_keys_are_removed_when_they_are_asked_for() {
    let server = Server::start();
    let mut events = events_to(&server, "KEA", "__keyspace@0__:*");
    let mut c = server.connect();
    assert_eq!(c.ask("DEBUG SET-ACTIVE-EXPIRE 0"), "+OK|");
    let names = ["read", "kept1", "kept2", "over", "deleted"];
    for key in names {
        c.ask(&format!("SET {key} v PX 1"));
        assert_eq!((events.reply().ends_with("|set|"), events.reply().ends_with("|expire|")), (true, true));
    }
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(c.ask("DBSIZE"), ":5|");
    assert_eq!(c.ask("GET read"), "$-1|");
    let mut hear = |key: &str, event: &str| {
        let message = events.reply();
        assert!(
            message.contains(&format!("|__keyspace@0__:{key}|")) && message.ends_with(&format!("|{event}|")),
            "{key} {event}: {message}"
        );
    };
    hear("read", "expired");
    eventually("the key is gone", || c.ask("DBSIZE") == ":4|");
    c.ask("SET over v");
    hear("over", "expired");
    hear("over", "set");
    assert_eq!(c.ask("DEL deleted"), ":0|");
    hear("deleted", "expired");
    assert_eq!(c.ask("DBSIZE"), ":3|");
    assert_eq!(c.ask("DEBUG SET-ACTIVE-EXPIRE 1"), "+OK|");
    eventually("the others are gone", || c.ask("DBSIZE") == ":1|");
    assert_eq!(info(&mut c, "stats", "expired_keys"), "5");
    assert_eq!(c.ask("KEYS *"), "*1|$4|over|");
}

#[test]
fn keys_that_expire_around_kills_are_removed_after_them() {
    let mut server = Server::with(&["--segment-size", "1048576"]);
    for round in 0..4 {
        let mut c = server.connect();
        for n in 0..3000 {
            c.send(&[b"SET", format!("k{n}").as_bytes(), &[b'x'; 300], b"PX", format!("{}", 1 + n % 400).as_bytes()]);
            c.send(&[b"SET", format!("stays{n}").as_bytes(), b"v"]);
        }
        if round > 1 {
            assert!(server.connect().ask("BGSAVE").starts_with('+'));
        }
        (0..6000).for_each(|_| assert_eq!(c.reply(), "+OK|"));
        std::thread::sleep(Duration::from_millis(70 * round));
        server.kill();
        if round == 3 {
            // As after power loss: the index is built again from checkpoint and log.
            std::fs::remove_file(server.dir().join("shard-0/index")).unwrap();
        }
        server.restart();
        let mut c = server.connect();
        eventually("only the others are left", || c.ask("DBSIZE") == ":3000|");
        assert!(info(&mut c, "keyspace", "db0").starts_with("keys=3000,expires=0,"));
    }
}

#[test]
fn the_time_of_a_sweep_can_be_changed() {
    let server = Server::with(&["--expiry-sweep-time", "60"]);
    let mut c = server.connect();
    assert_eq!(c.ask("CONFIG GET expiry-sweep-time"), "*2|$17|expiry-sweep-time|$2|60|");
    assert_eq!(c.ask("CONFIG SET expiry-sweep-time 5"), "+OK|");
    assert!(c.ask("CONFIG SET expiry-sweep-time 0").starts_with("-ERR"));
    c.ask("SET k v PX 100000");
    eventually("the sweep has seen the key", || {
        let keyspace = info(&mut c, "keyspace", "db0");
        let ttl = keyspace.rsplit('=').next().and_then(|ttl| ttl.parse::<u64>().ok());
        ttl.is_some_and(|ttl| (1..=100_000).contains(&ttl))
    });
}
