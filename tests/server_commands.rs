//! Commands about the server: INFO, COMMAND, SLOWLOG, LATENCY, MEMORY, MONITOR, DEBUG, flushing and checkpoints.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::{Connection, Server};

/// The fields of INFO.
fn info(client: &mut Connection, sections: &str) -> BTreeMap<String, String> {
    let text = client.ask(format!("INFO {sections}").trim_end());
    text.split('|').filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn info_has_the_sections_and_fields_of_redis() {
    let server = Server::start();
    let mut client = server.connect();
    client.ask("SET k v");
    client.ask("GET k");
    client.ask("GET none");
    client.ask("NOPE");
    client.ask("DEL k extra k2");
    let all = info(&mut client, "everything");
    for name in [
        "redis_version",
        "run_id",
        "tcp_port",
        "uptime_in_seconds",
        "connected_clients",
        "maxclients",
        "blocked_clients",
        "used_memory",
        "used_memory_rss",
        "used_memory_peak",
        "mem_fragmentation_ratio",
        "mem_index_bytes",
        "loading",
        "rdb_last_save_time",
        "aof_enabled",
        "recovery_kind",
        "recovery_ms",
        "total_commands_processed",
        "instantaneous_ops_per_sec",
        "evicted_keys",
        "role",
        "master_replid",
        "connected_slaves",
        "used_cpu_sys",
        "cluster_enabled",
        "latency_percentiles_usec_get",
    ] {
        assert!(all.contains_key(name), "{name}");
    }
    assert_eq!(all["tcp_port"], server.port().to_string());
    assert_eq!((all["keyspace_hits"].as_str(), all["keyspace_misses"].as_str()), ("1", "1"));
    assert_eq!(all["errorstat_ERR"], "count=1");
    assert!(all["cmdstat_get"].starts_with("calls=2,usec="), "{}", all["cmdstat_get"]);
    assert!(all["total_net_input_bytes"].parse::<u64>().unwrap() > 0);
    assert_eq!(client.ask("INFO nope"), "$0||");
}

#[test]
fn resetstat_sets_counters_to_zero() {
    let server = Server::start();
    let mut client = server.connect();
    client.ask("GET none");
    assert_eq!(client.ask("CONFIG RESETSTAT"), "+OK|");
    let all = info(&mut client, "all");
    assert_eq!(all["keyspace_misses"], "0");
    assert!(!all.contains_key("cmdstat_get"));
}

#[test]
fn the_keyspace_counts_keys_and_expiries_a_database() {
    let server = Server::start();
    let mut client = server.connect();
    client.ask("SET a 1");
    client.ask("SET b 1 EX 100");
    assert_eq!(info(&mut client, "keyspace")["db0"], "keys=2,expires=1,avg_ttl=0");
    assert_eq!(client.ask("DBSIZE"), ":2|");
    assert_eq!(client.ask("SWAPDB 0 3"), "+OK|");
    assert_eq!(client.ask("DBSIZE"), ":0|");
    assert_eq!(info(&mut client, "keyspace").keys().cloned().collect::<Vec<_>>(), ["db3"]);
    assert_eq!(client.ask("FLUSHALL async"), "+OK|");
    assert!(info(&mut client, "keyspace").is_empty());
    for (request, reply) in [
        ("SWAPDB a 1", "-ERR invalid first DB index|"),
        ("SWAPDB 0 b", "-ERR invalid second DB index|"),
        ("SWAPDB 0 16", "-ERR DB index is out of range|"),
        ("FLUSHALL now", "-ERR syntax error|"),
        ("FLUSHDB sync", "+OK|"),
    ] {
        assert_eq!(client.ask(request), reply, "{request}");
    }
}

#[test]
fn slow_commands_are_logged_and_counted() {
    let server = Server::start();
    let mut client = server.connect();
    client.ask("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 2");
    client.ask("SET k v");
    client.ask("GET k");
    let shown = client.ask("SLOWLOG GET 1");
    assert!(shown.starts_with("*1|*6|:") && shown.contains("|*2|$3|GET|$1|k|$"), "{shown}");
    assert!(shown.contains("127.0.0.1:"), "{shown}");
    assert_eq!(client.ask("SLOWLOG LEN"), ":2|");
    client.ask("CONFIG SET slowlog-log-slower-than -1");
    assert_eq!(client.ask("SLOWLOG RESET"), "+OK|");
    assert_eq!(client.ask("SLOWLOG LEN"), ":0|");
    assert_eq!(client.ask("SLOWLOG GET -2"), "-ERR count should be greater than or equal to -1|");
    assert!(client.ask("SLOWLOG nope").starts_with("-ERR unknown subcommand 'nope'. Try SLOWLOG HELP."));
}

#[test]
fn a_held_back_reply_shows_in_the_latency_history() {
    let server = Server::start();
    let mut client = server.connect();
    assert!(client.ask("LATENCY DOCTOR").contains("disabled"));
    client.ask("CONFIG SET latency-monitor-threshold 10");
    let before = Instant::now();
    assert_eq!(client.ask("DEBUG SLEEP 0.05"), "+OK|");
    assert!(before.elapsed() >= Duration::from_millis(50));
    let latest = client.ask("LATENCY LATEST");
    assert!(latest.starts_with("*1|*4|$7|command|:"), "{latest}");
    assert!(client.ask("LATENCY HISTORY command").starts_with("*1|*2|:"));
    assert!(client.ask("LATENCY GRAPH command").contains("command - high 5"));
    assert_eq!(client.ask("LATENCY GRAPH none"), "-ERR No samples available for event 'none'|");
    assert!(client.ask("LATENCY DOCTOR").contains("1. command:"));
    assert_eq!(client.ask("LATENCY RESET"), ":1|");
    assert_eq!(client.ask("LATENCY LATEST"), "*0|");
}

#[test]
fn a_sleeping_client_holds_up_nobody_else() {
    let server = Server::with(&["--io-threads", "1"]);
    let (mut sleeper, mut other) = (server.connect(), server.connect());
    sleeper.send(&[b"DEBUG", b"SLEEP", b"5"]);
    let before = Instant::now();
    assert_eq!(other.ask("SET k v"), "+OK|");
    assert!(before.elapsed() < Duration::from_secs(4));
}

#[test]
fn histograms_count_commands_by_time() {
    let server = Server::start();
    let mut client = server.connect();
    for _ in 0..10 {
        client.ask("GET k");
    }
    let shown = client.ask("LATENCY HISTOGRAM get");
    assert!(shown.starts_with("*2|$3|get|*4|$5|calls|:10|$14|histogram_usec|*"), "{shown}");
    assert!(shown.ends_with("|:10|"), "{shown}");
    assert_eq!(client.ask("LATENCY HISTOGRAM nope"), "*0|");
}

#[test]
fn memory_is_told_of_keys_and_of_the_server() {
    let server = Server::start();
    let mut client = server.connect();
    client.ask("SET k 0123456789");
    let usage: i64 = client.ask("MEMORY USAGE k").trim_matches([':', '|']).parse().unwrap();
    assert!((11..200).contains(&usage), "{usage}");
    assert_eq!(client.ask("MEMORY USAGE none"), "$-1|");
    assert_eq!(client.ask("MEMORY USAGE k SAMPLES -1"), "-ERR syntax error|");
    assert!(client.ask("MEMORY STATS").contains("|total.allocated|:"));
    assert!(client.ask("MEMORY DOCTOR").contains("memory-limit"));
    assert_eq!(client.ask("MEMORY PURGE"), "+OK|");
}

#[test]
fn a_monitor_is_shown_the_commands_of_others() {
    let server = Server::start();
    let (mut monitor, mut client) = (server.connect(), server.connect());
    assert_eq!(monitor.ask("MONITOR"), "+OK|");
    assert_eq!(client.ask("SET k \"v"), "+OK|");
    let line = monitor.reply();
    assert!(line.contains(" [0 127.0.0.1:") && line.ends_with("] \"SET\" \"k\" \"\\\"v\"|"), "{line}");
}

#[test]
fn checkpoints_are_taken_and_dated() {
    let server = Server::start();
    let mut client = server.connect();
    client.ask("SET k v");
    assert_eq!(client.ask("SAVE"), "+OK|");
    let saved: u64 = client.ask("LASTSAVE").trim_matches([':', '|']).parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now - saved < 60, "{now} {saved}");
    assert!(client.ask("BGSAVE").starts_with("+Background saving") || client.ask("BGSAVE SCHEDULE").starts_with("+Background saving"));
    assert_eq!(client.ask("BGSAVE now"), "-ERR syntax error|");
    assert_eq!(client.ask("BGREWRITEAOF"), "+Background append only file rewriting started|");
}

