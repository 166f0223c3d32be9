//! Looking back in time: how much of the past is kept, and what a key held then.
//!
//! The log is all that is needed: the newest record of a key that is not behind an LSN is what the key held at that LSN, unless it had
//! expired, or its database had another table then. Segments without that key are passed over by the hints in their footers.

mod answer;
mod changed;
mod controls;
mod error;
mod past;
mod question;
mod retention;
mod tables;
mod thread;

pub(crate) use controls::{Controls, TableIds, tables_at};
pub use error::{Bounds, HistoryError};
pub use question::{Answer, Change, Changed, Moment, PastValue, Question, Version};
pub use retention::HistoryRetention;
pub use tables::Tables;
pub use thread::AnswerDone;
pub(crate) use thread::History;

#[cfg(test)]
mod tests;
