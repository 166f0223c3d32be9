//! What of the log is in memory, within a limit that also counts the index and what the process takes otherwise.
//!
//! Hot segments are mapped and populated, and workers read them where they lie. Of others nothing is kept, neither mapped nor in the page
//! cache, but copies (`copies`) of the records that are read again and again. A thread looks several times a second at how often
//! segments and copies are used, and moves the limit's bytes to where they answer most reads.
//!
//! Invariants:
//! - A segment becomes hot after its frames passed their checks, and its memory is given back a while after it became cold: no worker that
//!   saw it hot still reads its mapping then.
//! - What is being written is hot, whatever the limit.

mod choice;
mod figures;
mod grant;
mod recent;

pub use figures::MemoryFigures;
pub(crate) use grant::{Grant, WarmQueue};
