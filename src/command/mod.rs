//! Commands: the table, and one file a family. A command works on a transaction and appends to a reply; it never sees a socket, so it can
//! be replayed.

mod bitcount;
mod bitfield;
mod bitfield_integer;
mod bitmap;
mod call;
mod client;
mod client_list;
mod command_info;
mod config;
mod connection;
mod counters;
mod debug;
mod differences;
pub mod dispatch;
mod dump;
mod error;
mod events;
mod expire;
mod extended_float;
mod gates;
mod help;
mod hooks;
mod increment;
mod info;
mod keys;
mod latency;
mod lcs;
mod memory;
mod monitor;
mod object;
pub mod plan;
mod pubsub;
pub mod reference;
mod refusal;
mod relocate;
mod scan;
mod server;
mod set_options;
mod slowlog;
mod spec;
mod string_range;
mod strings;
mod table;
#[cfg(test)]
pub mod testing;
pub mod transactions;
mod ttl;

pub use call::{Call, Effect, parse_integer};
pub use counters::{CommandTotals, Counters, WorkerCounters};
pub use dispatch::{Outcome, Turn};
pub use error::CommandError;
pub use gates::Gates;
pub use spec::{Flags, Group, Handler, Keys, Spec};
pub use table::{CommandId, Resolved, id_of, is_container, lookup, resolve, rows, subcommands, table};
