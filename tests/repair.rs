//! `esker-log repair` on directories of the real server that were damaged: it opens again, what is sound is there, and what is lost is told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use esker_storage::history::HistoryError;
use esker_storage::segment::SegmentHeader;
use esker_storage::segment::names::FileName;
use esker_tools::log::{Args, LogError, Outcome, run};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use common::{Connection, Server};

type State = BTreeMap<Vec<u8>, Vec<u8>>;

fn log(dir: &Path, words: &[&str]) -> Result<(Outcome, String), LogError> {
    let args = [&["esker-log", "--dir", dir.to_str().unwrap()], words].concat();
    let mut out = Vec::new();
    let outcome = run(&Args::try_parse_from(args).unwrap(), &mut out)?;
    Ok((outcome, String::from_utf8_lossy(&out).into_owned()))
}

fn dump(dir: &Path, words: &[&str]) -> Vec<Value> {
    let text = log(dir, &[&["dump", "--json"], words].concat()).unwrap().1;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn state(connection: &mut Connection) -> State {
    connection.send(&[b"KEYS", b"*"]);
    let keys = connection.bulks();
    let get = |key: Vec<u8>| {
        connection.send(&[b"MGET", &key]);
        (key, connection.bulks().remove(0))
    };
    keys.into_iter().map(get).collect()
}

/// The files of the log in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir.join("shard-0")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| matches!(FileName::parse(path.file_name().unwrap().to_str().unwrap()), Some(FileName::Segment(..))));
    found.sort();
    found
}

fn files(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir.join("shard-0")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    found.sort();
    found
}

fn change(path: &Path, offset: usize, len: usize, byte: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset..offset + len].iter_mut().for_each(|at| *at ^= byte);
    fs::write(path, bytes).unwrap();
}

/// The newest record of a key that is a put: its segment, offset and LSN.
fn newest(dir: &Path, key: &str) -> (PathBuf, usize, u64) {
    let records = dump(dir, &["--key", key]);
    let record = records.last().unwrap();
    let path = dir.join("shard-0").join(record["segment"].as_str().unwrap());
    (path, record["offset"].as_u64().unwrap() as usize, record["lsn"].as_u64().unwrap())
}

/// A stopped server's directory of several segments, with what it held.
fn filled() -> (Server, State) {
    let mut server = Server::with(&["--segment-size", "1mb"]);
    let mut connection = server.connect();
    let mut rng = StdRng::seed_from_u64(3);
    for round in 0..3 {
        for number in 0..2000 {
            let value = format!("{round}:{}", "v".repeat(rng.random_range(0..900)));
            connection.send(&[b"SET", format!("key:{number}").as_bytes(), value.as_bytes()]);
            assert_eq!(connection.reply(), "+OK|");
        }
        assert_eq!(connection.ask("MSET pair:a old pair:b old"), "+OK|");
    }
    assert_eq!(connection.ask("MSET pair:a new pair:b new"), "+OK|");
    assert_eq!(connection.ask("SET only once"), "+OK|");
    assert_eq!(connection.ask("SET chain start"), "+OK|");
    assert_eq!(connection.ask("SET chain again"), "+OK|");
    assert_eq!(connection.ask("SET last one"), "+OK|");
    let state = state(&mut connection);
    server.terminate();
    assert!(segments(server.dir()).len() > 2);
    (server, state)
}

/// Repairs, demands that this was needed and worked, and returns the report.
fn repaired(dir: &Path) -> String {
    let before: Vec<_> = segments(dir).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let (outcome, dry) = log(dir, &["repair"]).unwrap();
    assert!(outcome == Outcome::Damaged && dry.contains("nothing was changed: --apply does it"), "{dry}");
    assert!(before.iter().all(|(path, bytes)| fs::read(path).unwrap() == *bytes), "a dry run changed something");
    let (outcome, applied) = log(dir, &["repair", "--apply"]).unwrap();
    assert!(outcome == Outcome::Sound && applied.starts_with(dry.split("nothing was changed").next().unwrap()), "{dry}\n{applied}");
    let (outcome, again) = log(dir, &["repair"]).unwrap();
    assert!(outcome == Outcome::Sound && again.contains("nothing to repair"), "{again}");
    applied
}

