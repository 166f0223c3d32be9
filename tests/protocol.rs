//! The protocol over raw sockets: requests cut and joined in any way, errors that close, limits, HELLO.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Connection, PATIENCE, Server};

/// Sends bytes and returns everything until the server closes.
fn talk_until_closed(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut text = Vec::new();
    // A reset after the reply is as good an end as any: unread input may be left at the server.
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        text.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&text).replace("\r\n", "|")
}

#[test]
fn a_pipeline_is_answered_in_order_however_it_is_cut() {
    let server = Server::start();
    let request =
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$6\r\na\r\nb\r\n\r\nGET k\r\n*1\r\n$4\r\nPING\r\n*0\r\n\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n";
    let expected = ["+OK|", "$6|a|b||", "+PONG|", "$0||"];
    let mut client = server.connect();
    for cut in 0..request.len() {
        client.send_raw(&request[..cut]);
        if cut % 3 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        client.send_raw(&request[cut..]);
        for reply in expected {
            assert_eq!(client.reply(), reply, "cut at {cut}");
        }
    }
}

#[test]
fn thousands_of_pipelined_requests_are_all_answered() {
    let server = Server::start();
    let mut client = server.connect();
    let mut request = Vec::new();
    for i in 0..20_000 {
        request.extend_from_slice(format!("*2\r\n$4\r\nECHO\r\n$5\r\n{i:05}\r\n").as_bytes());
    }
    let mut writer = client.another_handle();
    let sender = std::thread::spawn(move || writer.write_all(&request).unwrap());
    for i in 0..20_000 {
        assert_eq!(client.reply(), format!("$5|{i:05}|"));
    }
    sender.join().unwrap();
}

#[test]
fn large_values_pass_in_both_directions() {
    let server = Server::start();
    let mut client = server.connect();
    let value = vec![b'v'; 20_000_000];
    client.send(&[b"SET", b"large", &value]);
    assert_eq!(client.reply(), "+OK|");
    client.send(&[b"GET", b"large"]);
    assert_eq!(client.reply().len(), value.len() + "$20000000||".len());
    assert_eq!(client.ask("PING"), "+PONG|");
}

#[test]
fn replies_that_are_not_read_do_not_keep_requests_from_being_read() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(&[b"SET", b"k", &vec![b'v'; 100_000]]);
    assert_eq!(client.reply(), "+OK|");
    // 200 MB of replies, far more than the sockets hold, before the first one is read.
    for _ in 0..2_000 {
        client.send(&[b"GET", b"k"]);
    }
    for _ in 0..2_000 {
        assert_eq!(client.reply().len(), 100_000 + "$100000||".len());
    }
}

