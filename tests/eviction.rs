//! A cache within `maxmemory`, as its clients see it: what goes, what stays over a kill, who is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Connection, Server, eventually};

const LIMIT: u64 = 16 << 20;
const VALUE: usize = 4000;
/// Keys that fit, roughly.
const ROOM: u64 = LIMIT / (VALUE as u64 + 80);

/// A number that INFO shows.
fn info(c: &mut Connection, field: &str) -> u64 {
    c.info("everything", field).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn cache(policy: &str) -> Server {
    Server::with(&["--maxmemory", &LIMIT.to_string(), "--maxmemory-policy", policy])
}

fn value(n: u64) -> Vec<u8> {
    format!("{n:08}").into_bytes().repeat(VALUE / 8)
}

/// Sets keys, many at a time; how many were refused.
fn set(c: &mut Connection, keys: std::ops::Range<u64>) -> usize {
    let mut refused = 0;
    for some in keys.collect::<Vec<_>>().chunks(64) {
        for n in some {
            c.send(&[b"SET", format!("key:{n}").as_bytes(), &value(*n)]);
        }
        for _ in some {
            let reply = c.reply();
            assert!(reply == "+OK|" || reply.starts_with("-OOM "), "{reply}");
            refused += usize::from(reply.starts_with('-'));
        }
    }
    refused
}

/// The keys of a range that are there, each with the value that it got.
fn present(c: &mut Connection, keys: std::ops::Range<u64>) -> Vec<u64> {
    let there = |n: &u64| {
        let reply = c.ask(&format!("GET key:{n}"));
        assert!(reply == "$-1|" || reply.contains(std::str::from_utf8(&value(*n)).unwrap()), "key {n}: {reply}");
        reply != "$-1|"
    };
    keys.filter(there).collect()
}

#[test]
fn a_cache_keeps_to_its_limit_and_what_it_lost_stays_lost_over_a_kill() {
    let mut server = cache("allkeys-s3fifo");
    let mut c = server.connect();
    let keys = 4 * ROOM;
    assert_eq!(set(&mut c, 0..keys), 0, "a cache refuses nothing");
    eventually("the data is within its limit", || info(&mut c, "evict_data_bytes") <= LIMIT);
    let before = present(&mut c, 0..keys);
    assert!((ROOM * 8 / 10..ROOM * 11 / 10).contains(&(before.len() as u64)), "{} of {ROOM}", before.len());
    assert_eq!(info(&mut c, "evicted_keys"), keys - before.len() as u64);
    c.ask("CONFIG SET maxmemory 0");
    server.kill();
    server.restart();
    let mut c = server.connect();
    // What the start's own options evict is not what was lost before: nothing is above the limit.
    assert_eq!(present(&mut c, 0..keys), before);
}

#[test]
fn keys_in_use_outlive_a_flood_of_others() {
    let server = cache("allkeys-s3fifo");
    let mut c = server.connect();
    let hot = ROOM / 4;
    for round in 0..6 {
        set(&mut c, 0..if round == 0 { hot } else { 0 });
        for _ in 0..2 {
            present(&mut c, 0..hot);
        }
        set(&mut c, 10_000 + round * ROOM..10_000 + (round + 1) * ROOM);
        present(&mut c, 0..hot);
    }
    let kept = present(&mut c, 0..hot).len() as u64;
    assert!(kept * 10 > hot * 9, "{kept} of {hot}");
}

#[test]
fn without_a_policy_writes_are_refused_and_the_rest_goes_on() {
    let server = cache("noeviction");
    let mut c = server.connect();
    eventually("writes are refused", || set(&mut c, 0..2 * ROOM) > 0);
    eventually("and stay so", || c.ask("SET another v").starts_with("-OOM command not allowed when used memory > 'maxmemory'."));
    assert!(c.ask("APPEND key:0 more").starts_with("-OOM"));
    assert!(c.ask("GET key:0").starts_with('$'));
    // A transaction is refused as a whole, when it is queued and when it was queued before.
    assert_eq!(c.ask("MULTI"), "+OK|");
    assert!(c.ask("SET another v").starts_with("-OOM"));
    assert!(c.ask("EXEC").starts_with("-EXECABORT"));
    assert_eq!(info(&mut c, "evicted_keys"), 0);
    // What frees room is allowed, and then there is some.
    for n in 0..ROOM / 2 {
        c.ask(&format!("DEL key:{n}"));
    }
    eventually("writes are taken again", || c.ask("SET another v") == "+OK|");
    assert_eq!(c.ask("CONFIG SET maxmemory 4mb"), "+OK|");
    eventually("a lower limit counts at once", || c.ask("SET another v").starts_with("-OOM"));
    assert_eq!(c.ask("CONFIG SET maxmemory-policy allkeys-lru"), "+OK|");
    eventually("a policy makes room", || c.ask("SET another v") == "+OK|");
}

#[test]
fn each_key_that_goes_is_told() {
    let server = cache("allkeys-random");
    let mut events = server.connect();
    assert_eq!(events.ask("CONFIG SET notify-keyspace-events Ee"), "+OK|");
    events.ask("PSUBSCRIBE __keyevent@0__:evicted");
    let mut c = server.connect();
    set(&mut c, 0..2 * ROOM);
    eventually("keys go", || info(&mut c, "evicted_keys") > 0);
    let event = events.reply();
    assert!(event.contains("|__keyevent@0__:evicted|") && event.contains("|key:"), "{event}");
}

#[test]
fn only_keys_that_expire_go_under_a_volatile_policy() {
    let server = cache("volatile-ttl");
    let mut c = server.connect();
    let stay = ROOM / 2;
    set(&mut c, 0..stay);
    for n in 0..2 * ROOM {
        c.send(&[b"SET", format!("soon:{n}").as_bytes(), &value(n), b"EX", b"100000"]);
        assert_eq!(c.reply(), "+OK|");
    }
    eventually("the data is within its limit", || info(&mut c, "evict_data_bytes") <= LIMIT);
    assert_eq!(present(&mut c, 0..stay).len() as u64, stay);
    eventually("with only these left, writes are refused", || set(&mut c, 0..2 * ROOM) > 0);
}
