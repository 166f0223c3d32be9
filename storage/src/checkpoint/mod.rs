//! Checkpoints: an image of the index, from which a start after power loss replays the log.
//!
//! Invariants:
//! - An image is fuzzy: pieces of at most 64 KiB are copied under a stripe's lock, each at its own time. Replaying every entry after the
//!   image's LSN, in order, makes it exact, because replaying an entry again changes nothing.
//! - Counters of a stripe are exact at the stripe's LSN, which stands beside them: entries up to it change cells only.
//! - Expired keys are not removed while an image is being taken (see [`Index::unlogged`](crate::index::Index::unlogged)).
//! - A checkpoint is named by the manifest only after the log is flushed up to everything that the image may point to.

mod format;
mod load;
mod take;

pub(crate) use load::{Loaded, load};
pub use take::{CheckpointStatus, Checkpointer};
