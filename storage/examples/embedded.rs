//! The storage without a network: a shard in a directory, single writes, a transaction over several keys, a batch with expiry, a scan, a
//! checkpoint, a clean stop, and a second start that finds everything.
//!
//! `cargo run -p esker-storage --example embedded [directory]`

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::options::{Options, SyncMode};
use esker_storage::shard::{LockPlan, Shard};
use esker_storage::types::{Db, UnixMillis};

/// The database of all keys here.
const DB: Db = Db(0);

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let path = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), Into::into);

    let shard = open(&path)?;
    println!("{:?}", shard.recovery_report());
    put(&shard, b"greeting", b"hello")?;
    println!("greeting = {:?}", get(&shard, b"greeting")?);
    put(&shard, b"from", b"100")?;
    put(&shard, b"to", b"0")?;
    transfer(&shard, b"from", b"to", 30)?;
    put_many(&shard, 1000)?;
    println!("a scan finds {} keys", count(&shard)?);

    println!("a checkpoint, from which replay would start at LSN {}", shard.checkpoint()?);
    shard.flush_log()?;
    println!("written up to LSN {}, on the medium up to {}", shard.written_lsn(), shard.flushed_lsn());
    shard.close()?;
    drop(shard);

    let shard = open(&path)?;
    let report = shard.recovery_report();
    println!("{} keys back after a {} stop, in {:?}", report.keys, report.kind.name(), report.duration);
    println!("from = {:?}, to = {:?}", get(&shard, b"from")?, get(&shard, b"to")?);
    Ok(())
}

fn open(path: &Path) -> Result<Shard, Box<dyn Error>> {
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(path)?);
    Ok(Shard::open(&directory, Options { sync: SyncMode::EverySec, ..Options::default() })?)
}

/// Sets one key: a transaction of one write.
fn put(shard: &Shard, key: &[u8], value: &[u8]) -> Result<(), Box<dyn Error>> {
    let key = shard.key(key);
    let mut plan = LockPlan::exclusive();
    plan.add(&key);
    let batch = shard.batch();
    let mut transaction = shard.begin(&batch, &plan);
    transaction.put(DB, &key, value, None)?;
    transaction.commit()?;
    Ok(())
}

/// Reads one key.
fn get(shard: &Shard, key: &[u8]) -> Result<Option<String>, Box<dyn Error>> {
    let key = shard.key(key);
    let mut plan = LockPlan::shared();
    plan.add(&key);
    let batch = shard.batch();
    let transaction = shard.begin(&batch, &plan);
    let value = transaction.get(DB, &key)?;
    Ok(value.map(|object| String::from_utf8_lossy(&object.data).into_owned()))
}

/// Reads two keys and writes both, in one entry of the log: after a crash there are both changes, or none.
fn transfer(shard: &Shard, from: &[u8], to: &[u8], amount: i64) -> Result<(), Box<dyn Error>> {
    let (from, to) = (shard.key(from), shard.key(to));
    let mut plan = LockPlan::exclusive();
    plan.add(&from);
    plan.add(&to);
    let batch = shard.batch();
    let mut transaction = shard.begin(&batch, &plan);
    for (key, change) in [(&from, -amount), (&to, amount)] {
        let old = transaction.get(DB, key)?.ok_or("no such account")?;
        let new = str::from_utf8(&old.data)?.parse::<i64>()? + change;
        transaction.put(DB, key, new.to_string().as_bytes(), None)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Sets many keys that expire: one reading of the clock for all, a transaction for each.
fn put_many(shard: &Shard, keys: u32) -> Result<(), Box<dyn Error>> {
    let batch = shard.batch();
    let expire_at = UnixMillis(batch.now().0 + 3_600_000);
    for number in 0..keys {
        let name = format!("session:{number}");
        let key = shard.key(name.as_bytes());
        let mut plan = LockPlan::exclusive();
        plan.add(&key);
        let mut transaction = shard.begin(&batch, &plan);
        transaction.put(DB, &key, b"token", Some(expire_at))?;
        transaction.commit()?;
    }
    Ok(())
}

/// Walks over all keys, some at a time; between two steps others may write.
fn count(shard: &Shard) -> Result<usize, Box<dyn Error>> {
    let mut plan = LockPlan::shared();
    plan.add_all();
    let (mut cursor, mut keys) = (0, 0);
    loop {
        let batch = shard.batch();
        cursor = shard.begin(&batch, &plan).scan(DB, cursor, 100, &mut |_key, _metadata| keys += 1)?;
        if cursor == 0 {
            return Ok(keys);
        }
    }
}
