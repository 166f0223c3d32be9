//! How much of the log a batch's replies tell of: who promises the log to others in its order lets a reply go when it has promised that much.
//!
//! Invariants:
//! - Of a record that was found: its entry, and the last change of which table is whose.
//! - Of a key that was not: the last entry that took any key out of its stripe. After a restart also all that was recovered, as what took keys
//!   out by way of expiry is not written down.
//! - Of a key that counts as expired by what the log says, and not by the clock alone: that entry too.
//! - Noted under the lock of the key's stripe, so nothing of it changes between look and note.

use super::record::lsn_of;
use super::transaction::Transaction;
use super::{Batch, Shard};
use crate::codec::op::OpHeader;
use crate::index::Stripe;
use crate::log::SegmentTable;
use crate::types::{Location, Lsn, UnixMillis};

impl Shard {
    /// A key's newest record was looked at.
    pub(super) fn note_found(&self, batch: &Batch, lsn: Lsn, expire_at: Option<UnixMillis>) {
        batch.show(lsn.max(self.tables_lsn()));
        if expire_at.is_some_and(|at| at <= self.expiry.at()) {
            batch.show(self.index.expired().lsn);
        }
    }

    /// The same where it lies.
    #[inline(never)]
    pub(super) fn note_hot(&self, batch: &Batch, segments: &SegmentTable, location: Location, header: &OpHeader) {
        let lsn = segments.get(location.segment()).and_then(|segment| lsn_of(segment, location, header));
        self.note_found(batch, lsn.unwrap_or_else(|| self.written_lsn()), header.expire_at);
    }

    /// A key of the stripe was looked for in vain.
    #[inline(never)]
    pub(super) fn note_absent(&self, batch: &Batch, stripe: &Stripe) {
        batch.show(stripe.last_delete(&self.index).max(stripe.last_expired()).max(self.recovered_lsn()));
    }
}

impl Transaction<'_> {
    /// What is shown from here on may tell of anything: of many keys, of the past, of counts.
    pub fn tells_of_all(&self) {
        if self.batch.notes() {
            self.batch.show(self.shard.written_lsn());
        }
    }
}
