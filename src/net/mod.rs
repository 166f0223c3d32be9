//! Sockets: listeners, workers, connections, and the registry of connected clients.

mod ahead;
mod arrivals;
mod buffers;
mod client;
mod clients;
mod connection;
mod durability;
mod limits;
mod listener;
mod turn;
mod upload;
mod worker;

pub use client::{Class, Client, Shown};
pub use clients::{Clients, Pause};
pub use durability::Durability;
pub use limits::enforce as enforce_limits;
pub use listener::{BindError, Listeners};
pub use worker::Workers;
