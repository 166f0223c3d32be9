//! `esker-bench`, the program itself, against servers that misbehave in known ways.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::net::TcpListener;
use std::ops::Range;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Words, bulk, server};

/// An honest server of GET and SET.
#[derive(Default)]
struct Store(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

impl Store {
    fn answer(&self, words: &Words) -> Vec<u8> {
        let mut keys = self.0.lock().unwrap();
        match &words[0][..] {
            b"SET" => {
                keys.insert(words[1].clone(), words[2].clone());
                b"+OK\r\n".to_vec()
            }
            b"GET" => bulk(keys.get(&words[1])),
            b"PING" => b"+PONG\r\n".to_vec(),
            _ => b"-ERR unknown command\r\n".to_vec(),
        }
    }
}

struct Ran {
    output: Output,
    text: String,
    json: Value,
}

fn load(port: &str, words: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("figures.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_esker-bench"));
    let output = command.args(["load", "--port", port, "--json"]).arg(&file).args(words).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let json = std::fs::read_to_string(file).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    Ran { output, text, json }
}

impl Ran {
    fn status(&self) -> i32 {
        self.output.status.code().unwrap()
    }

    fn run(&self, name: &str) -> &Value {
        &self.json["run"][name]
    }
}

/// An honest server that pauses for 500 ms from one second after its first GET or SET on.
fn pausing() -> String {
    const PAUSE: Range<Duration> = Duration::from_millis(1000)..Duration::from_millis(1500);
    let (began, store) = (OnceLock::new(), Store::default());
    server(move |words| {
        let since = if words[0] == b"PING" { Duration::ZERO } else { began.get_or_init(Instant::now).elapsed() };
        if PAUSE.contains(&since) {
            thread::sleep(PAUSE.end - since);
        }
        Some(store.answer(words))
    })
}

/// A quarter of what is due in 2 s is due in the pause, and late by half of it on average. A generator that waits with the server sees
/// one slow request a client.
#[test]
fn a_pause_delays_all_that_was_due_in_it() {
    let options = ["--clients", "2", "--seconds", "2", "--keys", "10"];
    let open = load(&pausing(), &[&options[..], &["--rate", "400"]].concat());
    assert_eq!(open.status(), 0, "{}", open.text);
    assert_eq!(open.run("latency")["requests"], 800, "{}", open.text);
    let millis = |name: &str| open.run("latency")[name].as_f64().unwrap();
    assert!(millis("p50_ms") < 300.0 && millis("p90_ms") > 100.0 && millis("p99_ms") > 300.0, "{}", open.text);
    assert!((400.0..2000.0).contains(&millis("max_ms")), "{}", open.text);

    let closed = load(&pausing(), &options);
    let p99 = closed.run("latency")["p99_ms"].as_f64().unwrap();
    assert!(p99 < 300.0, "a closed loop sees the pause once a client: {}", closed.text);
}

#[test]
fn a_server_that_does_not_keep_up_is_told_with_what_it_left() {
    let store = Store::default();
    let port = server(move |words| {
        thread::sleep(Duration::from_millis(10));
        Some(store.answer(words))
    });
    let ran = load(&port, &["--rate", "1000", "--clients", "1", "--seconds", "1", "--keys", "10"]);
    assert_eq!(ran.status(), 0, "{}", ran.text);
    assert!(ran.text.contains("did not keep up"), "{}", ran.text);
    assert_eq!(ran.run("latency")["requests"], 1000);
    assert!(
        ran.run("not_sent")["requests"].as_u64().unwrap() > 700 && ran.run("latency")["p50_ms"].as_f64().unwrap() > 300.0,
        "{}",
        ran.text
    );
}

#[test]
fn an_honest_server_passes() {
    let store = Store::default();
    let port = server(move |words| Some(store.answer(words)));
    let ran = load(&port, &["--fill", "--verify", "--keys", "50", "--clients", "8", "--requests", "5000", "--value-bytes", "24..3000"]);
    assert_eq!(ran.status(), 0, "{}", ran.text);
    assert!(ran.run("requests") == 5000 && ran.run("misses") == 0 && ran.run("wrong_answers") == 0, "{}", ran.text);
    assert_eq!(ran.json["fill"]["requests"], 50);
}

/// What a lie is called in the figures.
fn lies(lie: impl Fn(&Words, &Store, u64) -> Option<Vec<u8>> + Send + Sync + 'static, name: &str, options: &[&str]) -> String {
    let (store, number) = (Store::default(), AtomicU64::new(0));
    let port = server(move |words| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        Some(lie(words, &store, number).unwrap_or_else(|| store.answer(words)))
    });
    let all = [&["--fill", "--keys", "50", "--clients", "4", "--requests", "2000"], options].concat();
    let ran = load(&port, &all);
    assert_eq!(ran.status(), 1, "{}", ran.text);
    assert!(ran.run("wrong")[name].as_u64().unwrap() > 0, "{name}: {}", ran.text);
    let only = ran.run("wrong_answers") == &ran.run("wrong")[name];
    assert!(only && ran.text.contains("WRONG ANSWER") && ran.text.contains("key:0000000000"), "{}", ran.text);
    ran.text
}

