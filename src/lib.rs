//! The Esker server: a durable cache that speaks the Redis protocol.
//!
//! Requests flow one way: `net → protocol → command → shard → log`.
#![forbid(unsafe_code)]

pub mod command;
pub mod config;
pub mod net;
pub mod node;
pub mod observe;
pub mod protocol;
pub mod pubsub;
pub mod rdb;
pub mod replication;
pub mod server;
pub mod session;
pub mod shard;
#[cfg(test)]
mod sim;
pub mod start;
