//! The server's side of its shard: opening it, exchanging it, and what connections wait for.

mod attach;
mod figures;
mod open;
mod served;
mod wait;

pub(crate) use attach::InService;
pub use open::open;
pub(crate) use open::options;
pub use served::{Retired, Served};
