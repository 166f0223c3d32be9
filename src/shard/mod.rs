//! The server's side of its shard: opening it, and what connections wait for.

mod figures;
mod open;
mod wait;

pub use open::open;