/// Starts the server again: what it holds now. It can be written to, stopped, killed and started again.
fn reopened(server: &mut Server) -> State {
    server.restart();
    let mut connection = server.connect();
    let found = state(&mut connection);
    assert_eq!(connection.ask("SET after repair"), "+OK|");
    server.kill();
    server.restart();
    assert_eq!(server.connect().ask("GET after"), "$6|repair|");
    server.terminate();
    assert_eq!(log(server.dir(), &["verify"]).unwrap().0, Outcome::Sound);
    found
}

#[test]
fn one_damaged_record_of_a_sealed_segment_goes_back_and_all_others_stay() {
    let (mut server, mut expected) = filled();
    let (path, offset, lsn) = newest(server.dir(), "key:100");
    assert_ne!(Some(&path), segments(server.dir()).last(), "a sealed segment");
    change(&path, offset + 40, 3, 0x55);
    let report = repaired(server.dir());
    assert!(report.contains(&format!("the entry of LSN {lsn}: checksum mismatch")), "{report}");
    assert!(report.contains("key \"key:100\" of database 0 goes back to what it was at LSN"), "{report}");
    assert!(!report.contains("may be wrong") && !report.contains("other keys"), "the footer's hints make it certain: {report}");

    let saved = files(server.dir(), "corrupt-");
    assert_eq!(saved.len(), 1);
    let shown = log(server.dir(), &["dump", saved[0].to_str().unwrap()]).unwrap().1;
    assert!(
        shown.starts_with("DAMAGED (checksum mismatch)") && shown.contains(&format!("{lsn}.0")) && shown.contains("\"key:100\""),
        "{shown}"
    );

    let found = reopened(&mut server);
    assert!(found[&b"key:100"[..]].starts_with(b"1:") && expected[&b"key:100"[..]].starts_with(b"2:"));
    expected.insert(b"key:100".to_vec(), found[&b"key:100"[..]].clone());
    assert!(found == expected);
    // What the log was before the damage cannot be told any more.
    assert!(matches!(log(server.dir(), &["export", "--lsn", &lsn.to_string()]), Err(LogError::History(HistoryError::BelowHorizon { .. }))));
}

#[test]
fn damage_below_what_was_flushed_in_the_active_segment_is_set_aside_too() {
    let (mut server, mut expected) = filled();
    let (path, offset, _) = newest(server.dir(), "pair:b");
    assert_eq!(Some(&path), segments(server.dir()).last(), "the active segment");
    change(&path, offset + 31, 1, 0xff);
    let report = repaired(server.dir());
    assert!(report.contains("\"pair:a\" of database 0 goes back") && report.contains("\"pair:b\" of database 0 goes back"), "{report}");
    assert!(report.contains("other keys may have gone back too"), "there is no footer: {report}");
    let found = reopened(&mut server);
    for key in [b"pair:a", b"pair:b"] {
        expected.insert(key.to_vec(), b"old".to_vec());
    }
    assert!(found == expected, "an entry goes as a whole");
}

#[test]
fn a_key_that_the_log_knows_nothing_else_of_is_gone() {
    let (mut server, mut expected) = filled();
    let (path, offset, _) = newest(server.dir(), "only");
    change(&path, offset + 22, 1, 0x10);
    let report = repaired(server.dir());
    assert!(report.contains("is gone: the log holds nothing else of it"), "{report}");
    expected.remove(&b"only"[..]);
    assert!(reopened(&mut server) == expected);
}

#[test]
fn a_lost_sector_is_filled_and_its_keys_are_named() {
    let (mut server, expected) = filled();
    let (path, offset, _) = newest(server.dir(), "key:20");
    let mut bytes = fs::read(&path).unwrap();
    let sector = offset / 512 * 512;
    bytes[sector..sector + 4096].fill(0);
    fs::write(&path, bytes).unwrap();
    let report = repaired(server.dir());
    assert!(report.contains("the entries of LSNs"), "{report}");
    let found = reopened(&mut server);
    assert_eq!(found.len(), expected.len());
    let different: Vec<_> = expected.iter().filter(|(key, value)| found[*key] != **value).map(|(key, _)| key).collect();
    assert!(different.len() > 3 && different.len() < 40, "{} {report}", different.len());
    for key in &different {
        assert!(report.contains(&format!("key \"{}\" of database 0 goes back", key.escape_ascii())), "{} {report}", key.escape_ascii());
    }
    assert_eq!(report.matches("goes back").count(), different.len(), "{report}");
}

