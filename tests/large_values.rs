//! Values that go from the socket straight into a value segment.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Connection, Server};

const KEY: &str = "large";

fn value(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|n| ((n * 31 + seed) % 253) as u8).collect()
}

/// `SET large <value> <options>` as it goes over the wire.
fn set(value: &[u8], options: &[&str]) -> Vec<u8> {
    let mut request = format!("*{}\r\n$3\r\nSET\r\n$5\r\n{KEY}\r\n${}\r\n", 3 + options.len(), value.len()).into_bytes();
    request.extend(value);
    request.extend(b"\r\n");
    for option in options {
        request.extend(format!("${}\r\n{option}\r\n", option.len()).as_bytes());
    }
    request
}

fn get(connection: &mut Connection, len: usize) -> Vec<u8> {
    connection.send_raw(b"GET large\r\n");
    let head = format!("${len}\r\n");
    let reply = connection.read_exact(head.len() + len + 2);
    assert_eq!(&reply[..head.len()], head.as_bytes());
    reply[head.len()..head.len() + len].to_vec()
}

fn value_segments(server: &Server) -> usize {
    let names = std::fs::read_dir(server.dir().join("shard-0")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.len() == 32 + ".seg".len()).count()
}

#[test]
fn a_large_value_arrives_whole_and_survives_a_kill() {
    let mut server = Server::start();
    let mut connection = server.connect();
    let value = value(9_000_001, 1);
    let mut request = set(&value, &["EX", "1000"]);
    // What is pipelined behind it is answered in order.
    request.extend(b"PING\r\n");
    for piece in request.chunks(700_001) {
        connection.send_raw(piece);
    }
    assert_eq!(connection.read_exact(12), b"+OK\r\n+PONG\r\n");
    assert_eq!(get(&mut connection, value.len()), value);
    connection.send_raw(b"TTL large\r\n");
    assert_eq!(connection.read_exact(7), b":1000\r\n");
    server.kill();
    server.restart();
    assert_eq!(get(&mut server.connect(), value.len()), value);
    assert_eq!(value_segments(&server), 1);
}

/// Was: nothing follows the value in its request, and the parser began again at the start of the request.
#[test]
fn a_large_value_at_the_end_of_its_request_is_followed_by_other_requests() {
    let server = Server::start();
    let mut connection = server.connect();
    let (first, second) = (value(1_500_000, 6), value(1_600_001, 7));
    let request = [set(&first, &[]), b"PING\r\n".to_vec(), set(&second, &[]), b"STRLEN large\r\n".to_vec()].concat();
    for piece in request.chunks(250_007) {
        connection.send_raw(piece);
    }
    assert_eq!(connection.read_exact(5 + 7 + 5 + 10), b"+OK\r\n+PONG\r\n+OK\r\n:1600001\r\n");
    assert_eq!(get(&mut connection, second.len()), second);
}

#[test]
fn a_large_value_that_is_refused_leaves_nothing_behind() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.send_raw(b"SET large small\r\n");
    assert_eq!(connection.read_exact(5), b"+OK\r\n");
    connection.send_raw(&set(&value(3_000_000, 2), &["NX"]));
    assert_eq!(connection.read_exact(5), b"$-1\r\n");
    connection.send_raw(&set(&value(3_000_000, 3), &["BAD"]));
    assert_eq!(connection.read_exact(19), b"-ERR syntax error\r\n");
    assert_eq!(get(&mut connection, 5), b"small");
    assert_eq!(value_segments(&server), 0);
}

#[test]
fn a_large_value_in_a_transaction_is_queued_like_any_other() {
    let server = Server::start();
    let mut connection = server.connect();
    let value = value(2_000_000, 4);
    connection.send_raw(b"MULTI\r\n");
    assert_eq!(connection.read_exact(5), b"+OK\r\n");
    connection.send_raw(&set(&value, &[]));
    assert_eq!(connection.read_exact(9), b"+QUEUED\r\n");
    connection.send_raw(b"EXEC\r\n");
    assert_eq!(connection.read_exact(9), b"*1\r\n+OK\r\n");
    assert_eq!(get(&mut connection, value.len()), value);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_large_value_changes_nothing() {
    let server = Server::start();
    let mut connection = server.connect();
    let request = set(&value(4_000_000, 5), &[]);
    connection.send_raw(&request[..3_000_000]);
    drop(connection);
    let mut other = server.connect();
    let deadline = std::time::Instant::now() + common::PATIENCE;
    while value_segments(&server) > 0 {
        assert!(std::time::Instant::now() < deadline, "the unfinished value is still there");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    other.send_raw(b"EXISTS large\r\n");
    assert_eq!(other.read_exact(4), b":0\r\n");
}
