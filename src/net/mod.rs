//! Sockets: listeners, workers, connections, and the registry of connected clients.

mod ahead;
mod arrivals;
mod buffers;
mod client;
mod clients;
mod connection;
mod durability;
#[cfg(test)]
mod exchange_tests;
mod limits;
mod listener;
mod lookout;
mod turn;
mod upload;
mod worker;

use std::future::poll_fn;
use std::task::Poll;

pub use client::{Class, Client, Shown};
pub use clients::{Clients, Pause};
pub use durability::{Durability, Flushed};
pub use limits::enforce as enforce_limits;
pub use listener::{BindError, Listeners};
pub use worker::Workers;

/// Lets the worker's other ready tasks run first. Not `tokio::task::yield_now`, which has the worker look for new events before it comes
/// back: a system call a turn.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
