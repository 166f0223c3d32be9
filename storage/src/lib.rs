//! Esker's storage: an append-only log with a memory-mapped index, embeddable without a network.

pub mod types;
