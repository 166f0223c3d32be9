//! What two logs have in common, and what a replica needs to follow a primary: decided by epochs, never by LSNs alone.
//!
//! Invariants:
//! - An epoch's (number, writer) is given once, so logs that both have it hold the same entries up to where the shorter of the two ends in it.
//! - No plan makes a replica give up entries that it was not told to save first, nor more keys than the primary has unless it was forced.

use esker_storage::manifest::Epoch;
use esker_storage::types::{HistoryId, Lsn, ShardId};

/// What a log holds: who wrote which part of it, and how far it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The shard.
    pub shard: ShardId,
    /// The history now written.
    pub history: HistoryId,
    /// Who wrote from where on, in the order in which they began.
    pub epochs: Vec<Epoch>,
    /// The last entry.
    pub last: Lsn,
    /// Up to here entries may be missing, as cleaning dropped all that they held.
    pub cleaned: Lsn,
    /// The highest entry on account of which others were dropped: what the log was at an earlier one cannot be told any more.
    pub horizon: Lsn,
}

/// Why a replica is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The two hold different shards.
    Shard,
    /// The replica has another history and more keys.
    MoreKeys,
    /// The primary has lost what it had, and has nothing now.
    EmptyPrimary,
    /// Not now: the node may lack what was promised, and has to learn more first.
    Waiting,
    /// The node is no primary of this shard.
    NotPrimary,
    /// What another version knows.
    Other(u32),
}

impl RefusalCode {
    /// The number that stands for it on the wire.
    #[must_use]
    pub fn to_number(self) -> u32 {
        match self {
            Self::Shard => 1,
            Self::MoreKeys => 2,
            Self::EmptyPrimary => 3,
            Self::Waiting => 4,
            Self::NotPrimary => 5,
            Self::Other(number) => number,
        }
    }

    /// What a number on the wire stands for.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Shard,
            2 => Self::MoreKeys,
            3 => Self::EmptyPrimary,
            4 => Self::Waiting,
            5 => Self::NotPrimary,
            other => Self::Other(other),
        }
    }
}

impl Lineage {
    /// Checks what has to hold whatever the log.
    pub fn validate(&self) -> Result<(), &'static str> {
        let ordered = self.epochs.windows(2).all(|pair| pair[0].first <= pair[1].first && pair[0].number <= pair[1].number);
        if !ordered {
            return Err("order of epochs");
        }
        if self.epochs.first().is_some_and(|epoch| epoch.first.0 == 0) || self.last.0 == u64::MAX {
            return Err("LSN of a lineage");
        }
        // An epoch may be listed before its first entry, and only then begins behind the end.
        if self.epochs.last().is_some_and(|epoch| epoch.first > self.last.next()) || self.cleaned > self.last {
            return Err("end of a lineage");
        }
        Ok(())
    }

    /// The epoch now written, if any is.
    #[must_use]
    pub fn epoch(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// The last entry of an epoch; the one before its first if it has none.
    fn end_of(&self, at: usize) -> Lsn {
        self.epochs.get(at + 1).map_or(self.last, |next| Lsn(next.first.0.saturating_sub(1)))
    }
}

/// Live keys of both sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keys {
    /// The primary's.
    pub primary: u64,
    /// The replica's; 0 is nothing worth keeping.
    pub replica: u64,
}

/// How a replica comes to hold what the primary does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// It lacks the end of the log, and all of that is there.
    Continue {
        /// The first entry that it lacks.
        from: Lsn,
    },
    /// It goes back to where both logs are the same, after it has saved what it has above: nothing that it held there is missing.
    Cut {
        /// Up to where both logs are the same.
        to: Lsn,
    },
    /// It needs a copy: of what is above the common entries, or of all if there are none.
    Snapshot {
        /// Up to where both logs are the same.
        common: Lsn,
        /// Whether what the replica has above that has to be saved.
        divergent: bool,
    },
    /// It would lose what it should not.
    Refuse(Refusal),
}

/// Why a replica cannot follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub reason: String,
}

/// Up to where both logs hold the same entries. The order of the arguments does not matter.
#[must_use]
pub fn common_prefix(one: &Lineage, other: &Lineage) -> Lsn {
    if one.shard != other.shard || one.history != other.history {
        return Lsn(0);
    }
    // Epochs that one of them listed and never wrote in may stand between those that both have.
    let shared = one.epochs.iter().enumerate().rev().find_map(|(at, epoch)| {
        let same = other.epochs.iter().rposition(|found| found == epoch)?;
        Some(one.end_of(at).min(other.end_of(same)))
    });
    shared.unwrap_or(Lsn(0))
}

/// What `replica` needs to follow `primary`.
#[must_use]
pub fn compare(primary: &Lineage, replica: &Lineage, keys: Keys, force: bool) -> Plan {
    if primary.shard != replica.shard {
        let reason = format!("shard {} cannot follow shard {}", replica.shard, primary.shard);
        return Plan::Refuse(Refusal { code: RefusalCode::Shard, reason });
    }
    let common = common_prefix(primary, replica);
    let related = primary.history == replica.history;
    if related && replica.last <= common {
        let whole = replica.last >= primary.cleaned;
        return if whole { Plan::Continue { from: replica.last.next() } } else { Plan::Snapshot { common, divergent: false } };
    }
    match refusal(primary, replica, keys).filter(|_| !force) {
        Some(refusal) => Plan::Refuse(refusal),
        None if related && common > Lsn(0) && replica.cleaned.max(replica.horizon) <= common => Plan::Cut { to: common },
        // The log of an empty shard holds who wrote nothing; that of a related one may hold what somebody deleted.
        None => Plan::Snapshot { common, divergent: replica.last > common && (related || keys.replica > 0) },
    }
}

/// Why a replica whose log is not a prefix of the primary's must not be wiped.
fn refusal(primary: &Lineage, replica: &Lineage, keys: Keys) -> Option<Refusal> {
    let Keys { primary: here, replica: there } = keys;
    if primary.history != replica.history {
        let reason = || format!("the replica has another history and {there} keys, the primary {here}: only with FORCE");
        return (there > here).then(|| Refusal { code: RefusalCode::MoreKeys, reason: reason() });
    }
    let emptied = here == 0 && there > 0 && primary.last < replica.last;
    let reason = || {
        let (last, behind) = (primary.last, replica.last);
        format!("the primary has no keys and ends at LSN {last}, the replica has {there} and ends at {behind}: only with FORCE")
    };
    emptied.then(|| Refusal { code: RefusalCode::EmptyPrimary, reason: reason() })
}

#[cfg(test)]
mod tests;
