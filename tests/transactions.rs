//! Transactions over sockets: what other clients see of them, and what is left after kill -9.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::Server;

#[test]
fn a_transaction_runs_as_one() {
    let server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    assert_eq!(a.ask("MULTI"), "+OK|");
    assert_eq!(a.ask("SET k 1"), "+QUEUED|");
    assert_eq!(a.ask("INCR k"), "+QUEUED|");
    assert_eq!(a.ask("SELECT 1"), "+QUEUED|");
    assert_eq!(a.ask("SET k other"), "+QUEUED|");
    assert_eq!(b.ask("EXISTS k"), ":0|");
    assert_eq!(a.ask("EXEC"), "*4|+OK|:2|+OK|+OK|");
    assert_eq!(b.ask("GET k"), "$1|2|");
    assert_eq!(a.ask("GET k"), "$5|other|");
}

#[test]
fn errors_have_the_texts_of_redis() {
    let server = Server::start();
    let mut a = server.connect();
    assert_eq!(a.ask("EXEC"), "-ERR EXEC without MULTI|");
    assert_eq!(a.ask("DISCARD"), "-ERR DISCARD without MULTI|");
    a.ask("MULTI");
    assert_eq!(a.ask("MULTI"), "-ERR MULTI calls can not be nested|");
    assert_eq!(a.ask("WATCH k"), "-ERR WATCH inside MULTI is not allowed|");
    assert_eq!(a.ask("SET k"), "-ERR wrong number of arguments for 'set' command|");
    assert_eq!(a.ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.|");
    a.ask("MULTI");
    assert_eq!(a.ask("SAVE"), "-ERR Command not allowed inside a transaction|");
    assert_eq!(a.ask("EXEC 1"), "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command|");
}

#[test]
fn a_command_that_fails_inside_leaves_the_others_alone() {
    let server = Server::start();
    let mut a = server.connect();
    a.ask("SET text abc");
    a.ask("MULTI");
    a.ask("SET before 1");
    a.ask("INCR text");
    a.ask("APPEND text def");
    assert_eq!(a.ask("EXEC"), "*3|+OK|-ERR value is not an integer or out of range|:6|");
    assert_eq!(a.ask("MGET before text"), "*2|$1|1|$6|abcdef|");
}

#[test]
fn watch_notices_every_way_a_key_can_change() {
    let server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    for change in ["SET k 2", "APPEND k x", "DEL k", "EXPIRE k 100", "PERSIST p", "RENAME k l", "FLUSHDB", "FLUSHALL", "SWAPDB 0 5"] {
        b.ask("FLUSHALL");
        b.ask("SET k 1");
        b.ask("SET p 1 EX 100");
        assert_eq!(a.ask("WATCH k p"), "+OK|");
        b.ask(change);
        a.ask("MULTI");
        a.ask("PING");
        assert_eq!(a.ask("EXEC"), "*-1|", "{change}");
    }
    for no_change in ["GET k", "SET elsewhere 1", "TTL k", "DEL nothing"] {
        b.ask("FLUSHALL");
        b.ask("SET k 1");
        a.ask("WATCH k");
        b.ask(no_change);
        a.ask("MULTI");
        a.ask("PING");
        assert_eq!(a.ask("EXEC"), "*1|+PONG|", "{no_change}");
    }
}

#[test]
fn a_stale_transaction_is_null_in_both_protocols() {
    let server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    a.ask("HELLO 3");
    a.ask("WATCH k");
    b.ask("SET k 1");
    a.ask("MULTI");
    assert_eq!(a.ask("EXEC"), "_|");
}

#[test]
fn readers_never_see_half_a_transaction() {
    let server = Server::with(&["--io-threads", "2"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut c = server.connect();
                    for _ in 0..300 {
                        c.ask("MULTI");
                        c.ask("INCR left");
                        c.ask("INCR right");
                        assert!(c.ask("EXEC").starts_with("*2|:"));
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut c = server.connect();
            while !done.load(Ordering::Relaxed) {
                let reply = c.ask("MGET left right");
                let values: Vec<&str> = reply.split_terminator('|').skip(1).collect();
                let (left, right) = values.split_at(values.len() / 2);
                assert_eq!(left, right, "{reply}");
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert_eq!(server.connect().ask("MGET left right"), "*2|$3|900|$3|900|");
}

#[test]
fn concurrent_check_and_set_loses_no_increment() {
    let server = Server::with(&["--io-threads", "2"]);
    server.connect().ask("SET n 0");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut c = server.connect();
                let mut left = 50;
                while left > 0 {
                    c.ask("WATCH n");
                    let n: u32 = c.ask("GET n").split('|').nth(1).unwrap().parse().unwrap();
                    c.ask("MULTI");
                    c.ask(&format!("SET n {}", n + 1));
                    if c.ask("EXEC") == "*1|+OK|" {
                        left -= 1;
                    }
                }
            });
        }
    });
    assert_eq!(server.connect().ask("GET n"), "$3|200|");
}

#[test]
fn after_kill_9_a_transaction_is_there_as_a_whole_or_not_at_all() {
    let mut server = Server::start();
    for round in 0..5 {
        let mut c = server.connect();
        for i in 0..20 {
            c.ask("MULTI");
            for key in 0..10 {
                c.ask(&format!("SET key{key} {round}.{i}"));
            }
            assert!(c.ask("EXEC").starts_with("*10|+OK|"));
        }
        // One more whose reply nobody waits for.
        c.send_raw(b"MULTI\r\n");
        (0..10).for_each(|key| c.send_raw(format!("SET key{key} {round}.20\r\n").as_bytes()));
        c.send_raw(b"EXEC\r\n");
        server.kill();
        server.restart();
        let reply = server.connect().ask("MGET key0 key1 key2 key3 key4 key5 key6 key7 key8 key9");
        let values: Vec<&str> = reply.split('|').skip(2).step_by(2).collect();
        assert_eq!(values.len(), 10);
        assert!(values.iter().all(|value| value == &values[0]), "{reply}");
        assert!([format!("{round}.19"), format!("{round}.20")].contains(&values[0].to_owned()), "{reply}");
    }
}
