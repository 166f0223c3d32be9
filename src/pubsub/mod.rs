//! Publish and subscribe: who listens to what, and how a message gets to them across workers.

pub mod class;
mod hub;
mod message;
mod subscriptions;

use std::sync::Arc;

pub use hub::Hub;
pub use subscriptions::{Kind, Subscriptions};

use crate::protocol::Version;

/// The place where messages to a connection are put by whoever publishes, on any worker. The connection implements it.
///
/// Messages leave in the order in which they were put, after the replies that were written before them.
pub trait Mailbox: Send + Sync {
    /// The connection's protocol version.
    fn version(&self) -> Version;

    /// Puts a message, encoded for that version, and wakes the connection. Called with the hub locked, so it neither waits nor calls
    /// back; a connection that takes its messages too slowly is closed later, by its own worker.
    fn put(&self, message: &Arc<[u8]>);

    /// Moves all messages there are to the end of `out`. Called by the connection's own worker: UNSUBSCRIBE lets what was published
    /// before it come out before its own reply.
    fn take_into(&self, out: &mut Vec<u8>);
}
