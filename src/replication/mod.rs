//! Primary-backup replication: the log of the primary is shipped to replicas.
//!
//! Everything here but the drivers is sans-IO: messages, ticks and completions go in, actions come out. No sockets, no threads, no clocks.

pub mod commit;
pub mod driver;
pub mod failover;
pub mod feed;
pub mod follow;
pub mod ledger;
pub mod lineage;
#[cfg(test)]
mod sim;
pub mod status;
pub mod time;
pub mod token;
pub mod trail;
pub mod wire;
