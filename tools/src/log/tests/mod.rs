//! All commands over data directories written with the storage crate's own encoders.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::fs;
use std::path::PathBuf;

use clap::Parser;
use esker_storage::codec::content_hash::content_hash;
use esker_storage::codec::control::FlushedTable;
use esker_storage::codec::delta::{Delta, DeltaChange};
use esker_storage::codec::entry::single_len;
use esker_storage::codec::op::{Op, OpCode};
use esker_storage::manifest::SegmentEntry;
use esker_storage::segment::names::{FileName, MANIFEST};
use esker_storage::types::*;
use serde_json::Value;
use tempfile::TempDir;

use super::args::Command;
use super::directory::DataDirectory;
use super::{Args, LogError, Outcome, run, tail};

mod export;
mod writer;

use writer::Writer;

const TIME: i64 = 1_700_000_000_000;

fn put<'a>(table: u32, key: &'a str, value: &'a str) -> Op<'a> {
    Op::put(TableId(table), key.as_bytes(), value.as_bytes(), content_hash(value.as_bytes()))
}

/// LSN 1..=3 in a sealed segment, 4..=7 in the active one.
fn sample() -> Writer {
    let mut w = Writer::new();
    w.put("a", "one");
    w.put("b", "two");
    w.ops(&[put(0, "c", "three"), Op::tombstone(TableId(0), b"b")]);
    w.seal();
    w.put("a", "another one");
    w.op(&Op { expire_at: Some(UnixMillis(TIME)), ..put(1, "a", "in db 1") });
    w.mark(Lsn(5));
    let flush = FlushedTable::encode_all(&[FlushedTable { db: Db(1), old: TableId(1), new: TableId(16) }]);
    w.op(&Op::control(OpCode::FlushTables, &flush));
    w.op(&put(16, "a", "again in db 1"));
    w.store();
    w
}

fn lsns(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["lsn"].as_u64().unwrap()).collect()
}

#[test]
fn dump_prints_every_op_in_order() {
    let w = sample();
    let lines = w.json(&["dump", "--values"]);
    assert_eq!(lsns(&lines), [1, 2, 3, 3, 4, 5, 6, 7]);
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["put", "put", "put", "tombstone", "put", "put", "flush", "put"]);
    assert_eq!(
        (&lines[0]["key"], &lines[0]["value"], &lines[0]["db"], &lines[0]["slot"]),
        (&"a".into(), &"one".into(), &0.into(), &15495.into())
    );
    assert_eq!((&lines[3]["op"], &lines[3]["ops"]), (&1.into(), &2.into()));
    assert_eq!((&lines[5]["db"], &lines[5]["expire_at_ms"]), (&1.into(), &TIME.into()));
    assert_eq!((&lines[7]["table"], &lines[7]["db"]), (&16.into(), &1.into()));
    let text = w.run(&["dump", "--values", "--lsn", "5"]);
    assert_eq!(
        text,
        "5.0  2023-11-14T22:13:25.000Z  put        db 1  slot 15495  \"a\"  7 bytes  \"in db 1\"  expires 2023-11-14T22:13:20.000Z\n"
    );
}

#[test]
fn dump_prints_what_all_filters_let_through() {
    let w = sample();
    let found = |args: &[&str]| lsns(&w.json(&[&["dump"], args].concat()));
    assert_eq!(found(&["--lsn", "2..4"]), [2, 3, 3, 4]);
    assert_eq!(found(&["--lsn", "6.."]), [6, 7]);
    assert_eq!(found(&["--key", "[bc]"]), [2, 3, 3]);
    assert_eq!(found(&["--op", "tombstone,flush"]), [3, 6]);
    assert_eq!(found(&["--slot", "15495"]), [1, 4, 5, 7]);
    assert_eq!(found(&["--time", "2023-11-14T22:13:23Z..2023-11-14T22:13:24.500Z"]), [3, 3, 4]);
    assert_eq!(found(&["--key", "a", "--lsn", "..4", "--op", "put"]), [1, 4]);
    assert_eq!(found(&["--time", "-1h.."]), [] as [u64; 0]);
}

