//! Driving links: sockets, files, threads and the clock around the state machines.
//!
//! Two threads with a runtime each, so that neither holds up the workers: one sends to all replicas, one follows the primary. Reading the log
//! or applying entries may wait for the medium; that holds up links, and nobody else.

mod damage;
mod dial;
mod failover;
mod feeds;
mod follow;
mod frames;
mod install;
mod keeper;
mod links;
mod pace;
mod promise;
mod readable;
mod serve;
mod shipping;
mod works;

pub use dial::Target;
pub use feeds::{Listed, PeerSocket};
pub use keeper::Keeper;
pub(crate) use links::follow_options;
pub use links::{Links, Order};
