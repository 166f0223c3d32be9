//! What tests of several modules do with a shard.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use super::{LockPlan, Shard, Transaction};
use crate::error::{Result, StorageError};

/// Runs one transaction on all stripes; records that are cold are fetched, as a server would.
pub(crate) fn run<T>(shard: &Shard, work: impl Fn(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
    let batch = shard.batch();
    let mut plan = LockPlan::exclusive();
    plan.add_all();
    loop {
        let mut txn = shard.begin(&batch, &plan);
        match work(&mut txn) {
            Ok(value) => {
                txn.commit()?;
                return Ok(value);
            }
            Err(StorageError::Cold(location)) => {
                drop(txn);
                batch.add_fetched(shard.fetch_now(location)?);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The same of one that must not fail.
pub(crate) fn within<T>(shard: &Shard, work: impl Fn(&mut Transaction<'_>) -> Result<T>) -> T {
    run(shard, work).unwrap()
}