#[test]
fn changes_of_what_is_lost_go_with_it() {
    let mut server = Server::start();
    let mut connection = server.connect();
    let long = "x".repeat(5000);
    assert_eq!(connection.ask("SET chain before"), "+OK|");
    assert_eq!(connection.ask(&format!("SET chain {long}")), "+OK|");
    for piece in 0..3 {
        connection.ask(&format!("APPEND chain {piece}"));
    }
    assert_eq!(connection.ask("SET other value"), "+OK|");
    for line in ["MULTI", "APPEND chain 3", "SET within multi", "EXEC"] {
        connection.ask(line);
    }
    server.terminate();
    let records = dump(server.dir(), &["--key", "chain"]);
    let kinds: Vec<_> = records.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["put", "put", "delta", "delta", "delta", "delta"]);
    change(&segments(server.dir())[0], records[1]["offset"].as_u64().unwrap() as usize + 1000, 1, 1);
    let report = repaired(server.dir());
    assert!(report.contains("\"chain\" of database 0 goes back to what it was at LSN 2"), "{report}");
    assert_eq!(files(server.dir(), "corrupt-").len(), 5, "the record, and four changes of it");
    let found = reopened(&mut server);
    let expected = [("chain", "before"), ("other", "value"), ("within", "multi")];
    assert!(found == expected.map(|(key, value)| (key.into(), value.into())).into());
}

#[test]
fn footers_and_headers_are_made_again_without_a_loss() {
    let (mut server, expected) = filled();
    let all = segments(server.dir());
    let end = fs::metadata(&all[0]).unwrap().len() as usize;
    change(&all[0], end - 30, 1, 1);
    change(&all[1], 60, 4, 0xff);
    let report = repaired(server.dir());
    assert!(report.contains("damaged header") && report.contains("no entry"), "{report}");
    assert!(!report.contains("goes back") && !report.contains("is gone"), "{report}");
    assert!(reopened(&mut server) == expected);
}

#[test]
fn the_end_of_a_sealed_segment_can_be_lost() {
    let (mut server, expected) = filled();
    let path = &segments(server.dir())[0];
    let len = fs::metadata(path).unwrap().len();
    fs::File::options().write(true).open(path).unwrap().set_len(len - 40_000).unwrap();
    let report = repaired(server.dir());
    assert!(report.contains("the entries of LSNs"), "{report}");
    assert!(reopened(&mut server).len() == expected.len(), "all keys were written a second time");
}

#[test]
fn a_torn_tail_is_cut_as_a_start_would() {
    let mut server = Server::with(&["--appendfsync", "no"]);
    let mut connection = server.connect();
    assert_eq!(connection.ask("SET a 1"), "+OK|");
    assert_eq!(connection.ask("SET b 2"), "+OK|");
    server.kill();
    let (path, offset, lsn) = newest(server.dir(), "b");
    change(&path, offset + 10, 1, 1);
    let report = repaired(server.dir());
    assert!(report.contains("torn tail") && report.contains(&format!("from LSN {lsn} on")), "{report}");
    let saved = files(server.dir(), "torn-");
    assert_eq!(saved.len(), 1);
    let shown = log(server.dir(), &["dump", saved[0].to_str().unwrap()]).unwrap().1;
    assert!(shown.contains("DAMAGED"), "{shown}");
    assert!(reopened(&mut server) == [(b"a".to_vec(), b"1".to_vec())].into());
}

#[test]
fn a_running_server_is_left_alone() {
    let server = Server::start();
    assert_eq!(server.connect().ask("SET a 1"), "+OK|");
    let error = log(server.dir(), &["repair", "--apply"]).unwrap_err().to_string();
    assert!(error.contains("is in use by process") && error.contains("stopped server only"), "{error}");
}

#[test]
fn the_index_is_removed_on_demand_and_comes_back() {
    let (mut server, expected) = filled();
    let index = server.dir().join("shard-0/index");
    assert!(log(server.dir(), &["repair", "--rebuild-index"]).unwrap().1.contains("--apply does it") && index.exists());
    assert!(log(server.dir(), &["repair", "--rebuild-index", "--apply"]).unwrap().1.contains("removed the index") && !index.exists());
    assert!(reopened(&mut server) == expected);
}

