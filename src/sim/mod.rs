//! Nodes in virtual time: a seeded network, disks, clocks and faults for protocols that are state machines. Tests only.
//!
//! A [`World`] runs nodes of one type. Everything random comes from its seed, and nothing else comes in, so a seed always gives the same run;
//! every event goes into a hash, by which a test can tell. What a protocol has to bring is a [`Node`], which is what a process would be, and
//! a [`Disk`], which is what is left when it is killed.
//!
//! Invariants:
//! - A connection is a stream: its bytes arrive in order, cut into other pieces than they were sent in, or not at all after the first that
//!   did not. Between connections there is no order.
//! - A node that was killed hears nothing of what its earlier starts began.
//! - What was synced survives a loss of power, what was not is lost; a kill loses nothing of the disk.

mod connection;
mod env;
mod faults;
mod trace;
mod world;

pub use connection::ConnId;
pub use env::Env;
pub use world::{Settings, World};

/// Microseconds of virtual time.
pub type Micros = u64;

/// Microseconds a millisecond.
pub const MILLI: Micros = 1000;
/// Microseconds a second.
pub const SECOND: Micros = 1_000_000;

/// What is left when a node is killed.
pub trait Disk {
    /// How much was written at a moment.
    type Mark: Copy;

    /// All that is written now.
    fn mark(&self) -> Self::Mark;

    /// What was written at this mark survives a loss of power from now on.
    fn flushed(&mut self, mark: Self::Mark);

    /// Power was lost.
    fn lose_unflushed(&mut self);
}

/// How a node came to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// For the first time.
    First,
    /// After it was killed.
    Killed,
    /// After a loss of power.
    PowerLoss,
}

/// What a node is told.
#[derive(Debug)]
pub enum Input<C> {
    /// A connection that it dialled is there.
    Connected(ConnId),
    /// Somebody dialled.
    Accepted(ConnId),
    /// Bytes arrived.
    Received(ConnId, Vec<u8>),
    /// More bytes can be sent.
    Room(ConnId),
    /// A connection is gone, or was not made.
    Closed(ConnId),
    /// What was written when a sync was asked for is on the medium.
    Synced(u64),
    /// A time has come.
    Timer(u64),
    /// Somebody outside of the protocol wants something: a client, an operator.
    Command(C),
}

/// A process.
pub trait Node: Sized {
    /// What it keeps.
    type Disk: Disk;
    /// What it can be asked to do.
    type Command;
    /// What it says to the outside.
    type Output;

    /// Starts with what the disk holds.
    fn start(boot: Boot, env: &mut Env<'_, Self>) -> Self;

    /// Handles one event.
    fn handle(&mut self, input: Input<Self::Command>, env: &mut Env<'_, Self>);
}

#[cfg(test)]
mod tests;
