//! `esker-ctl verify` against real servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use clap::Parser;
use common::{PATIENCE, Server};
use esker_tools::ctl::{Args, CtlError, Outcome, run};

fn verify(primary: &Server, replica: &Server, words: &[&str]) -> (Outcome, String) {
    compare(primary.port(), replica.port(), words).unwrap()
}

fn compare(primary: u16, replica: u16, words: &[&str]) -> Result<(Outcome, String), CtlError> {
    let [primary, replica] = [primary, replica].map(|port| format!("127.0.0.1:{port}"));
    let fixed = ["esker-ctl", "verify", "--primary", &primary, "--replica", &replica];
    let mut out = Vec::new();
    let outcome = run(&Args::try_parse_from([&fixed, words].concat()).unwrap(), &mut out)?;
    Ok((outcome, String::from_utf8(out).unwrap()))
}

#[test]
fn a_replica_is_equal_after_expiry_deletes_and_writes_that_go_on() {
    let primary = Server::start();
    let replica = Server::with(&["--replicaof", &format!("127.0.0.1 {}", primary.port())]);
    let mut client = primary.connect();
    for n in 0..2000 {
        let db = n % 3;
        client.ask(&format!("SELECT {db}"));
        client.ask(&format!("SET key{n} value{n}"));
        match n % 5 {
            0 => client.ask(&format!("PEXPIRE key{n} {}", 1 + n % 700)),
            1 => client.ask(&format!("DEL key{}", n / 2)),
            2 => client.ask(&format!("APPEND key{n} more")),
            _ => client.ask(&format!("EXPIRE key{n} 1000")),
        };
    }
    client.ask("SWAPDB 1 5");
    let (outcome, text) = verify(&primary, &replica, &[]);
    assert_eq!(outcome, Outcome::Right, "{text}");
    let (outcome, text) = verify(&primary, &replica, &["--db", "5", "--first-slot", "100", "--last-slot", "9000"]);
    assert_eq!(outcome, Outcome::Right, "{text}");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = primary.connect();
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                client.ask(&format!("SET busy{} {n}", n % 100));
            }
        });
        let began = Instant::now();
        let (outcome, text) = verify(&primary, &replica, &["--hold-writes"]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(outcome, Outcome::Right, "{text}");
        assert!(began.elapsed() < PATIENCE);
    });
}

/// Forwards connections to a server, and tells a wrong digest of a slot.
fn liar(target: u16, slot: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
            let (mut to, mut from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::thread::spawn(move || tell_wrong(server, client, format!(":{slot}\r\n$32\r\n").as_bytes()));
        }
    });
    port
}

fn tell_wrong(mut from: TcpStream, mut to: TcpStream, before: &[u8]) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        // The whole reply is shorter than what a socket hands over at once.
        let found = buffer[..count].windows(before.len()).position(|bytes| bytes == before);
        if let Some(at) = found {
            buffer[at + before.len()] ^= 1;
        }
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

#[test]
fn slots_that_differ_are_named() {
    let primary = Server::start();
    let replica = Server::with(&["--replicaof", &format!("127.0.0.1 {}", primary.port())]);
    for n in 0..5 {
        assert_eq!(primary.connect().ask(&format!("SET {{tag{n}}}key value")), "+OK|");
    }
    let slot = esker_storage::slot::slot_of(b"tag3").0;
    let liar = liar(replica.port(), slot);
    let (outcome, text) = compare(primary.port(), liar, &[]).unwrap();
    assert_eq!(outcome, Outcome::Wrong, "{text}");
    assert!(text.contains("1 slots differ at 0:1-") && text.ends_with(&format!(": {slot}\n")), "{text}");
    let rest = (slot + 1).to_string();
    assert_eq!(compare(primary.port(), liar, &["--first-slot", &rest]).unwrap().0, Outcome::Right);
}

#[test]
fn what_is_no_copy_is_not_compared() {
    let (one, other) = (Server::start(), Server::start());
    for server in [&one, &other] {
        assert_eq!(server.connect().ask("SET key value"), "+OK|");
    }
    let told = compare(one.port(), other.port(), &[]).unwrap_err().to_string();
    assert!(told.contains("is not in the history of this node"), "{told}");
}
