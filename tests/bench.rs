//! `esker-bench` against the real server, and the server under `esker-bench`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use clap::Parser;
use esker_tools::bench::{Args, Outcome, run};
use serde_json::Value;
use std::time::Duration;

use common::Server;

/// Runs `esker-bench load`: how it ended, what it printed, its figures.
fn load(server: &Server, words: &[&str]) -> (Outcome, String, Value) {
    load_port(server.port(), words)
}

fn load_port(port: u16, words: &[&str]) -> (Outcome, String, Value) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("figures.json");
    let port = port.to_string();
    let fixed = ["esker-bench", "load", "--port", &port, "--json", file.to_str().unwrap()];
    let mut out = Vec::new();
    let outcome = run(&Args::try_parse_from([&fixed, words].concat()).unwrap(), &mut out).unwrap();
    let json = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    (outcome, String::from_utf8(out).unwrap(), json)
}

#[test]
fn every_command_in_every_form_is_answered_rightly() {
    let server = Server::start();
    let mix = "set=30,get=40,del=10,incr=10,expire=5,ping=5";
    for words in [
        &["--fill", "--verify", "--mix", mix, "--requests", "20000", "--interval", "0.2"][..],
        &["--verify", "--mix", mix, "--requests", "20000", "--pipeline", "16", "--threads", "2", "--distribution", "zipf:0.99"],
        &["--verify", "--ttl", "1", "--seconds", "2.5", "--rate", "2000", "--distribution", "sequential", "--db", "3"],
        &["--verify", "--requests", "300", "--value-bytes", "24..3000000", "--clients", "4", "--hash-tag", "x"],
        &["--unchecked", "--value-bytes", "3", "--requests", "5000", "--key-prefix", "small:"],
    ] {
        let words = [words, &["--keys", "100"]].concat();
        let (outcome, text, json) = load(&server, &words);
        assert_eq!(outcome, Outcome::Right, "{words:?}: {text}");
        let run = &json["run"];
        let requests = run["requests"].as_u64().unwrap();
        let by_command: u64 = run["by_command"].as_object().unwrap().values().map(|of| of["requests"].as_u64().unwrap()).sum();
        assert!(requests >= 300 && requests == by_command && run["error_replies"] == 0, "{words:?}: {text}");
    }
    let mut connection = server.connect();
    assert_eq!(connection.ask("EXISTS {x}key:000000000000 {x}key:000000000001 {x}key:000000000002"), ":3|");
    assert!(connection.ask("GET small:000000000050").starts_with("$3|"));
}

#[test]
fn a_password_is_given_where_one_is_demanded() {
    let server = Server::with(&["--requirepass", "secret"]);
    let (outcome, text, _) = load(&server, &["--password", "secret", "--requests", "100"]);
    assert_eq!(outcome, Outcome::Right, "{text}");
    let args = Args::try_parse_from(["esker-bench", "load", "--port", &server.port().to_string(), "--password", "wrong"]).unwrap();
    let refused = run(&args, &mut Vec::new()).unwrap_err().to_string();
    assert!(refused.contains("the password") && refused.contains("WRONGPASS"), "{refused}");
}

/// What was acknowledged is there after kill -9: every read after it is checked against every write before it.
#[test]
fn nothing_acknowledged_is_lost_by_a_kill_under_load() {
    let mut server = Server::start();
    let port = server.port();
    let words = ["--fill", "--verify", "--reconnect", "--keys", "5000", "--clients", "16", "--pipeline", "4", "--seconds", "4"];
    let bench = std::thread::spawn(move || load_port(port, &[&words[..], &["--mix", "set=40,get=40,del=10,incr=10"]].concat()));
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(800));
        server.kill();
        server.restart_in_place();
    }
    let (outcome, text, json) = bench.join().unwrap();
    assert_eq!(outcome, Outcome::Right, "{text}");
    assert!(json["run"]["disconnections"].as_u64().unwrap() >= 16 && json["run"]["reconnections"].as_u64().unwrap() >= 16, "{text}");
}

/// Each mode once, in a few seconds: every phase measures something, and what the modes promise holds.
#[test]
fn replication_is_measured_in_every_mode() {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (json, html) = (file("figures.json"), file("report.html"));
    let paths = ["--server", env!("CARGO_BIN_EXE_esker"), "--dir", home.path().to_str().unwrap(), "--json", &json, "--html", &html];
    let short = ["--rounds", "1", "--seconds", "0.4", "--warmup", "0", "--kill", "0.3", "--rate", "200", "--clients", "4"];
    let small = ["--keys", "500", "--sync-keys", "5000", "--link-delay", "2", "--link-rate", "50", "--replicas", "1"];
    let words = [&["esker-bench", "replication"][..], &paths, &short, &small].concat();
    let mut out = Vec::new();
    let outcome = run(&Args::try_parse_from(words).unwrap(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(outcome, Outcome::Right, "{text}");

    let json: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let figure = |phase: &str, setup: &str, name: &str| {
        let mut rows = json["rows"].as_array().unwrap().iter();
        let row = rows.find(|row| row["phase"] == phase && row["setup"] == setup).unwrap_or_else(|| panic!("{phase}, {setup}: {text}"));
        row["medians"][name].as_f64().unwrap_or_else(|| panic!("{phase}, {setup}, {name}: {row}"))
    };
    for setup in ["async 1", "semi-sync 1", "sync 1"] {
        assert!(figure("kill", setup, "acknowledged") > 0.0, "{setup}: {text}");
        assert!(figure("maximum", setup, "wire_bytes_per_user_byte") > 1.0, "{setup}: {text}");
        assert!(
            figure("fixed_rate", setup, "requests") == 80.0 && figure("fixed_rate", setup, "lag_max_entries") >= 0.0,
            "{setup}: {text}"
        );
        let waits = setup != "async 1";
        assert_eq!(figure("fixed_rate", setup, "p50_ms") >= 4.0, waits, "a round trip, if the mode waits for it: {setup}: {text}");
        assert!(!waits || figure("kill", setup, "acknowledged_lost") == 0.0, "{setup}: {text}");
    }
    assert!(figure("maximum", "none", "requests_per_second") > 0.0);
    let shipped = figure("catch_up", "async 1", "wire_bytes_per_missing_byte");
    assert!((0.9..1.5).contains(&shipped), "{shipped}: {text}");
    assert!(figure("full_sync", "async 1", "wire_bytes_to_replica") > 500_000.0, "{text}");
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("semi-sync 1") && page.matches("<svg").count() > 5 && !page.contains("http"), "{page}");
    let left = std::fs::read_dir(home.path()).unwrap().count();
    assert_eq!(left, 2, "the data directories are gone");
}
