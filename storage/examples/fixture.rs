//! Makes a data directory for `tests/fixtures`, with everything in it that the format knows so far, and beside it a list of what is in it.
//!
//! `cargo run -p esker-storage --example fixture -- tests/fixtures/v1` made the first one, at the first release of format version 1. A
//! fixture that is committed is never made again: later versions have to open it as it is. A new format version gets a new directory.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_storage::codec::checksum::crc;
use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::options::{Options, SyncMode};
use esker_storage::shard::{LockPlan, Shard, StorageError, Transaction};
use esker_storage::types::{Db, UnixMillis};

/// In the year 2100.
const FAR: i64 = 4_102_444_800_000;

type Model = BTreeMap<(u8, Vec<u8>), (Vec<u8>, Option<i64>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).ok_or("which directory?")?;
    if path.exists() {
        return Err(format!("{} exists: a fixture is never made again", path.display()).into());
    }
    fs::create_dir_all(&path)?;
    let mut model = Model::new();
    first_life(&path, &mut model)?;
    tear_the_end(&path)?;
    second_life(&path, &mut model)?;
    // What is derived, or belongs to a process.
    fs::remove_file(path.join("shard-0/index"))?;
    fs::remove_file(path.join("LOCK"))?;
    for entry in fs::read_dir(path.join("shard-0"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("spare-") {
            fs::remove_file(entry.path())?;
        }
    }
    fs::write(path.with_extension("expected"), list(&model))?;
    Ok(())
}

/// One line a key: database, key in hex, expiry, length and CRC-32 of the value.
fn list(model: &Model) -> String {
    let mut lines = String::from("# db key(hex) expire-at(ms) length crc32\n");
    for ((db, key), (value, expire)) in model {
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let expire = expire.map_or("-".to_owned(), |at| at.to_string());
        let _ = writeln!(lines, "{db} {} {expire} {} {:08x}", if key.is_empty() { "-" } else { &key }, value.len(), crc(0, value));
    }
    lines
}

/// Small segments keep the fixture small; values from a quarter of that on take a segment of their own.
fn open(path: &Path) -> Result<Shard, Box<dyn Error>> {
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(path)?);
    let options = Options { segment_size: 32 << 10, index_reserve: 1 << 30, sync: SyncMode::Always, ..Options::default() };
    Ok(Shard::open(&directory, options)?)
}