#[test]
fn shutdown_ends_the_server_without_a_reply() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.ask("SHUTDOWN ABORT"), "-ERR No shutdown in progress.|");
    assert_eq!(client.ask("SHUTDOWN SAVE NOSAVE"), "-ERR syntax error|");
    client.send(&[b"SHUTDOWN", b"NOSAVE"]);
    assert!(client.is_closed());
}

#[test]
fn the_server_is_a_primary_without_replicas() {
    let server = Server::start();
    let mut client = server.connect();
    // The offset is the LSN of the last entry.
    let role = client.ask("ROLE");
    let offset = role.strip_prefix("*3|$6|master|:").and_then(|rest| rest.strip_suffix("|*0|")).unwrap();
    assert!(client.ask("INFO replication").contains(&format!("|master_repl_offset:{offset}|")), "{role}");
    assert!(client.ask("TIME").starts_with("*2|$10|"));
    assert!(client.ask("LOLWUT").contains("Esker ver. "));
}

#[test]
fn debug_helps_tests_and_can_be_forbidden() {
    let server = Server::start();
    let mut client = server.connect();
    client.ask("SET k v");
    for (request, reply) in [
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK|"),
        ("DEBUG CHANGE-REPL-ID", "+OK|"),
        ("DEBUG QUICKLIST-PACKED-THRESHOLD 100", "+OK|"),
        ("DEBUG RELOAD", "+OK|"),
        ("DEBUG STRINGMATCH-LEN 3 a*", ":1|"),
        ("DEBUG OBJECT none", "-ERR no such key|"),
        ("DEBUG ERROR MYERR text", "-ERR unknown subcommand or wrong number of arguments for 'ERROR'. Try DEBUG HELP.|"),
        ("DEBUG PROTOCOL double", "$5|3.141|"),
        ("DEBUG SEGFAULT", "-ERR unknown subcommand or wrong number of arguments for 'SEGFAULT'. Try DEBUG HELP.|"),
    ] {
        assert_eq!(client.ask(request), reply, "{request}");
    }
    assert!(client.ask("DEBUG OBJECT k").starts_with("+Value at:"));
    assert_eq!(client.ask("GET k"), "$1|v|");
    let closed = Server::with(&["--enable-debug-command", "no"]);
    assert!(closed.connect().ask("DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed."));
}

#[test]
fn commands_are_described() {
    let server = Server::start();
    let mut client = server.connect();
    let count: usize = client.ask("COMMAND COUNT").trim_matches([':', '|']).parse().unwrap();
    assert!(client.ask("COMMAND").starts_with(&format!("*{count}|*10|")));
    assert!(client.ask("COMMAND DOCS").starts_with(&format!("*{}|", count * 2)));
    assert_eq!(client.ask("COMMAND GETKEYS MSET a 1 b 2"), "*2|$1|a|$1|b|");
    assert_eq!(client.ask("COMMAND INFO nope"), "*1|$-1|");
    assert!(client.ask("COMMAND LIST FILTERBY ACLCAT bitmap").contains("|bitcount|"));
}
