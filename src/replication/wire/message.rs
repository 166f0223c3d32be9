//! What peers say to each other.

use esker_storage::types::{EpochNumber, Incarnation, Lsn, NodeId, UnixMillis};

use crate::replication::lineage::{Lineage, RefusalCode};

/// A snapshot that a primary keeps open for a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SnapshotId(pub u64);

/// A message, in either direction. Bulk messages borrow their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is described at its type")]
pub enum Message<'a> {
    Hello(Hello),
    Welcome(Welcome),
    Listing(Listing),
    Want(Want),
    SnapshotDone(SnapshotId),
    Heartbeat(Heartbeat),
    Ack(Ack),
    Bye(Bye),
    TakeOver(TakeOver),
    TookOver(TookOver),
    Lacking(Lacking),
    Entries(Entries<'a>),
    Piece(Piece<'a>),
    ValuePiece(ValuePiece<'a>),
}

/// Replica to primary: who it is and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The replica's version of the protocol.
    pub version: u32,
    /// The replica.
    pub node: NodeId,
    /// This start of it.
    pub incarnation: Incarnation,
    /// Where its clients reach it.
    pub listening_port: u16,
    /// Where its clients reach it, if not where it dials from.
    pub announce_ip: String,
    /// What its log holds.
    pub lineage: Lineage,
    /// Its live keys: 0 is nothing worth keeping.
    pub keys: u64,
    /// Whether its operator said that it is to follow whatever it loses.
    pub force: bool,
    /// Whether it needs a whole snapshot: what differs did not do.
    pub whole: bool,
    /// Whether some of its log cannot be read any more.
    pub damaged: bool,
}

/// What is going to happen on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WelcomePlan {
    /// The log follows, from this LSN on.
    Continue {
        /// The first entry to come.
        from: Lsn,
    },
    /// A listing follows.
    Snapshot {
        /// The snapshot.
        id: SnapshotId,
        /// What its log goes up to.
        lsn: Lsn,
    },
    /// The replica goes back to this LSN, and says hello again.
    Cut {
        /// Up to where both logs are the same.
        to: Lsn,
    },
    /// Nothing follows.
    Refuse {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people.
        reason: String,
    },
}

/// Primary to replica: who it is, what it has, and what is going to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The primary's version of the protocol.
    pub version: u32,
    /// The primary.
    pub node: NodeId,
    /// This start of it.
    pub incarnation: Incarnation,
    /// What its log holds.
    pub lineage: Lineage,
    /// Its live keys.
    pub keys: u64,
    /// Up to where both logs are the same.
    pub common: Lsn,
    /// What is going to happen.
    pub plan: WelcomePlan,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// How much of it belongs to the snapshot.
    pub bytes: u64,
    /// Whether it will never change again.
    pub sealed: bool,
    /// Where it begins; what is before is not sent.
    pub from: u64,
}

/// Primary to replica: the files of a snapshot; a file's number is its place here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The snapshot.
    pub id: SnapshotId,
    /// What its log goes up to.
    pub lsn: Lsn,
    /// The manifest that goes with the files.
    pub manifest: Vec<u8>,
    /// The files.
    pub files: Vec<File>,
    /// They are what differs above this LSN; 0: they are all there is.
    pub above: Lsn,
}

/// Replica to primary: what it lacks of what lives, beside the files of a difference; a listing of one more file answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The snapshot.
    pub id: SnapshotId,
    /// A set of ops, encoded.
    pub ops: Vec<u8>,
}

/// Replica to primary: send this file from this offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// The snapshot.
    pub id: SnapshotId,
    /// The file.
    pub file: u32,
    /// Where to begin.
    pub offset: u64,
}

/// Primary to replica, also when there is nothing else to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// What the primary's log goes up to.
    pub written: Lsn,
    /// What its mode has promised.
    pub committed: Lsn,
    /// Its epoch.
    pub epoch: EpochNumber,
    /// Its wall clock.
    pub time: UnixMillis,
}

/// Replica to primary: how far it is; also when there is nothing else to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ack {
    /// What its log goes up to.
    pub written: Lsn,
    /// What survives a loss of power there.
    pub flushed: Lsn,
    /// What its index holds.
    pub applied: Lsn,
    /// What its clients may read.
    pub readable: Lsn,
}

/// Why a link is ended by one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByeCode {
    /// The node stops.
    Shutdown,
    /// Nothing was heard for too long.
    Timeout,
    /// The other side broke the protocol.
    Protocol,
    /// The node is no primary, or no replica of this one, any more.
    RoleChanged,
    /// The same replica has another link.
    Superseded,
    /// The log does not hold any more what the replica needs next: it says hello again and gets a snapshot.
    LogGone,
    /// The node's storage failed.
    Storage,
    /// The replica was refused, as the welcome says.
    Refused,
    /// The connection broke. Never sent.
    Disconnected,
    /// What another version knows.
    Other(u32),
}

impl ByeCode {
    pub(super) fn to_number(self) -> u32 {
        match self {
            Self::Shutdown => 1,
            Self::Timeout => 2,
            Self::Protocol => 3,
            Self::RoleChanged => 4,
            Self::Superseded => 5,
            Self::LogGone => 6,
            Self::Storage => 7,
            Self::Refused => 8,
            Self::Disconnected => 9,
            Self::Other(number) => number,
        }
    }

    pub(super) fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Shutdown,
            2 => Self::Timeout,
            3 => Self::Protocol,
            4 => Self::RoleChanged,
            5 => Self::Superseded,
            6 => Self::LogGone,
            7 => Self::Storage,
            8 => Self::Refused,
            9 => Self::Disconnected,
            other => Self::Other(other),
        }
    }
}

/// Either way: the link ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bye {
    /// Why, for programs.
    pub code: ByeCode,
    /// Why, for people.
    pub reason: String,
}

/// Primary to replica: become the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeOver {
    /// The last entry of the primary's log: there will be no other.
    pub lsn: Lsn,
    /// The primary's epoch.
    pub epoch: EpochNumber,
    /// Even without all entries.
    pub force: bool,
}

/// Replica to primary: the answer to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TookOver {
    /// The epoch that it writes now.
    pub epoch: EpochNumber,
    /// Why it has not taken over; empty: it has.
    pub refused: String,
}

/// Primary to replica: a run of the log, frame by frame as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entries<'a> {
    /// LSN of the first entry.
    pub first: Lsn,
    /// LSN of the last entry.
    pub last: Lsn,
    /// What the primary's mode has promised.
    pub committed: Lsn,
    /// The frames.
    pub raw: &'a [u8],
}

/// Primary to replica: a part of a snapshot's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The snapshot.
    pub id: SnapshotId,
    /// The file.
    pub file: u32,
    /// Where in it this belongs.
    pub offset: u64,
    /// The bytes.
    pub raw: &'a [u8],
}

/// Primary to replica: a part of a value segment's file, which is complete before the entry that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValuePiece<'a> {
    /// The value segment.
    pub id: u128,
    /// How long its file is.
    pub total: u64,
    /// Where in it this belongs.
    pub offset: u64,
    /// The bytes.
    pub raw: &'a [u8],
}
