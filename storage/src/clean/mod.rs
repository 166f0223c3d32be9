//! Cleaning: sealed segments are rewritten without what is dead, and keep their LSNs.
//!
//! # The life of a segment
//!
//! *Sealed*, it is chosen (`pick`) when what it wastes is worth what it costs. Its frames are read and checked, each op is judged
//! (`judge`), and what has to stay goes into a new segment of the same LSN range (`output`). When that one is on the medium, the manifest
//! names it and calls the old one *retired*, and the index is pointed from the old to the new. A retired segment is not part of the log any
//! more, but an index image taken before may still point into it: it is removed after the next checkpoint (`retired`).
//!
//! # When an op may go
//!
//! - What superseded it is flushed, acknowledged, and below every pin. The log is flushed between judging and retiring, so what was consulted is.
//! - It is the newest record of its key (deleted, expired, evicted) only if no older segment can hold an older record of the key. Until then a
//!   tombstone stays in its place: a replay of the whole log must not bring the key back.
//! - Changes of whole databases stay, and are honoured: ops of a table that was flushed go.
//! - A record that a delta is based on stays as long as the delta is its key's newest record.
//!
//! Invariants:
//! - Only segments wholly below the newest checkpoint are cleaned, so a start that replays from it never reads a cleaned one.
//! - The manifest that names the new segment is durable before the index points to it; the old one is unlinked after the manifest that no
//!   longer names it is durable, and unmapped after the last reader let go of it.
//! - An LSN is in at most one segment that is not retired.

mod budget;
mod demand;
mod evidence;
mod expired;
mod figures;
mod filter;
mod hold;
mod install;
mod job;
mod judge;
mod output;
mod pick;
mod place;
mod retired;
mod space;
mod thread;
mod worker;

pub use figures::CleaningFigures;
pub(crate) use figures::Counts;
pub(crate) use place::{Place, look_ahead};
pub use space::SpaceLimit;
pub(crate) use thread::Cleaning;
pub(crate) use worker::sealed;

#[cfg(test)]
mod tests;
