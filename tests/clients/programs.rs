//! redis-cli, redis-benchmark and redis-py, where they are installed.

use std::process::{Command, Output};

use super::common::Server;
use super::{has_redis_py, is_installed};

fn run(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{program} {arguments:?}: {text}");
    text
}

#[test]
fn redis_cli() {
    if !is_installed("redis-cli", &["--version"]) {
        return;
    }
    let server = Server::start();
    let port = server.port().to_string();
    let cli = |words: &[&str]| run("redis-cli", &[&["-p", &port][..], words].concat());
    assert_eq!(cli(&["SET", "greeting", "hello"]), "OK\n");
    for protocol in ["-2", "-3"] {
        assert_eq!(cli(&[protocol, "GET", "greeting"]), "hello\n");
        assert_eq!(cli(&[protocol, "--no-raw", "MGET", "greeting", "none"]), "1) \"hello\"\n2) (nil)\n");
        assert!(cli(&[protocol, "INFO"]).contains("redis_version:7"));
        assert!(cli(&[protocol, "CONFIG", "GET", "appendfsync"]).contains("everysec"));
        assert!(cli(&[protocol, "COMMAND", "DOCS", "GET"]).contains("summary"));
    }
    assert_eq!(cli(&["-n", "3", "DBSIZE"]), "0\n");
    assert_eq!(cli(&["-r", "5", "INCR", "n"]), "1\n2\n3\n4\n5\n");
    assert_eq!(cli(&["--scan", "--pattern", "gree*"]), "greeting\n");
    assert!(cli(&["--bigkeys"]).contains("Biggest string found"));
    assert!(cli(&["--memkeys"]).contains("Biggest string found"));
}

#[test]
fn redis_cli_pipes_a_whole_file() {
    if !is_installed("redis-cli", &["--version"]) {
        return;
    }
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("requests");
    let requests: String = (0..5000).map(|n| format!("*3\r\n$3\r\nSET\r\n$8\r\nkey:{n:04}\r\n$4\r\n{n:04}\r\n")).collect();
    std::fs::write(&path, requests).unwrap();
    let script = format!("redis-cli -p {} --pipe < '{}'", server.port(), path.display());
    assert!(run("sh", &["-c", &script]).contains("errors: 0, replies: 5000"));
    assert_eq!(server.connect().ask("DBSIZE"), ":5000|");
}

#[test]
fn redis_benchmark() {
    if !is_installed("redis-benchmark", &["--version"]) {
        return;
    }
    let server = Server::start();
    let port = server.port().to_string();
    for more in [
        &["-t", "ping,set,get,incr,mset"][..],
        &["-t", "set,get", "-P", "32"],
        &["-t", "set,get", "-3"],
        &["-r", "1000", "SET", "key:__rand_int__", "v"],
    ] {
        let text = run("redis-benchmark", &[&["-p", &port, "-q", "-n", "2000", "-c", "10"][..], more].concat());
        assert!(text.contains("requests per second") && !text.to_lowercase().contains("error"), "{more:?}: {text}");
    }
}

#[test]
fn redis_py() {
    if !has_redis_py() {
        return;
    }
    let server = Server::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/redis_py.py");
    for protocol in ["2", "3"] {
        assert_eq!(run("python3", &[script, &server.port().to_string(), protocol]).trim(), "passed");
    }
}
