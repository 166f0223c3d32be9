//! `esker-bench trace`, the program itself, against servers that evict in known ways.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::{Command, Output};
use std::sync::Mutex;

use serde_json::Value;
use support::{Words, bulk, server};

/// 10,000 requests of 1,000 keys, and a cache of a tenth of those that occur.
const SMALL: [&str; 6] = ["--keys", "1000", "--requests", "10000", "--share", "0.1"];

/// A server that keeps so many keys, the least recently used going first.
struct Cache {
    most: usize,
    /// Keys and values, the least recently used first.
    kept: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Cache {
    fn of(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    fn answer(&self, words: &Words) -> Vec<u8> {
        let mut kept = self.kept.lock().unwrap();
        let held = words.get(1).and_then(|key| kept.iter().position(|(held, _)| held == key)).map(|at| kept.remove(at));
        match &words[0][..] {
            b"SET" => {
                if kept.len() == self.most {
                    kept.remove(0);
                }
                kept.push((words[1].clone(), words[2].clone()));
                b"+OK\r\n".to_vec()
            }
            b"GET" => {
                let reply = bulk(held.as_ref().map(|(_, value)| value));
                kept.extend(held);
                reply
            }
            _ => b"+PONG\r\n".to_vec(),
        }
    }
}

struct Ran {
    output: Output,
    text: String,
    json: Value,
}

impl Ran {
    fn ratio(&self, name: &str) -> f64 {
        self.json["miss_ratios"][name].as_f64().unwrap()
    }
}

fn trace(port: &str, words: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("figures.json");
    let output = Command::new(env!("CARGO_BIN_EXE_esker-bench"))
        .args(["trace", "--replay", "--port", port, "--json"])
        .arg(&json)
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    let json = std::fs::read(&json).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    Ran { output, text, json }
}

/// How many keys the trace has.
fn footprint(words: &[&str]) -> usize {
    let ran = trace(&server(|_| Some(bulk(None))), &[&SMALL, words].concat());
    ran.json["footprint"].as_u64().unwrap() as usize
}

/// The trace against an LRU cache of a tenth of its keys.
fn against_lru(words: &[&str]) -> Ran {
    let cache = Cache::of(footprint(words) / 10);
    let ran = trace(&server(move |words| Some(cache.answer(words))), &[&SMALL, words].concat());
    assert!(ran.output.status.success(), "{}", ran.text);
    ran
}

#[test]
fn a_server_that_is_an_exact_lru_misses_what_the_model_misses() {
    for source in ["zipf:0.8", "zipf:1.2", "scan:0.2"] {
        let ran = against_lru(&["--trace", source, "--window", "1"]);
        assert_eq!(ran.ratio("server"), ran.ratio("LRU"), "{source}: {}", ran.text);
    }
}

#[test]
fn sending_many_at_once_changes_next_to_nothing() {
    let ran = against_lru(&["--window", "16"]);
    let off = ran.ratio("server") / ran.ratio("LRU") - 1.0;
    assert!(off.abs() < 0.02, "{off}: {}", ran.text);
}

#[test]
fn values_larger_than_what_sockets_hold_pass_in_both_directions() {
    let cache = Cache::of(100);
    let port = server(move |words| Some(cache.answer(words)));
    let ran = trace(&port, &["--requests", "500", "--keys", "60", "--value-bytes", "300000", "--window", "64"]);
    assert!(ran.output.status.success(), "{}", ran.text);
}

#[test]
fn refused_writes_and_wrong_values_are_told() {
    let ran = trace(&server(|words| Some(if words[0] == b"SET" { b"-OOM no\r\n".to_vec() } else { bulk(None) })), &SMALL);
    assert!(ran.output.status.code() == Some(1) && ran.text.contains("times: OOM no"), "{}", ran.text);
    let lie = bulk(Some(&vec![b'x'; 100]));
    let ran = trace(&server(move |words| Some(if words[0] == b"PING" { bulk(None) } else { lie.clone() })), &SMALL);
    assert!(ran.output.status.code() == Some(1) && ran.text.contains("WRONG ANSWER"), "{}", ran.text);
}

#[test]
fn a_trace_in_a_file_is_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.csv");
    std::fs::write(&path, "a,1\nb,2\na\na\nb\nc\n").unwrap();
    let cache = Cache::of(2);
    let port = server(move |words| Some(cache.answer(words)));
    let ran = trace(&port, &["--trace", path.to_str().unwrap(), "--objects", "2", "--warmup", "0"]);
    assert!(ran.output.status.success() && ran.text.contains("6 requests of 3 keys"), "{}", ran.text);
    assert_eq!((ran.ratio("server"), ran.ratio("LRU")), (0.5, 0.5), "{}", ran.text);
}
