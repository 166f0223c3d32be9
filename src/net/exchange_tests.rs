//! What connected clients see when another shard takes the place of the one that they use.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use esker_storage::shard::Shard;
use esker_storage::types::UnixMillis;

use super::{Client, Workers};
use crate::server::Server;
use crate::session::Session;

/// A server with workers, without a listener.
struct Running {
    server: Arc<Server>,
    workers: Workers,
}

impl Running {
    fn start(options: &[(&str, &str)]) -> Self {
        let server = Arc::new(Server::new(Shard::temporary(), 1));
        server.config.set(options).unwrap();
        server.config_changed();
        let workers = Workers::start(&server, 1).unwrap();
        Self { server, workers }
    }

    fn connect(&self) -> Connected {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let theirs = listener.accept().unwrap().0;
        theirs.set_nonblocking(true).unwrap();
        let client = Arc::new(Client::new(self.server.clients.next_id(), String::new(), String::new(), 0, UnixMillis(0)));
        self.server.clients.add(Arc::clone(&client));
        self.workers.serve(&self.server, theirs, Session::new(client, true));
        Connected(ours)
    }

    /// Puts an empty shard in service and closes the one before.
    fn exchange(&self) {
        self.server.replace_shard(Shard::temporary()).close().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.workers.stop();
    }
}

struct Connected(TcpStream);

impl Connected {
    fn send(&mut self, line: &str) {
        self.0.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// The next reply line with `|` for its end; empty: the connection was closed.
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") && self.0.read(&mut byte).unwrap_or(0) == 1 {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap().replace("\r\n", "|")
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }
}

#[test]
fn clients_stay_connected_and_see_the_other_data() {
    let running = Running::start(&[]);
    let mut client = running.connect();
    assert_eq!(client.ask("SET k old"), "+OK|");
    running.exchange();
    assert_eq!(client.ask("EXISTS k"), ":0|");
    assert_eq!(client.ask("GET k"), "$-1|");
    assert_eq!(client.ask("SET k new"), "+OK|");
    assert_eq!(client.ask("STRLEN k"), ":3|");
    assert_eq!(running.server.shard().number(), 2);
}

#[test]
fn watched_keys_count_as_changed() {
    let running = Running::start(&[]);
    let mut client = running.connect();
    // One that is there with the same record in both, and one that is in neither.
    for watched in ["same", "absent"] {
        assert_eq!(client.ask("SET same 1"), "+OK|");
        client.ask(&format!("WATCH {watched}"));
        running.exchange();
        let mut other = running.connect();
        assert_eq!(other.ask("SET same 1"), "+OK|");
        client.ask("MULTI");
        client.ask("SET written 1");
        assert_eq!(client.ask("EXEC"), "*-1|", "{watched}");
        assert_eq!(client.ask("EXISTS written"), ":0|");
        // Watched anew, it is of the shard that is in service.
        client.ask(&format!("WATCH {watched}"));
        client.ask("MULTI");
        client.ask("EXISTS same");
        assert_eq!(client.ask("EXEC"), "*1|");
        assert_eq!(client.line(), ":1|");
    }
}

#[test]
fn what_the_old_shard_has_flushed_acknowledges_nothing_of_the_new() {
    let running = Running::start(&[("appendfsync", "always")]);
    let mut client = running.connect();
    for _ in 0..100 {
        assert_eq!(client.ask("SET k v"), "+OK|");
    }
    let before = running.server.shard().flushed_lsn();
    running.exchange();
    assert_eq!(client.ask("SET k v"), "+OK|");
    let shard = running.server.shard();
    assert!(shard.written_lsn() < before);
    assert_eq!(shard.flushed_lsn(), shard.written_lsn());
}

#[test]
fn a_large_value_under_way_is_refused() {
    let running = Running::start(&[]);
    let mut client = running.connect();
    let value = vec![b'v'; running.server.shard().large_value_threshold()];
    let (sent_before, sent_after) = value.split_at(value.len() / 2);
    client.0.write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes()).unwrap();
    client.0.write_all(sent_before).unwrap();
    while (running.server.stats.received() as usize) < sent_before.len() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The worker's next turn: it has done with what it has read.
    let mut other = running.connect();
    assert_eq!(other.ask("PING"), "+PONG|");
    running.exchange();
    client.0.write_all(sent_after).unwrap();
    client.0.write_all(b"\r\n").unwrap();
    assert_eq!(client.line(), "-ERR the data was replaced while the value arrived, it was not stored|");
    assert_eq!(client.line(), "", "closed");
    assert_eq!(other.ask("EXISTS k"), ":0|");
}

#[test]
fn shards_are_exchanged_under_load() {
    let running = Running::start(&[]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut client = running.connect();
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    for _ in 0..32 {
                        client.send("SET k v");
                        client.send("INCR n");
                    }
                    for _ in 0..32 {
                        assert_eq!(client.line(), "+OK|");
                        assert!(client.line().starts_with(':'));
                    }
                }
            });
        }
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(10));
            running.exchange();
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_client_that_is_paused_keeps_no_shard_open() {
    let running = Running::start(&[]);
    let (mut client, mut paused) = (running.connect(), running.connect());
    assert_eq!(client.ask("CLIENT PAUSE 600000 WRITE"), "+OK|");
    paused.send("SET k v");
    while !running.server.clients.all().iter().any(|client| client.shown().blocked) {
        std::thread::sleep(Duration::from_millis(1));
    }
    running.exchange();
    assert_eq!(client.ask("CLIENT UNPAUSE"), "+OK|");
    assert_eq!(paused.line(), "+OK|");
    assert_eq!(client.ask("EXISTS k"), ":1|");
}

#[test]
fn the_shard_in_service_has_the_options_and_is_the_one_that_is_heard() {
    let running = Running::start(&[("maxmemory", "2kb"), ("notify-keyspace-events", "Ex")]);
    let (mut client, mut listener) = (running.connect(), running.connect());
    let refused = "-OOM command not allowed when used memory > 'maxmemory'.|";
    let fill = |client: &mut Connected| {
        for n in 0.. {
            if client.ask(&format!("SET key{n} {}", "v".repeat(100))) == refused {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    fill(&mut client);
    running.server.config.set(&[("maxmemory-policy", "allkeys-lfu"), ("maxmemory", "1mb")]).unwrap();
    let old = running.server.shard_owned();
    // The options are changed, and only the new shard is told: what the old one says of its room does not count any more.
    let retired = running.server.replace_shard(Shard::temporary());
    assert!(running.server.shard().eviction().is_some());
    assert_eq!(client.ask("SET k v"), "+OK|");
    for limit in [0, 1] {
        old.set_data_limit(limit);
        old.evict().unwrap();
    }
    assert!(old.is_over_data_limit());
    assert_eq!(client.ask("SET k v"), "+OK|");
    drop(old);
    retired.close().unwrap();
    listener.send("SUBSCRIBE __keyevent@0__:expired");
    assert_eq!((0..6).map(|_| listener.line()).last().unwrap(), ":1|");
    client.ask("SET k v PX 1");
    std::thread::sleep(Duration::from_millis(5));
    // Without a thread that removes what expired, whoever writes over it does.
    assert_eq!(client.ask("SET k w EX 100"), "+OK|");
    assert_eq!((0..7).map(|_| listener.line()).last().unwrap(), "k|");
}
