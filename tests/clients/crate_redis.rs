//! The `redis` crate, over RESP2 and RESP3.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use redis::{Commands, Connection, ConnectionLike, ErrorKind, PushKind, ServerErrorKind, Value, cmd, pipe, transaction};

use super::common::{PATIENCE, Server};
use super::connect;

fn both_protocols(test: impl Fn(&Server, &mut Connection, bool)) {
    let server = Server::start();
    for resp3 in [false, true] {
        let mut connection = connect(server.port(), resp3);
        cmd("FLUSHALL").exec(&mut connection).unwrap();
        test(&server, &mut connection, resp3);
    }
}

#[test]
fn strings_of_every_kind() {
    both_protocols(|_, con, _| {
        let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        con.set::<_, _, ()>("binary", &binary).unwrap();
        assert_eq!(con.get::<_, Vec<u8>>("binary").unwrap(), binary);
        assert_eq!(con.get::<_, Option<String>>("none").unwrap(), None);
        con.set_ex::<_, _, ()>("short", "lived", 100).unwrap();
        assert!((90..=100).contains(&con.ttl::<_, i64>("short").unwrap()));
        con.mset::<_, _, ()>(&[("a", 1), ("b", 2)]).unwrap();
        assert_eq!(con.mget::<_, Vec<Option<i32>>>(&["a", "b", "none"]).unwrap(), [Some(1), Some(2), None]);
        assert_eq!(con.incr::<_, _, i64>("a", 41).unwrap(), 42);
        assert_eq!(con.append::<_, _, usize>("a", "!").unwrap(), 3);
        assert!(con.exists::<_, bool>("a").unwrap());
        assert_eq!(con.del::<_, usize>(&["a", "b", "none"]).unwrap(), 2);
        assert_eq!(con.getrange::<_, Vec<u8>>("binary", 254, 257).unwrap(), [254, 255, 0, 1]);
        con.setbit::<_, ()>("bits", 1000, true).unwrap();
        assert_eq!(con.bitcount::<_, usize>("bits").unwrap(), 1);
        assert!((cmd("INCRBYFLOAT").arg("f").arg("1.5").query::<f64>(con).unwrap() - 1.5).abs() < 1e-9);
    });
}

#[test]
fn pipelines_of_many_requests() {
    both_protocols(|_, con, _| {
        let mut pipeline = pipe();
        for n in 0..2000 {
            pipeline.set(format!("key:{n}"), n).ignore();
        }
        for n in 0..2000 {
            pipeline.get(format!("key:{n}"));
        }
        let values: Vec<i32> = pipeline.query(con).unwrap();
        assert_eq!(values, (0..2000).collect::<Vec<_>>());
    });
}

#[test]
fn transactions_and_watched_keys() {
    both_protocols(|server, con, resp3| {
        let (old, new): (Option<i32>, i32) = pipe().atomic().get("n").incr("n", 7).query(con).unwrap();
        assert_eq!((old, new), (None, 7));
        let mut other = connect(server.port(), resp3);
        let mut tries = 0;
        let (seen,): (i32,) = transaction(con, &["n"], |con, pipe| {
            tries += 1;
            let n: i32 = con.get("n")?;
            if tries == 1 {
                // Someone else is faster: the transaction is not executed and is tried again.
                other.set::<_, _, ()>("n", 100)?;
            }
            pipe.set("n", n + 1).ignore().get("n").query(con)
        })
        .unwrap();
        assert_eq!((tries, seen), (2, 101));
    });
}

#[test]
fn errors_have_their_kinds() {
    both_protocols(|_, con, _| {
        con.set::<_, _, ()>("text", "abc").unwrap();
        let error = con.incr::<_, _, i64>("text", 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ResponseError));
        assert!(error.to_string().contains("value is not an integer or out of range"), "{error}");
        let error = cmd("NOSUCHCOMMAND").arg("x").exec(con).unwrap_err();
        assert!(error.to_string().contains("unknown command 'NOSUCHCOMMAND', with args beginning with: 'x'"), "{error}");
        assert!(con.check_connection());
    });
}

