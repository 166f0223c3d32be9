//! Making a replica level that cannot just go on: with what differs, and not with a whole copy.
//!
//! A replica shares a prefix with its primary, up to an LSN that both know by their epochs. Cleaning at the primary may have gone over what
//! comes after it; the replica may have entries beyond it that the primary never had, and may have cleaned on their account. So:
//!
//! - of what is up to the prefix the primary tells which ops live ([`OpSet`]); the replica keeps these and drops all others ([`Assembly`]),
//!   and asks for those that it has not ([`Assembled::Lacks`]);
//! - what is above the prefix the primary sends as its segments hold it.
//!
//! A replica with entries of its own beyond the prefix, where neither has cleaned up to there, needs nothing: it is [`cut`].
//!
//! Invariants:
//! - The copy is made beside what is in service, whose sealed segments it shares by second names, and is whole once it has a manifest.
//! - Nothing in the copy is older than what the primary tells to be live, so nothing that was deleted comes back, by whatever entry it went.

mod adopt;
mod assembly;
mod build;
mod cut;
mod filter;
mod live;
mod ops;
mod records;
#[cfg(test)]
mod tests;

pub use assembly::{Assembled, Assembly};
pub use cut::cut;
pub use ops::OpSet;
