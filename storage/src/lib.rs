//! Esker's storage: an append-only log with a memory-mapped index, embeddable without a network.
//!
//! A [`Shard`](shard::Shard) is a directory with a log, the truth, and an index, derived from it. What is read or written goes through a
//! [`Transaction`](shard::Transaction): it locks the stripes of its keys, which its [`LockPlan`](shard::LockPlan) names, sees its own
//! writes, and becomes one entry of the log at [`commit`](shard::Transaction::commit), so that after a crash all of it is there or nothing.
//! A transaction that is dropped has changed nothing.
//!
//! ```
//! use std::sync::Arc;
//!
//! use esker_storage::fs::{Directory, RealDirectory};
//! use esker_storage::options::Options;
//! use esker_storage::shard::{LockPlan, Shard};
//! use esker_storage::types::Db;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = tempfile::tempdir()?;
//! let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(path.path())?);
//! let shard = Shard::open(&directory, Options { index_reserve: 1 << 30, ..Options::default() })?;
//!
//! let key = shard.key(b"greeting");
//! let mut plan = LockPlan::exclusive();
//! plan.add(&key);
//! let batch = shard.batch(); // reads the clock, once for any number of transactions
//! let mut transaction = shard.begin(&batch, &plan);
//! transaction.put(Db(0), &key, b"hello", None)?;
//! let lsn = transaction.commit()?;
//! assert_eq!(lsn, Some(shard.written_lsn()));
//!
//! let transaction = shard.begin(&batch, &plan);
//! let found = transaction.get(Db(0), &key)?.map(|object| object.data.into_owned());
//! assert_eq!(found.as_deref(), Some(&b"hello"[..]));
//! drop(transaction);
//!
//! shard.flush_log()?; // or wait for it: `Options::sync` says how often the syncer does it
//! shard.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/embedded.rs` shows the rest: several keys at once, expiry, scans, checkpoints, the second start.
//!
//! # Where what is
//!
//! - [`shard`]: the shard and its transactions, expiry; [`options`]: how it is opened; [`error`]: what can go wrong.
//! - [`log`]: segments, appends, the syncer; [`segment`], [`codec`] and [`manifest`]: the bytes on disk, as `docs/on-disk-format.md` has them.
//! - [`memory`]: what of the log is in memory, within a limit.
//! - [`index`]: the memory-mapped hash index; [`checkpoint`] and [`recovery`]: how it comes back after a stop, a kill or a power loss.
//! - [`fs`]: files and directories, real ones, in memory, and faulty ones for tests; [`mapping`]: the only `unsafe` code.
#![deny(unsafe_code)]

pub mod checkpoint;
pub mod clean;
pub mod clock;
pub mod codec;
mod copies;
pub mod difference;
pub mod error;
pub mod evict;
pub mod fs;
pub mod glob;
pub mod history;
pub mod index;
pub mod log;
pub mod manifest;
pub mod mapping;
pub mod memory;
pub mod options;
mod places;
pub mod recovery;
pub mod scrub;
pub mod segment;
pub mod shard;
pub mod slot;
pub mod snapshot;
mod thread;
pub mod types;
