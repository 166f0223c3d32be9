//! Decoders of bytes from disk, fed with what nobody would write: for a bounded time, from a corpus that knows the structure, with
//! checksums made right again so that what lies behind them is reached too. No panic, no memory taken on a claim, nothing accepted that
//! was not written.
//!
//! ESKER_FUZZ_SECONDS says how long each target runs (2 by default), ESKER_SEED with which seed; a failure prints its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod driver;
mod entry;
mod manifest;
mod mutate;
mod ops;
mod segment;