#[test]
fn scan_iterators_find_every_key() {
    both_protocols(|_, con, _| {
        let mut pipeline = pipe();
        for n in 0..3000 {
            pipeline.set(format!("user:{n}"), n).ignore().set(format!("other:{n}"), n).ignore();
        }
        pipeline.exec(con).unwrap();
        let users: BTreeSet<String> = con.scan_match::<_, String>("user:*").unwrap().map(Result::unwrap).collect();
        assert_eq!(users.len(), 3000);
        assert_eq!(con.scan::<String>().unwrap().map(Result::unwrap).collect::<BTreeSet<_>>().len(), 6000);
    });
}

#[test]
fn publish_and_subscribe_over_resp2() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = (connect(server.port(), false), connect(server.port(), false));
    let mut pubsub = subscriber.as_pubsub();
    pubsub.set_read_timeout(Some(PATIENCE)).unwrap();
    pubsub.subscribe("news").unwrap();
    pubsub.psubscribe("new*").unwrap();
    assert_eq!(publisher.publish::<_, _, usize>("news", b"\x00bytes\r\n").unwrap(), 2);
    for pattern in [None, Some("new*".to_owned())] {
        let message = pubsub.get_message().unwrap();
        assert_eq!((message.get_channel_name(), message.get_payload_bytes()), ("news", &b"\x00bytes\r\n"[..]));
        assert_eq!(message.get_pattern::<Option<String>>().unwrap(), pattern);
    }
    pubsub.unsubscribe("news").unwrap();
    pubsub.punsubscribe("new*").unwrap();
    drop(pubsub);
    assert_eq!(cmd("PING").query::<String>(&mut subscriber).unwrap(), "PONG");
}

#[test]
fn keys_that_expire_are_told_to_subscribers() {
    let server = Server::start();
    let (mut subscriber, mut con) = (connect(server.port(), false), connect(server.port(), true));
    cmd("CONFIG").arg("SET").arg("notify-keyspace-events").arg("KEx").exec(&mut con).unwrap();
    let mut pubsub = subscriber.as_pubsub();
    pubsub.set_read_timeout(Some(PATIENCE)).unwrap();
    pubsub.psubscribe("__key*@0__:*").unwrap();
    con.pset_ex::<_, _, ()>("session:1", "v", 30).unwrap();
    for (channel, payload) in [("__keyspace@0__:session:1", "expired"), ("__keyevent@0__:expired", "session:1")] {
        let message = pubsub.get_message().unwrap();
        assert_eq!((message.get_channel_name(), message.get_payload::<String>().unwrap().as_str()), (channel, payload));
    }
    assert!(!con.exists::<_, bool>("session:1").unwrap());
    assert_eq!(cmd("DBSIZE").query::<u64>(&mut con).unwrap(), 0);
}

#[test]
fn publish_and_subscribe_over_resp3() {
    let server = Server::start();
    let (mut subscriber, mut publisher) = (connect(server.port(), true), connect(server.port(), true));
    let (sender, pushes) = mpsc::channel();
    subscriber.set_push_sender(sender);
    // The crate sends SUBSCRIBE and does not wait for its reply: a reply to a later request says that it was carried out. Without it this
    // test failed where the publisher was the faster of the two.
    subscriber.subscribe_resp3("news").unwrap();
    assert_eq!(cmd("PING").query::<String>(&mut subscriber).unwrap(), "PONG");
    assert_eq!(publisher.publish::<_, _, usize>("news", "hello").unwrap(), 1);
    // Pushes come between replies: the connection stays usable.
    assert_eq!(cmd("PING").query::<String>(&mut subscriber).unwrap(), "PONG");
    let kinds: Vec<_> = std::iter::from_fn(|| pushes.recv_timeout(Duration::from_millis(500)).ok()).collect();
    let message = kinds.iter().find(|push| push.kind == PushKind::Message).expect("a message");
    assert_eq!(message.data, [Value::BulkString(b"news".to_vec()), Value::BulkString(b"hello".to_vec())]);
}