#[test]
fn keys_that_are_no_text_are_shown_in_hexadecimal() {
    let mut w = Writer::new();
    w.op(&Op::put(TableId(0), b"\xff\n", b"v", 0));
    w.store();
    assert_eq!(w.json(&["dump"])[0]["key_hex"], "ff0a");
    assert!(w.run(&["dump"]).contains(r#""\xff\n""#));
}

#[test]
fn ls_tells_live_from_dead() {
    let w = sample();
    let rows = w.json(&["ls"]);
    assert_eq!(rows.len(), 2);
    let field = |row: usize, name: &str| rows[row][name].as_u64().unwrap();
    assert_eq!((&rows[0]["state"], &rows[1]["state"]), (&"sealed".into(), &"active".into()));
    assert_eq!([field(0, "first_lsn"), field(0, "last_lsn"), field(1, "first_lsn"), field(1, "last_lsn")], [1, 3, 4, 7]);
    // Of the first segment only c is live, which shares its entry with a tombstone.
    assert_eq!(field(0, "live"), put(0, "c", "three").encoded_len(true) as u64);
    let live = single_len(&put(0, "a", "another one")) + single_len(&put(16, "a", "again in db 1"));
    assert_eq!((field(1, "live"), field(1, "bytes")), (live as u64, w.bytes.len() as u64));
    assert_eq!(field(1, "dead"), field(1, "bytes") - field(1, "live"));
    assert_eq!(w.run(&["ls"]).lines().count(), 3);
}

#[test]
fn stat_counts_live_keys() {
    let w = sample();
    let stat = &w.json(&["stat"])[0];
    assert_eq!((stat["keys"].as_u64(), stat["bytes"].as_u64()), (Some(3), Some(1 + 11 + 1 + 5 + 1 + 13)));
    assert_eq!((&stat["databases"][0]["keys"], &stat["databases"][1]["keys"]), (&2.into(), &1.into()));
    assert!((0.1..0.9).contains(&stat["live_ratio"].as_f64().unwrap()));
    assert!(w.run(&["stat"]).contains("<= 16 B"));
}

#[test]
fn history_follows_a_key_through_databases_and_flushes() {
    let w = sample();
    assert_eq!(lsns(&w.json(&["history", "a"])), [1, 4, 5, 6, 7]);
    assert_eq!(lsns(&w.json(&["history", "b"])), [2, 3, 6]);
    assert_eq!(lsns(&w.json(&["history", "a", "--db", "0"])), [1, 4, 6]);
    assert_eq!(w.run(&["history", "nobody"]), "");
}

#[test]
fn tail_prints_the_last_ops() {
    let w = sample();
    assert_eq!(lsns(&w.json(&["tail", "-n", "3"])), [5, 6, 7]);
    assert_eq!(lsns(&w.json(&["tail", "-n", "2", "--key", "b"])), [2, 3]);
    assert_eq!(w.json(&["tail", "-n", "100"]).len(), 8);
}

#[test]
fn tail_follows_the_log_into_the_next_segment() {
    let mut w = sample();
    let dir = w.dir.path().to_owned();
    let args = Args::try_parse_from(["esker-log", "--dir", dir.to_str().unwrap(), "tail", "-f", "-n", "1", "--json"]).unwrap();
    let Command::Tail(options) = &args.command else { panic!("not tail") };
    let mut out = Vec::new();
    let mut step = 0;
    let mut wait = || {
        step += 1;
        match step {
            1 => {
                // Half of an entry, as a reader may find it.
                w.put("new", "x");
                let whole = w.bytes.clone();
                w.bytes.truncate(whole.len() - 3);
                w.store();
                w.bytes = whole;
            }
            2 => w.store(),
            3 => {
                w.put("last of the segment", "y");
                w.mark(Lsn(9));
                w.seal();
                w.put("first of the next", "z");
                w.store();
            }
            _ => {}
        }
        step < 8
    };
    tail::run_with(&DataDirectory::open(args.dir.as_deref().unwrap()).unwrap(), options, &mut out, &mut wait).unwrap();
    let lines: Vec<Value> = String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lsns(&lines), [7, 8, 9, 10]);
    assert_eq!(lines[3]["key"], "first of the next");
}

#[test]
fn sound_directory_passes() {
    let (outcome, text) = sample().try_run(&["verify"]).unwrap();
    assert_eq!(
        (outcome, text.as_str()),
        (Outcome::Sound, &*format!("sound: 2 segments, 7 entries, 8 ops, {} bytes checked\n", checked(&sample())))
    );
}

fn checked(w: &Writer) -> u64 {
    w.manifest.segments.iter().map(|s| fs::metadata(segment_path(w, s)).unwrap().len()).sum()
}

fn segment_path(w: &Writer, entry: &SegmentEntry) -> PathBuf {
    w.dir.path().join("shard-0").join(FileName::Segment(entry.base, entry.generation).to_string())
}

fn flip(path: &PathBuf, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn any_changed_byte_of_a_sealed_segment_is_found_and_placed() {
    let w = sample();
    let path = segment_path(&w, &w.manifest.segments[0]);
    let len = fs::metadata(&path).unwrap().len() as usize;
    for offset in (0..len).step_by(7) {
        flip(&path, offset);
        let (outcome, text) = w.try_run(&["verify"]).unwrap();
        assert_eq!(outcome, Outcome::Damaged, "byte {offset}");
        assert!(text.contains(path.to_str().unwrap()) && text.contains(" offset ") && text.contains(" LSN "), "{text}");
        flip(&path, offset);
    }
    assert_eq!(w.try_run(&["verify"]).unwrap().0, Outcome::Sound);
}

#[test]
fn manifest_damage_is_found() {
    let w = sample();
    let path = w.dir.path().join("shard-0").join(MANIFEST);
    flip(&path, 40);
    let (outcome, text) = w.try_run(&["verify"]).unwrap();
    assert!(outcome == Outcome::Damaged && text.contains("MANIFEST"), "{text}");
    assert!(matches!(w.try_run(&["dump"]), Err(LogError::Storage(_))));
}

#[test]
fn missing_segments_and_gaps_are_found() {
    let w = sample();
    fs::remove_file(segment_path(&w, &w.manifest.segments[0])).unwrap();
    let (outcome, text) = w.try_run(&["verify"]).unwrap();
    assert!(outcome == Outcome::Damaged && text.contains("missing"), "{text}");

    let mut gap = sample();
    gap.seal();
    gap.manifest.segments.remove(1);
    gap.store();
    let (outcome, text) = gap.try_run(&["verify"]).unwrap();
    assert!(outcome == Outcome::Damaged && text.contains("ends before LSN 4"), "{text}");
}

#[test]
fn tail_is_torn_above_the_flushed_lsn_and_damaged_below() {
    let w = sample();
    let path = w.path();
    // Below the flush mark at LSN 5: the body of LSN 4.
    flip(&path, 128 + 50);
    let (outcome, text) = w.try_run(&["verify"]).unwrap();
    assert!(outcome == Outcome::Damaged && text.contains("LSN 4") && text.contains("up to LSN 5 was flushed"), "{text}");
    flip(&path, 128 + 50);
    // The last byte of LSN 7 is above it.
    flip(&path, w.bytes.len() - 1);
    let (outcome, text) = w.try_run(&["verify"]).unwrap();
    assert_eq!(outcome, Outcome::Sound, "{text}");
    assert!(text.contains("note:") && text.contains("LSN 7") && text.contains("torn tail"), "{text}");
    // What can be read is read.
    assert_eq!(lsns(&w.json(&["dump", "--lsn", "5.."])), [5, 6]);
}

#[test]
fn damage_below_the_flushed_lsn_of_a_clean_stop_is_damage() {
    let mut w = sample();
    w.manifest.clean_stop = Some(esker_storage::manifest::CleanStop { incarnation: Incarnation(1), flushed: Lsn(7) });
    w.store();
    flip(&w.path(), w.bytes.len() - 1);
    let (outcome, text) = w.try_run(&["verify"]).unwrap();
    assert!(outcome == Outcome::Damaged && text.contains("up to LSN 7 was flushed"), "{text}");
}

#[test]
fn chains_of_deltas_are_live_as_a_whole_and_must_be_complete() {
    let mut w = Writer::new();
    let base = w.put("k", "0123456789");
    w.seal();
    let delta = |base_lsn| Delta {
        base_lsn,
        base_op: 0,
        depth: 1,
        total_len: 12,
        chain_bytes: 2,
        change: DeltaChange::Write { offset: 10, bytes: b"ab" },
    };
    let head = delta(base).encode_head();
    w.op(&Op::delta(TableId(0), b"k", &head, b"ab", content_hash(b"0123456789ab")));
    w.store();
    let rows = w.json(&["ls"]);
    assert!(rows.iter().all(|row| row["live"].as_u64().unwrap() > 0));
    assert_eq!(w.json(&["stat"])[0]["bytes"], 13);
    assert_eq!(w.try_run(&["verify"]).unwrap().0, Outcome::Sound);

    let head = delta(Lsn(1)).encode_head();
    w.op(&Op::delta(TableId(0), b"k", &head, b"ab", 0));
    w.store();
    let (outcome, text) = w.try_run(&["verify"]).unwrap();
    assert!(outcome == Outcome::Damaged && text.contains("a delta on LSN 1"), "{text}");
}

#[test]
fn value_segments_are_checked_block_by_block() {
    let mut w = Writer::new();
    let value: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
    let reference = w.value_segment(0xabc, &value);
    let body = reference.encode();
    w.op(&Op { value_segment: true, ..Op::put(TableId(0), b"big", &body, content_hash(&value)) });
    w.store();
    assert_eq!(w.try_run(&["verify"]).unwrap().0, Outcome::Sound);
    assert_eq!(w.json(&["stat"])[0]["bytes"], 200_003);
    assert!(w.json(&["ls"])[1]["live"].as_u64().unwrap() > 200_000);
    assert_eq!(w.json(&["dump"])[0]["value_len"], 200_000);

    let path = w.dir.path().join("shard-0").join(FileName::Value(0xabc).to_string());
    for offset in [5, 200, 128 + 70_000, 128 + 200_000 + 3, 128 + 200_000 + 20, 128 + 200_000 + 30] {
        flip(&path, offset);
        assert_eq!(w.try_run(&["verify"]).unwrap().0, Outcome::Damaged, "byte {offset}");
        flip(&path, offset);
    }
    fs::remove_file(&path).unwrap();
    let (outcome, text) = w.try_run(&["verify"]).unwrap();
    assert!(outcome == Outcome::Damaged && text.contains("missing"), "{text}");

    // One that no entry names yet may be unfinished.
    w.value_segment(0xabc, &value);
    w.value_segment(0xdef, &value);
    flip(&w.dir.path().join("shard-0").join(FileName::Value(0xdef).to_string()), 200);
    let (outcome, text) = w.try_run(&["verify"]).unwrap();
    assert!(outcome == Outcome::Sound && text.contains("note:"), "{text}");
}

#[test]
fn active_segment_that_the_manifest_only_reserves_is_read() {
    let mut w = sample();
    let entry = w.manifest.segments.pop().unwrap();
    w.manifest.identity.spare = Some(entry.generation);
    w.store();
    assert_eq!(w.json(&["dump"]).len(), 8);
    // The same before it was renamed.
    let spare = w.dir.path().join("shard-0").join(FileName::Spare(entry.generation).to_string());
    fs::rename(segment_path(&w, &entry), &spare).unwrap();
    assert_eq!(w.json(&["dump"]).len(), 8);
    assert_eq!(w.try_run(&["verify"]).unwrap().0, Outcome::Sound);
    // A spare that was not begun is none of the log.
    fs::write(&spare, vec![0; 4096]).unwrap();
    assert_eq!(w.json(&["dump"]).len(), 4);
}

#[test]
fn other_directories_are_refused() {
    let dir = TempDir::new().unwrap();
    let args = Args::try_parse_from(["esker-log", "--dir", dir.path().to_str().unwrap(), "ls"]).unwrap();
    assert!(matches!(run(&args, &mut Vec::new()), Err(LogError::NotADataDirectory { .. })));
}
