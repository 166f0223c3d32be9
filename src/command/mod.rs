//! Commands: the table, and one file a family. A command works on a transaction and appends to a reply; it never sees a socket, so it can
//! be replayed.

mod bitcount;
mod bitfield;
mod bitfield_integer;
mod bitmap;
mod call;
mod dump;
mod error;
mod events;
mod expire;
mod extended_float;
mod increment;
mod keys;
mod lcs;
mod object;
mod relocate;
mod scan;
mod set_options;
mod spec;
mod string_range;
mod strings;
mod table;
mod ttl;

pub use call::{Call, Effect, parse_integer};
pub use error::CommandError;
pub use spec::{Flags, Group, Handler, Keys, Spec};
pub use table::{lookup, table};
