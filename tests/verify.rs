//! `esker-ctl verify` against real servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use clap::Parser;
use common::{PATIENCE, Server};
use esker_tools::ctl::{Args, Outcome, run};

fn verify(primary: &Server, replica: &Server, words: &[&str]) -> (Outcome, String) {
    let [primary, replica] = [primary, replica].map(|server| format!("127.0.0.1:{}", server.port()));
    let fixed = ["esker-ctl", "verify", "--primary", &primary, "--replica", &replica];
    let mut out = Vec::new();
    let outcome = run(&Args::try_parse_from([&fixed, words].concat()).unwrap(), &mut out).unwrap();
    (outcome, String::from_utf8(out).unwrap())
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

#[test]
fn slots_that_differ_are_named() {
    // Not related, but with as many entries: what one holds at an LSN is compared with what the other does.
    let (one, other) = (Server::start(), Server::start());
    for n in 0..100 {
        for server in [&one, &other] {
            let value = if n == 7 { server.port().to_string() } else { "same".to_owned() };
            server.connect().ask(&format!("SET {{tag{n}}}key {value}"));
        }
    }
    std::thread::sleep(Duration::from_millis(10));
    let slot = esker_storage::slot::slot_of(b"tag7").0;
    let (outcome, text) = verify(&one, &other, &[]);
    assert_eq!(outcome, Outcome::Wrong, "{text}");
    assert!(text.contains("1 slots differ at 0:1:") && text.ends_with(&format!(": {slot}\n")), "{text}");
    let rest = (slot + 1).to_string();
    assert_eq!(verify(&one, &other, &["--first-slot", &rest]).0, Outcome::Right);
}
