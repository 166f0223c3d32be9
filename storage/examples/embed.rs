//! The storage without a server: writes, a transaction, a restart. `cargo run -p esker-storage --example embed [DIRECTORY]`

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::options::Options;
use esker_storage::shard::{LockPlan, Shard, StorageError};
use esker_storage::types::Db;

const DB: Db = Db(0);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map_or_else(|| std::env::temp_dir().join("esker-embed"), PathBuf::from);
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(&path)?);
    println!("data in {}", path.display());

    let shard = Shard::open(&directory, Options::default())?;
    println!("found: {} keys, {} start", shard.recovery_report().keys, shard.recovery_report().kind.name());
    transfer(&shard, 10)?;
    // On the medium before going on; a reply of a server with `appendfsync always` waits for this.
    shard.flush_log()?;
    shard.close()?;
    drop(shard);

    let shard = Shard::open(&directory, Options::default())?;
    println!(
        "again: {} keys, {} start in {:?}",
        shard.recovery_report().keys,
        shard.recovery_report().kind.name(),
        shard.recovery_report().duration
    );
    println!("alice has {}, bob has {}", balance(&shard, b"alice")?, balance(&shard, b"bob")?);
    Ok(())
}

/// Moves an amount from one key to another: both change, or neither, whatever happens.
fn transfer(shard: &Shard, amount: i64) -> Result<(), StorageError> {
    let (alice, bob) = (shard.key(b"alice"), shard.key(b"bob"));
    let mut plan = LockPlan::exclusive();
    plan.add(&alice);
    plan.add(&bob);
    let batch = shard.batch();
    loop {
        let mut transaction = shard.begin(&batch, &plan);
        let done = (|| {
            for (key, change) in [(&alice, -amount), (&bob, amount)] {
                let old = transaction.get(DB, key)?.map_or(100, |object| number(&object.data));
                transaction.put(DB, key, (old + change).to_string().as_bytes(), None)?;
            }
            Ok(())
        })();
        match done {
            Ok(()) => return transaction.commit().map(drop),
            // Not in memory: fetched without holding a lock, then the transaction is run again.
            Err(StorageError::Cold(location)) => {
                drop(transaction);
                batch.add_fetched(shard.fetch_now(location)?);
            }
            Err(error) => return Err(error),
        }
    }
}

fn balance(shard: &Shard, key: &[u8]) -> Result<i64, StorageError> {
    let key = shard.key(key);
    let mut plan = LockPlan::shared();
    plan.add(&key);
    let batch = shard.batch();
    loop {
        let found = shard.begin(&batch, &plan).get(DB, &key).map(|object| object.map(|object| number(&object.data)));
        match found {
            Ok(found) => return Ok(found.unwrap_or_default()),
            Err(StorageError::Cold(location)) => batch.add_fetched(shard.fetch_now(location)?),
            Err(error) => return Err(error),
        }
    }
}

fn number(text: &[u8]) -> i64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}