#[test]
fn a_lost_flush_or_swap_is_not_repaired_by_a_guess() {
    let mut server = Server::start();
    let mut connection = server.connect();
    for line in ["SET a 1", "FLUSHDB", "SET a 2", "SWAPDB 0 1"] {
        assert_eq!(connection.ask(line), "+OK|");
    }
    server.terminate();
    let path = &segments(server.dir())[0];
    for kind in ["flush", "swap"] {
        let offset = dump(server.dir(), &["--op", kind])[0]["offset"].as_u64().unwrap() as usize;
        for byte in [0, 10] {
            change(path, offset + byte, 1, 1);
            let before = fs::read(path).unwrap();
            let error = log(server.dir(), &["repair", "--apply"]).unwrap_err().to_string();
            assert!(error.contains("a FLUSHDB, FLUSHALL or SWAPDB is lost there"), "{error}");
            assert!(fs::read(path).unwrap() == before);
            change(path, offset + byte, 1, 1);
        }
    }
}

/// A server whose log was cleaned, and what it holds.
fn cleaned() -> (Server, State) {
    let server = Server::with(&["--segment-size", "1mb"]);
    let mut connection = server.connect();
    let mut rng = StdRng::seed_from_u64(4);
    for round in 0..6 {
        for number in 0..1500 {
            // Every fourth key is written in the first round only, and stays among what is dead.
            if round > 0 && number % 4 == 0 {
                continue;
            }
            let value = format!("{round}:{}", "v".repeat(rng.random_range(0..900)));
            let key = format!("key:{number}");
            match number % 10 {
                7 => connection.send(&[b"APPEND", key.as_bytes(), b"more"]),
                9 if round == 3 => connection.send(&[b"DEL", key.as_bytes()]),
                3 => connection.send(&[b"MSET", key.as_bytes(), value.as_bytes(), b"shared", value.as_bytes()]),
                _ => connection.send(&[b"SET", key.as_bytes(), value.as_bytes()]),
            }
            assert!(!connection.reply().starts_with('-'));
        }
    }
    let field = |connection: &mut Connection, name: &str| {
        let info = connection.ask("INFO persistence");
        let value = info.split('|').find_map(|line| line.strip_prefix(&format!("{name}:")).map(str::to_owned));
        value.unwrap().parse::<u64>().unwrap()
    };
    let deadline = std::time::Instant::now() + common::PATIENCE;
    while field(&mut connection, "clean_jobs") == 0 {
        assert!(std::time::Instant::now() < deadline, "nothing is cleaned");
        // Only what is below a checkpoint is cleaned. Either may be under way already.
        let _ = (connection.ask("BGSAVE"), connection.ask("BGREWRITEAOF"));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    while field(&mut connection, "aof_rewrite_in_progress") == 1 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let state = state(&mut connection);
    (server, state)
}

#[test]
fn a_log_that_was_cleaned_is_verified_exported_and_repaired_like_any_other() {
    let (mut server, mut expected) = cleaned();
    let exported = |server: &Server| -> State {
        let text = log(server.dir(), &["export", "--format", "json"]).unwrap().1;
        let objects = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        objects.map(|object| (object["key"].as_str().unwrap().into(), object["value"].as_str().unwrap().into())).collect()
    };
    let (outcome, text) = log(server.dir(), &["verify"]).unwrap();
    assert!(outcome == Outcome::Sound && exported(&server) == expected, "{text}");
    server.terminate();
    let (outcome, text) = log(server.dir(), &["verify"]).unwrap();
    assert!(outcome == Outcome::Sound && exported(&server) == expected, "{text}");
    assert!(matches!(log(server.dir(), &["export", "--lsn", "10"]), Err(LogError::History(HistoryError::BelowHorizon { .. }))));

    // The only record of this key, in a segment with gaps.
    let (path, offset, lsn) = newest(server.dir(), "key:100");
    assert!(SegmentHeader::decode(&fs::read(&path).unwrap()).unwrap().cleaned);
    change(&path, offset + 25, 1, 1);
    let report = repaired(server.dir());
    assert!(report.contains(&format!("LSN {lsn}")) || report.contains("the entries of LSNs"), "{report}");
    assert!(report.contains("is gone: the log holds nothing else of it"), "{report}");
    expected.remove(&b"key:100"[..]);
    assert!(reopened(&mut server) == expected);
}
