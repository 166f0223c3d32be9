//! Commands: the table, and one file a family. A command works on a transaction and appends to a reply; it never sees a socket, so it can
//! be replayed.

mod call;
mod error;
mod spec;
mod strings;
mod table;

pub use call::{Call, Effect, parse_integer};
pub use error::CommandError;
pub use spec::{Flags, Group, Handler, Keys, Spec};
pub use table::{lookup, table};