fn run(shard: &Shard, work: impl Fn(&mut Transaction<'_>) -> Result<(), StorageError>) -> Result<(), StorageError> {
    let mut plan = LockPlan::exclusive();
    plan.add_all();
    let batch = shard.batch();
    loop {
        let mut transaction = shard.begin(&batch, &plan);
        match work(&mut transaction) {
            Ok(()) => return transaction.commit().map(drop),
            Err(StorageError::Cold(location)) => {
                drop(transaction);
                batch.add_fetched(shard.fetch_now(location)?);
            }
            Err(error) => return Err(error),
        }
    }
}

fn put(shard: &Shard, model: &mut Model, db: u8, key: &[u8], value: &[u8], expire: Option<i64>) -> Result<(), StorageError> {
    run(shard, |txn| txn.put(Db(db), &shard.key(key), value, expire.map(UnixMillis)))?;
    model.insert((db, key.to_vec()), (value.to_vec(), expire));
    Ok(())
}

fn delete(shard: &Shard, model: &mut Model, db: u8, key: &[u8]) -> Result<(), StorageError> {
    run(shard, |txn| txn.delete(Db(db), &shard.key(key)).map(drop))?;
    model.remove(&(db, key.to_vec()));
    Ok(())
}

fn write_range(shard: &Shard, model: &mut Model, key: &[u8], offset: usize, bytes: &[u8]) -> Result<(), StorageError> {
    run(shard, |txn| txn.write_range(Db(0), &shard.key(key), offset as u64, bytes).map(drop))?;
    let (value, _) = model.entry((0, key.to_vec())).or_default();
    value.resize(value.len().max(offset + bytes.len()), 0);
    value[offset..offset + bytes.len()].copy_from_slice(bytes);
    Ok(())
}

fn set_expire(shard: &Shard, model: &mut Model, key: &[u8], expire: Option<i64>) -> Result<(), StorageError> {
    run(shard, |txn| txn.set_expire(Db(0), &shard.key(key), expire.map(UnixMillis)).map(drop))?;
    model.entry((0, key.to_vec())).and_modify(|found| found.1 = expire);
    Ok(())
}

fn pattern(len: usize, step: usize) -> Vec<u8> {
    (0..len).map(|n| (n / step % 251) as u8).collect()
}

/// Strings, expiries, deltas, value segments, several databases, a flush, a swap, a transaction, a checkpoint; ended by no clean stop.
fn first_life(path: &Path, model: &mut Model) -> Result<(), Box<dyn Error>> {
    let shard = open(path)?;
    for n in 0..400_u32 {
        put(&shard, model, 0, format!("key:{n}").as_bytes(), format!("value {n}").as_bytes(), (n % 5 == 0).then_some(FAR + i64::from(n)))?;
    }
    put(&shard, model, 0, b"", b"the empty key", None)?;
    put(&shard, model, 0, b"empty", b"", None)?;
    put(&shard, model, 0, b"\x00\xff binary \r\n", &pattern(256, 1), None)?;
    put(&shard, model, 0, b"{tag}a", b"1", None)?;
    put(&shard, model, 0, b"{tag}b", b"2", None)?;
    put(&shard, model, 0, b"large", &pattern(20_000, 7), None)?;
    put(&shard, model, 0, b"chain", &pattern(4000, 3), None)?;
    for n in 0..5 {
        write_range(&shard, model, b"chain", n * 900, b"delta")?;
        write_range(&shard, model, b"large", n * 5000, b"delta of a value segment")?;
    }
    write_range(&shard, model, b"chain", 4100, b"behind the end")?;
    set_expire(&shard, model, b"chain", Some(FAR))?;
    shard.checkpoint()?;
    for n in (0..400_u32).step_by(3) {
        delete(&shard, model, 0, format!("key:{n}").as_bytes())?;
    }
    for n in 0..50_u32 {
        put(&shard, model, 1, format!("flushed:{n}").as_bytes(), b"gone", None)?;
        put(&shard, model, 2, format!("swapped:{n}").as_bytes(), &pattern(n as usize, 1), None)?;
    }
    run(&shard, |txn| txn.flush(Db(1)))?;
    model.retain(|(db, _), _| *db != 1);
    run(&shard, |txn| txn.swap(Db(2), Db(15)))?;
    *model = std::mem::take(model).into_iter().map(|((db, key), found)| ((if db == 2 { 15 } else { db }, key), found)).collect();
    let moved = shard.key(b"{tag}c");
    run(&shard, |txn| {
        txn.put(Db(0), &moved, b"3", None)?;
        txn.delete(Db(0), &shard.key(b"{tag}a"))?;
        txn.put(Db(1), &shard.key(b"after the flush"), b"there", Some(UnixMillis(FAR)))
    })?;
    model.insert((0, b"{tag}c".to_vec()), (b"3".to_vec(), None));
    model.remove(&(0, b"{tag}a".to_vec()));
    model.insert((1, b"after the flush".to_vec()), (b"there".to_vec(), Some(FAR)));
    shard.flush_log()?;
    shard.abandon();
    Ok(())
}

/// Leaves half a frame behind the written end, as power loss does: the next start saves and cuts it.
fn tear_the_end(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut segments: Vec<PathBuf> =
        fs::read_dir(path.join("shard-0"))?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    segments.retain(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().contains('-') && name.to_string_lossy().ends_with(".seg"))
    });
    segments.sort();
    let last = segments.last().ok_or("no segment")?;
    let bytes = fs::read(last)?;
    let written = bytes.iter().rposition(|byte| *byte != 0).ok_or("an empty segment")? + 1;
    fs::OpenOptions::new()
        .write(true)
        .open(last)?
        .write_all_at(b"\x12\x34\x56\x78\x40\x00\x00\x00\x01\x00half a frame", written as u64 + 8)?;
    // So that the whole log is read.
    fs::remove_file(path.join("shard-0/index"))?;
    Ok(())
}

/// A second epoch, ended by a clean stop, and a third one with a single write.
fn second_life(path: &Path, model: &mut Model) -> Result<(), Box<dyn Error>> {
    let shard = open(path)?;
    set_expire(&shard, model, b"key:5", None)?;
    put(&shard, model, 0, b"key:1", b"in the second epoch", None)?;
    put(&shard, model, 15, b"large too", &pattern(9000, 11), Some(FAR))?;
    shard.close()?;
    drop(shard);
    let shard = open(path)?;
    put(&shard, model, 0, b"key:2", b"in the third epoch", None)?;
    shard.close()?;
    Ok(())
}