#[test]
fn what_is_no_request_is_told_and_ends_the_connection() {
    let server = Server::start();
    for (input, reply) in [
        (&b"*1\r\n:1\r\n"[..], "-ERR Protocol error: expected '$', got ':'|"),
        (b"*x\r\n", "-ERR Protocol error: invalid multibulk length|"),
        (b"*2147483648\r\n", "-ERR Protocol error: invalid multibulk length|"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length|"),
        (b"*1\r\n$536870913\r\n", "-ERR Protocol error: invalid bulk length|"),
        (b"set \"a b\r\n", "-ERR Protocol error: unbalanced quotes in request|"),
        (b"PING\r\n*1\r\n$x\r\n", "+PONG|-ERR Protocol error: invalid bulk length|"),
    ] {
        assert_eq!(talk_until_closed(&server, input), reply);
    }
    let endless = vec![b'1'; 70_000];
    assert_eq!(talk_until_closed(&server, &endless), "-ERR Protocol error: too big inline request|");
    assert_eq!(talk_until_closed(&server, &[b"*", &endless[..]].concat()), "-ERR Protocol error: too big mbulk count string|");
    assert_eq!(talk_until_closed(&server, &[b"*1\r\n$", &endless[..]].concat()), "-ERR Protocol error: too big bulk count string|");
}

#[test]
fn before_auth_little_is_allowed() {
    let server = Server::with(&["--requirepass", "secret"]);
    assert_eq!(talk_until_closed(&server, b"*11\r\n"), "-ERR Protocol error: unauthenticated multibulk length|");
    assert_eq!(talk_until_closed(&server, b"*1\r\n$16385\r\n"), "-ERR Protocol error: unauthenticated bulk length|");
    let mut client = server.connect();
    assert_eq!(client.ask("GET a"), "-NOAUTH Authentication required.|");
    assert_eq!(client.ask("AUTH wrong"), "-WRONGPASS invalid username-password pair or user is disabled.|");
    assert!(client.ask("HELLO 3").starts_with("-NOAUTH HELLO must be called with the client already authenticated"));
    assert_eq!(client.ask("AUTH default secret"), "+OK|");
    assert_eq!(client.ask("GET a"), "$-1|");
    assert_eq!(client.ask("RESET"), "+RESET|");
    assert_eq!(client.ask("GET a"), "-NOAUTH Authentication required.|");
    assert!(client.ask("HELLO 3 AUTH default secret").starts_with("%7|"));
    assert_eq!(client.ask("GET a"), "_|");
    // With a password given, more than ten arguments are no error.
    assert_eq!(client.ask("DEL 1 2 3 4 5 6 7 8 9 10 11"), ":0|");
}

#[test]
fn hello_switches_the_protocol_and_describes_the_server() {
    let server = Server::start();
    let mut client = server.connect();
    let resp2 = client.ask("HELLO");
    assert!(resp2.starts_with("*14|$6|server|$5|redis|$7|version|$6|7.0.15|$5|proto|:2|$2|id|:"), "{resp2}");
    assert!(resp2.ends_with("$4|mode|$10|standalone|$4|role|$6|master|$7|modules|*0|"), "{resp2}");
    assert!(client.ask("HELLO 3 SETNAME me").starts_with("%7|"));
    assert_eq!(client.ask("CLIENT GETNAME"), "$2|me|");
    assert_eq!(client.ask("GET none"), "_|");
    assert_eq!(client.ask("HELLO 4"), "-NOPROTO unsupported protocol version|");
    assert_eq!(client.ask("HELLO x"), "-ERR Protocol version is not an integer or out of range|");
    assert_eq!(client.ask("HELLO 3 FOO"), "-ERR Syntax error in HELLO option 'FOO'|");
    assert_eq!(client.ask("GET none"), "_|");
    assert!(client.ask("HELLO 2").starts_with("*14|"));
    assert_eq!(client.ask("GET none"), "$-1|");
}

#[test]
fn http_is_not_answered() {
    let server = Server::start();
    assert_eq!(talk_until_closed(&server, b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nFLUSHALL\r\n"), "");
    assert_eq!(talk_until_closed(&server, b"PING\r\nhost: x\r\nPING\r\n"), "+PONG|");
}

#[test]
fn quit_answers_and_closes() {
    let server = Server::start();
    assert_eq!(talk_until_closed(&server, b"PING\r\nQUIT\r\nPING\r\n"), "+PONG|+OK|");
}

#[test]
fn one_client_too_many_is_told_so() {
    let server = Server::with(&["--maxclients", "2"]);
    // The harness's own connection may still count.
    let deadline = Instant::now() + PATIENCE;
    let mut kept = Vec::new();
    while kept.len() < 2 {
        assert!(Instant::now() < deadline);
        let mut client = server.connect();
        if client.ask("PING") == "+PONG|" {
            kept.push(client);
        }
    }
    assert_eq!(talk_until_closed(&server, b""), "-ERR max number of clients reached|");
    drop(kept);
    while talk_until_closed(&server, b"QUIT\r\n") != "+OK|" {
        assert!(Instant::now() < deadline, "places of clients that left are given away again");
    }
}

#[test]
fn idle_clients_are_disconnected() {
    let server = Server::with(&["--timeout", "1"]);
    let mut client = server.connect();
    assert_eq!(client.ask("PING"), "+PONG|");
    let started = Instant::now();
    assert!(client.is_closed());
    assert!(started.elapsed() > Duration::from_millis(900));
}

#[test]
fn clients_show_in_the_list_and_can_be_ended() {
    let server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    assert_eq!(a.ask("CLIENT SETNAME first"), "+OK|");
    assert_eq!(b.ask("SELECT 3"), "+OK|");
    let id = b.ask("CLIENT ID").trim_matches(['|', ':']).to_owned();
    let list = a.ask("CLIENT LIST");
    assert!(list.contains(" name=first ") && list.contains(" cmd=client|list "), "{list}");
    let line = list.lines().find(|line| line.contains(&format!("id={id} "))).unwrap();
    assert!(line.contains(" db=3 ") && line.contains(" cmd=client|id ") && line.contains(" flags=N "), "{line}");
    assert_eq!(a.ask(&format!("CLIENT KILL ID {id}")), ":1|");
    assert!(b.is_closed());
    assert_eq!(a.ask("CLIENT KILL 1.1.1.1:1"), "-ERR No such client|");
    assert_eq!(a.ask("CLIENT KILL TYPE normal SKIPME yes"), ":0|");
    assert_eq!(a.ask("PING"), "+PONG|");
    assert_eq!(a.ask("CLIENT KILL TYPE normal SKIPME no"), ":1|");
    assert!(a.is_closed());
}

#[test]
fn a_pause_holds_commands_back() {
    let server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    assert_eq!(a.ask("CLIENT PAUSE 60000 WRITE"), "+OK|");
    assert_eq!(b.ask("GET k"), "$-1|");
    b.send(&[b"SET", b"k", b"v"]);
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(a.ask("GET k"), "$-1|");
    assert_eq!(a.ask("CLIENT UNPAUSE"), "+OK|");
    assert_eq!(b.reply(), "+OK|");
    assert_eq!(a.ask("CLIENT PAUSE 300"), "+OK|");
    let started = Instant::now();
    assert_eq!(b.ask("PING"), "+PONG|");
    assert!(started.elapsed() > Duration::from_millis(200));
}

#[test]
fn replies_can_be_switched_off() {
    let server = Server::start();
    let mut client = server.connect();
    client.send_raw(b"CLIENT REPLY OFF\r\nSET a 1\r\nCLIENT REPLY ON\r\n");
    assert_eq!(client.reply(), "+OK|");
    client.send_raw(b"CLIENT REPLY SKIP\r\nSET a 2\r\nGET a\r\n");
    assert_eq!(client.reply(), "$1|2|");
    assert_eq!(client.ask("CLIENT REPLY MAYBE"), "-ERR syntax error|");
}

#[test]
fn a_subscriber_that_does_not_read_is_ended() {
    let server = Server::with(&["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let (mut publisher, mut subscriber) = (server.connect(), server.connect());
    assert!(subscriber.ask("SUBSCRIBE c").starts_with("*3|"));
    let message = vec![b'm'; 100_000];
    let deadline = Instant::now() + PATIENCE;
    loop {
        publisher.send(&[b"PUBLISH", b"c", &message]);
        if publisher.reply() == ":0|" {
            break;
        }
        assert!(Instant::now() < deadline, "messages pile up");
    }
}

#[test]
fn a_busy_port_is_one_line_and_status_one() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_esker"))
        .args(["--port", &server.port().to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(1));
    let text = String::from_utf8(run.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(&format!("127.0.0.1:{}", server.port())), "{text}");
}

#[test]
fn an_unusable_directory_is_one_line_and_status_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let run =
        std::process::Command::new(env!("CARGO_BIN_EXE_esker")).args(["--port", "0", "--dir"]).arg(file.join("data")).output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    let text = String::from_utf8(run.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(&file.display().to_string()), "{text}");
}

#[test]
fn sigterm_is_a_clean_stop() {
    let mut server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.ask("SET a 1"), "+OK|");
    assert_eq!(server.terminate().code(), Some(0));
    assert!(client.is_closed());
}

#[test]
fn shutdown_is_a_clean_stop_without_a_reply() {
    let mut server = Server::start();
    let mut client = Connection::to(server.port());
    client.send(&[b"SHUTDOWN"]);
    assert!(client.is_closed());
    assert_eq!(server.wait().code(), Some(0));
}
