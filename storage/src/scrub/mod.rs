//! Scrub: sealed segments and value segments are read again from time to time, so that what a medium lost is known while there are still
//! copies to get it back from.
//!
//! Invariants:
//! - Nothing is changed, and no lock is held while something is read; files are read in pieces, never through mappings.
//! - What is read is pinned: a segment that is removed meanwhile stays readable to its end, and is no finding.
//! - A segment that was found bad is marked: cleaning leaves it alone, as what it would copy cannot be trusted.

mod figures;
mod pace;
mod pass;
mod piece;
mod segment;
mod thread;
mod value;

pub use figures::{BadSegment, ScrubFigures};
pub use pass::ScrubPass;
pub(crate) use thread::Scrub;

#[cfg(test)]
mod tests;