#[test]
fn a_server_that_loses_writes_is_caught() {
    // It acknowledges a SET now and then and forgets it.
    let lie = |words: &Words, _: &Store, number: u64| {
        (words[0] == b"SET" && number > 200 && number.is_multiple_of(10)).then(|| b"+OK\r\n".to_vec())
    };
    let text = lies(lie, "stale", &["--verify"]);
    assert!(text.contains("was acknowledged before it was sent"), "{text}");
}

#[test]
fn a_server_that_misses_keys_is_caught() {
    let lie = |words: &Words, _: &Store, number: u64| (words[0] == b"GET" && number.is_multiple_of(10)).then(|| bulk(None));
    lies(lie, "missing", &["--verify"]);
}

#[test]
fn a_server_that_confuses_keys_is_caught_without_being_asked() {
    let lie = |words: &Words, store: &Store, number: u64| {
        let other = b"key:000000000007".to_vec();
        let wrong = words[0] == b"GET" && words[1] != other && number.is_multiple_of(10);
        wrong.then(|| bulk(store.0.lock().unwrap().get(&other)))
    };
    let text = lies(lie, "other_key", &[]);
    assert!(text.contains("returned a value of key:000000000007"), "{text}");
}

#[test]
fn a_server_that_tears_values_is_caught_without_being_asked() {
    let lie = |words: &Words, store: &Store, number: u64| {
        let key = words.get(1).filter(|_| words[0] == b"GET" && number.is_multiple_of(10))?;
        let mut value = store.0.lock().unwrap().get(key).cloned()?;
        let half = value.len() / 2;
        value[half..].fill(0);
        Some(bulk(Some(&value)))
    };
    lies(lie, "corrupt", &["--value-bytes", "100..2000"]);
}

#[test]
fn errors_are_counted_by_their_text() {
    let store = Store::default();
    let refuse = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    let port = server(move |words| Some(if words[0] == b"SET" { refuse.to_vec() } else { store.answer(words) }));
    let ran = load(&port, &["--requests", "1000", "--verify"]);
    assert_eq!(ran.status(), 1, "{}", ran.text);
    assert!(ran.text.contains("OOM command not allowed") && ran.text.contains("memory limit and refuses writes"), "{}", ran.text);
    let (errors, answered) = (ran.run("error_replies").as_u64().unwrap(), ran.run("requests").as_u64().unwrap());
    assert!(errors > 300 && errors + answered == 1000 && ran.run("wrong_answers") == 0, "{}", ran.text);
    assert_eq!(load(&port, &["--requests", "100", "--tolerate-errors"]).status(), 0);
}

#[test]
fn what_keeps_from_measuring_is_said_plainly() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let ran = load(&free, &[]);
    assert!(ran.status() == 2 && ran.text.contains("cannot connect to 127.0.0.1:") && ran.text.contains("refused"), "{}", ran.text);
    let port = server(|_| Some(b"-NOAUTH Authentication required.\r\n".to_vec()));
    let ran = load(&port, &[]);
    assert!(ran.status() == 2 && ran.text.contains("NOAUTH"), "{}", ran.text);
    let port = server(|_| Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    let ran = load(&port, &[]);
    assert!(ran.status() == 2 && ran.text.contains("does not speak the Redis protocol"), "{}", ran.text);
}

#[test]
fn a_server_that_is_loading_can_be_waited_for() {
    let store = Store::default();
    let loading = b"-LOADING Redis is loading the dataset in memory\r\n";
    let began = Instant::now();
    let port = server(move |words| Some(if began.elapsed() < Duration::from_secs(1) { loading.to_vec() } else { store.answer(words) }));
    let ran = load(&port, &["--requests", "10"]);
    assert!(ran.status() == 2 && ran.text.contains("still loading its data"), "{}", ran.text);
    assert_eq!(load(&port, &["--requests", "10", "--wait", "30"]).status(), 0);
}

#[test]
fn a_server_that_goes_away_is_counted_and_met_again() {
    let store = Arc::new(Store::default());
    let closing = || {
        let (store, number) = (Arc::clone(&store), AtomicU64::new(0));
        server(move |words| (number.fetch_add(1, Ordering::Relaxed) % 500 != 499).then(|| store.answer(words)))
    };
    let once = load(&closing(), &["--clients", "3", "--requests", "5000", "--keys", "10"]);
    assert_eq!(once.status(), 1, "{}", once.text);
    assert!(once.run("disconnections") == 3 && once.run("lost_requests") == 3, "{}", once.text);
    assert!(once.text.contains("CONNECTION LOST, 3 times"), "{}", once.text);

    let again = load(&closing(), &["--clients", "3", "--requests", "5000", "--keys", "10", "--reconnect", "--verify"]);
    assert_eq!(again.status(), 0, "{}", again.text);
    let count = |name: &str| again.run(name).as_u64().unwrap();
    assert!(count("requests") + count("lost_requests") == 5000 && count("lost_requests") >= 9, "{}", again.text);
    assert!(count("reconnections") + 3 >= count("disconnections") && count("wrong_answers") == 0, "{}", again.text);
}
