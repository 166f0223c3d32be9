//! Publish and subscribe over sockets, across workers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::{Connection, PATIENCE, Server};

/// Waits until a channel has this many subscribers: a connection that closed is noticed a moment later.
fn wait_for_subscribers(c: &mut Connection, channel: &str, count: usize) {
    let wanted = format!("*2|${}|{channel}|:{count}|", channel.len());
    let deadline = Instant::now() + PATIENCE;
    while c.ask(&format!("PUBSUB NUMSUB {channel}")) != wanted {
        assert!(Instant::now() < deadline, "{channel} never has {count} subscribers");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn messages_reach_subscribers_on_all_workers_in_order() {
    let server = Server::with(&["--io-threads", "3"]);
    let mut subscribers: Vec<Connection> = (0..6).map(|_| server.connect()).collect();
    for (i, s) in subscribers.iter_mut().enumerate() {
        if i % 2 == 1 {
            assert!(s.ask("HELLO 3").starts_with('%'));
        }
        assert!(s.ask("SUBSCRIBE news").ends_with(":1|"));
    }
    let mut publisher = server.connect();
    for i in 0..200 {
        assert_eq!(publisher.ask(&format!("PUBLISH news {i}")), ":6|");
    }
    for (i, s) in subscribers.iter_mut().enumerate() {
        let kind = if i % 2 == 1 { '>' } else { '*' };
        for n in 0..200 {
            let n = n.to_string();
            assert_eq!(s.reply(), format!("{kind}3|$7|message|$4|news|${}|{n}|", n.len()));
        }
    }
}

#[test]
fn two_publishers_are_heard_in_the_same_order_by_all() {
    let server = Server::with(&["--io-threads", "2"]);
    let mut subscribers: Vec<Connection> = (0..4).map(|_| server.connect()).collect();
    for s in &mut subscribers {
        s.ask("SUBSCRIBE c");
    }
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let server = &server;
            scope.spawn(move || {
                let mut publisher = server.connect();
                (0..100).for_each(|i| drop(publisher.ask(&format!("PUBLISH c {name}{i}"))));
            });
        }
    });
    let heard: Vec<Vec<String>> = subscribers.iter_mut().map(|s| (0..200).map(|_| s.reply()).collect()).collect();
    assert!(heard.iter().all(|one| one == &heard[0]));
}

#[test]
fn a_connection_that_closes_is_forgotten() {
    let server = Server::start();
    let mut c = server.connect();
    let mut s = server.connect();
    s.ask("SUBSCRIBE gone");
    s.ask("PSUBSCRIBE g*");
    wait_for_subscribers(&mut c, "gone", 1);
    drop(s);
    wait_for_subscribers(&mut c, "gone", 0);
    assert_eq!(c.ask("PUBSUB NUMPAT"), ":0|");
    assert_eq!(c.ask("PUBLISH gone x"), ":0|");
}

#[test]
fn reset_ends_subscriptions() {
    let server = Server::start();
    let mut s = server.connect();
    s.ask("SUBSCRIBE a");
    assert!(s.ask("GET k").starts_with("-ERR Can't execute 'get': only (P|S)SUBSCRIBE / "));
    assert_eq!(s.ask("RESET"), "+RESET|");
    assert_eq!(s.ask("GET k"), "$-1|");
    assert_eq!(server.connect().ask("PUBSUB CHANNELS"), "*0|");
}

#[test]
fn ping_and_quit_work_with_a_subscription() {
    let server = Server::start();
    let mut s = server.connect();
    s.ask("SUBSCRIBE a");
    assert_eq!(s.ask("PING"), "*2|$4|pong|$0||");
    assert_eq!(s.ask("PING x"), "*2|$4|pong|$1|x|");
    assert_eq!(s.ask("QUIT"), "+OK|");
    assert!(s.is_closed());
}

#[test]
fn a_resp3_subscriber_goes_on_with_other_commands() {
    let server = Server::start();
    let mut s = server.connect();
    s.ask("HELLO 3");
    assert_eq!(s.ask("SUBSCRIBE a"), ">3|$9|subscribe|$1|a|:1|");
    assert_eq!(s.ask("SET k v"), "+OK|");
    // A message to itself comes after the reply.
    assert_eq!(s.ask("PUBLISH a x"), ":1|");
    assert_eq!(s.reply(), ">3|$7|message|$1|a|$1|x|");
    assert_eq!(s.ask("PING"), "+PONG|");
}

#[test]
fn keyspace_events_come_after_the_change() {
    let server = Server::with(&["--notify-keyspace-events", "KEA"]);
    let (mut s, mut c) = (server.connect(), server.connect());
    s.ask("PSUBSCRIBE __key*__:*");
    c.ask("SELECT 2");
    c.ask("SET k v EX 100");
    c.ask("DEL k");
    let mut heard = Vec::new();
    while heard.len() < 6 {
        let message = s.reply();
        let words: Vec<&str> = message.split('|').collect();
        heard.push(format!("{} {}", words[6], words[8]));
    }
    let wanted = [
        "__keyspace@2__:k set",
        "__keyevent@2__:set k",
        "__keyspace@2__:k expire",
        "__keyevent@2__:expire k",
        "__keyspace@2__:k del",
        "__keyevent@2__:del k",
    ];
    assert_eq!(heard, wanted);
    assert_eq!(c.ask("CONFIG SET notify-keyspace-events Eg"), "+OK|");
    c.ask("SET k v");
    c.ask("DEL k");
    assert_eq!(s.reply(), "*4|$8|pmessage|$10|__key*__:*|$18|__keyevent@2__:del|$1|k|");
}
