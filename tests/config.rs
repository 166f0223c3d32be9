//! The command line, configuration files, CONFIG, and what a refused start says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use common::Server;

/// Runs the program until it ends by itself.
fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_esker")).args(words).output().unwrap()
}

/// The error output of a start that is refused with exit status 1.
fn refusal(words: &[&str]) -> String {
    let output = run(words);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn version_and_help_end_with_status_zero() {
    for words in [["--version"], ["-v"], ["--help"], ["-h"]] {
        assert!(run(&words).status.success());
    }
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(help.contains("--appendfsync everysec") && !help.contains("segment-size"));
}

#[test]
fn an_unknown_directive_is_refused_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("redis.conf");
    fs::write(&path, "# mine\n\nfrobnicate 7\n").unwrap();
    let text = refusal(&[path.to_str().unwrap()]);
    assert!(text.contains("*** FATAL CONFIG FILE ERROR (Esker "), "{text}");
    assert!(
        text.contains(&format!("'{}', at line 3\n>>> 'frobnicate 7'\nBad directive or wrong number of arguments", path.display())),
        "{text}"
    );
    assert!(refusal(&["--frobnicate", "7"]).contains(">>> 'frobnicate \"7\"'\nBad directive"));
    assert!(refusal(&["/none/redis.conf"]).starts_with("Fatal error, can't open config file '/none/redis.conf'"));
}

#[test]
fn a_busy_port_is_one_clear_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();
    let text = refusal(&["--port", &port, "--bind", "127.0.0.1", "--dir", directory.path().to_str().unwrap()]);
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert!(text.contains(&port), "{text}");
}

#[test]
fn an_unusable_directory_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let text = refusal(&["--port", "0", "--dir", file.join("data").to_str().unwrap()]);
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert!(text.contains("file/data"), "{text}");
}

#[test]
fn a_redis_conf_starts_and_options_override_it() {
    let directory = tempfile::tempdir().unwrap();
    let (path, log) = (directory.path().join("redis.conf"), directory.path().join("log"));
    let text = "daemonize yes\nsave 900 1\nhash-max-listpack-entries 512\ntimeout 33\nmaxclients 77\nrename-command KEYS hidden\n";
    fs::write(&path, format!("{text}logfile \"{}\"\n", log.display())).unwrap();
    // The harness puts its own options first: the file is read where the include stands.
    let server = Server::with(&["--include", path.to_str().unwrap(), "--maxclients", "88"]);
    let mut client = server.connect();
    assert_eq!(client.ask("CONFIG GET timeout"), "*2|$7|timeout|$2|33|");
    assert_eq!(client.ask("CONFIG GET maxclients"), "*2|$10|maxclients|$2|88|");
    assert_eq!(client.ask("CONFIG GET save"), "*2|$4|save|$5|900 1|");
    let log = fs::read_to_string(log).unwrap();
    for name in ["daemonize", "save", "hash-max-listpack-entries", "rename-command"] {
        assert_eq!(log.matches(&format!(" * {name} has no effect here (")).count(), 1, "{log}");
    }
}

#[test]
fn config_set_takes_all_or_nothing() {
    let server = Server::start();
    let mut client = server.connect();
    let refused = "-ERR CONFIG SET failed (possibly related to argument 'loglevel') - \
                   argument(s) must be one of the following: debug, verbose, notice, warning|";
    assert_eq!(client.ask("CONFIG SET timeout 9 loglevel chatty"), refused);
    assert_eq!(client.ask("CONFIG GET timeout"), "*2|$7|timeout|$1|0|");
    assert_eq!(client.ask("CONFIG SET timeout 9 loglevel debug maxmemory 1mb"), "+OK|");
    assert_eq!(client.ask("CONFIG GET timeout loglevel maxmemory"), "*6|$7|timeout|$1|9|$8|loglevel|$5|debug|$9|maxmemory|$7|1048576|");
    assert_eq!(client.ask("CONFIG SET nope 1"), "-ERR Unknown option or number of arguments for CONFIG SET - 'nope'|");
    assert_eq!(client.ask("CONFIG SET timeout 1 loglevel"), "-ERR syntax error|");
    assert_eq!(
        client.ask("CONFIG SET port 1"),
        "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config|"
    );
    assert_eq!(client.ask("CONFIG REWRITE"), "-ERR The server is running without a config file|");
}

#[test]
fn config_rewrite_keeps_what_people_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("esker.conf");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let data = directory.path().join("data");
    let text = format!("# the cache\nport {port}\nbind 127.0.0.1\ndir \"{}\"\n\ntimeout 5 \n", data.display());
    fs::write(&path, &text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_esker")).arg(&path).stdout(std::process::Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + common::PATIENCE;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut client = common::Connection::to(port);
    assert_eq!(client.ask("CONFIG SET timeout 6 notify-keyspace-events KEA"), "+OK|");
    assert_eq!(client.ask("CONFIG REWRITE"), "+OK|");
    child.kill().unwrap();
    child.wait().unwrap();
    let expected = text.replace("timeout 5 ", "timeout 6") + "# Generated by CONFIG REWRITE\nnotify-keyspace-events AKE\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}
