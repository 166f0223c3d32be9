//! Segments: the files of the log, from header to footer.
//!
//! Invariants:
//! - Frames follow the header without gaps; the first zero length is the written end.
//! - Readers never panic, whatever the bytes, and say at which offset and LSN they stopped and why.

pub mod footer;
mod footer_writer;
pub mod header;
pub mod names;
pub mod reader;
pub mod torn;

pub use footer::{Footer, FooterView, Hint};
pub use footer_writer::{FooterBuilder, FooterWriter};
pub use header::{SEGMENT_HEADER, SegmentHeader, SegmentKind};
pub use reader::{BadFrame, BadFrameReason, Continuity, End, Frame, SegmentReader};

#[cfg(test)]
mod tests;
