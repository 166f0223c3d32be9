//! The epochs of a log.

use super::Log;
use crate::error::Result;
use crate::manifest::Epoch;
use crate::types::{EpochNumber, HistoryId, Incarnation, Lsn};

/// Which log a log is: two logs are the same up to the end of the last epoch that both have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The history that is written now.
    pub history: HistoryId,
    /// The epochs of which there are entries, by their first LSN.
    pub epochs: Vec<Epoch>,
    /// The LSN of the last entry.
    pub last: Lsn,
    /// Up to here LSNs may have gaps: cleaning dropped entries.
    pub cleaned: Lsn,
    /// The highest LSN on account of which something was dropped: what was at an earlier one cannot be told any more.
    pub horizon: Lsn,
}

impl Log {
    /// Which log this is.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        let manifest = self.manifest.lock();
        // Read under the manifest's lock: an epoch is there before its first entry is.
        let last = self.durability.written();
        let epochs = manifest.epochs.iter().filter(|epoch| epoch.first <= last).copied().collect();
        let crate::manifest::Cleaned { reached, horizon } = manifest.cleaned;
        Lineage { history: self.history, epochs, last, cleaned: reached, horizon }
    }

    /// The number of the epoch that is written now.
    #[must_use]
    pub fn epoch(&self) -> EpochNumber {
        self.tail.lock().epoch
    }

    /// This start of the node.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Adds an epoch whose first entry is about to be appended; one that is there already, at the same place, is left.
    pub(crate) fn add_epoch(&self, epoch: Epoch) -> Result<()> {
        let mut manifest = self.manifest.lock();
        if manifest.epochs.last() == Some(&epoch) {
            return Ok(());
        }
        let before = manifest.epochs.clone();
        // Of an attempt that failed before the entry was appended.
        manifest.epochs.retain(|known| known.first < epoch.first);
        manifest.epochs.push(epoch);
        self.store_manifest(&mut manifest).inspect_err(|_| manifest.epochs = before)
    }

    /// Takes back epochs whose first entry could not be appended.
    pub(crate) fn forget_unbegun_epochs(&self) -> Result<()> {
        let mut manifest = self.manifest.lock();
        let written = self.durability.written();
        manifest.epochs.retain(|epoch| epoch.first <= written);
        self.store_manifest(&mut manifest)
    }
}
