//! What operators and checks see of a model node.

use esker_storage::types::Lsn;

use super::{ModelNode, Part};
use crate::replication::sim::disk::ModelDisk;

impl ModelNode {
    /// Whether it takes writes.
    pub fn is_primary(&self) -> bool {
        matches!(self.part, Part::Primary(_))
    }

    /// Whether it was a primary and waits for an operator.
    pub fn is_waiting(&self) -> bool {
        matches!(self.part, Part::Waiting)
    }

    /// What clients may see.
    pub fn readable(&self) -> Lsn {
        match &self.part {
            Part::Primary(primary) => primary.commit.committed(),
            Part::Replica(replica) => replica.follow.readable(),
            Part::Waiting => Lsn(0),
        }
    }

    /// Of a primary: whether something of its own epoch is committed.
    pub fn is_settled(&self, disk: &ModelDisk) -> bool {
        let Part::Primary(primary) = &self.part else { return false };
        disk.lineage().epoch().is_some_and(|epoch| primary.commit.committed() >= epoch.first)
    }

    /// Of a primary: its in-sync set.
    pub fn members(&self) -> Option<Vec<usize>> {
        let Part::Primary(primary) = &self.part else { return None };
        Some(primary.commit.members().iter().map(|node| node.0 as usize).collect())
    }

    /// The node that it follows, and whether the log comes in.
    pub fn following(&self) -> Option<(usize, bool)> {
        let Part::Replica(replica) = &self.part else { return None };
        replica.target.map(|target| (target, replica.follow.is_streaming()))
    }
}
