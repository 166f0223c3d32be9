//! Esker's storage: an append-only log with a memory-mapped index, embeddable without a network.
#![deny(unsafe_code)]

pub mod checkpoint;
pub mod codec;
pub mod error;
pub mod fs;
pub mod glob;
pub mod index;
pub mod log;
pub mod manifest;
pub mod mapping;
pub mod options;
pub mod recovery;
pub mod segment;
pub mod shard;
pub mod slot;
pub mod types;
