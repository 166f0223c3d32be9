//! What the primary's side of a link is told, and what it wants done.

use esker_storage::types::Lsn;

use crate::replication::lineage::{Lineage, Refusal};
use crate::replication::time::Millis;
use crate::replication::wire::{Ack, Bye, Lacking, Message, SnapshotId, TookOver};

/// How a link behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// After how much silence of its own the primary gives a sign of life.
    pub ping: Millis,
    /// After how much silence of the replica the link ends.
    pub timeout: Millis,
    /// Bytes of log that may be on their way.
    pub window: u64,
    /// Bytes of a file at a time.
    pub piece: u32,
    /// Bytes of log at a time.
    pub read: u32,
    /// Files that a replica may want at a time.
    pub wants: usize,
    /// Bytes of files a second; 0 is no limit.
    pub bandwidth: u64,
}

impl Default for Options {
    fn default() -> Self {
        let (ping, timeout) = (Millis(10_000), Millis(60_000));
        Self { ping, timeout, window: 64 << 20, piece: 1 << 20, read: 1 << 20, wants: 64, bandwidth: 0 }
    }
}

/// What the primary is at the moment.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What its log holds.
    pub lineage: Lineage,
    /// Whether it takes writes; otherwise it is a replica itself, and hands on what it gets.
    pub is_primary: bool,
    /// Its live keys.
    pub keys: u64,
    /// What its mode has promised.
    pub committed: Lsn,
    /// Why nobody can follow it now, if so.
    pub refuse: Option<Refusal>,
}

/// What a read of the log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRead {
    /// A run, which was sent.
    Entries {
        /// Its last entry.
        last: Lsn,
        /// Bytes that went into the socket.
        bytes: u64,
    },
    /// The next entry names values: each with its id and the length of its file, none empty. They go first.
    Values(Vec<(u128, u64)>),
    /// It is not there any more.
    Gone,
}

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(Message<'static>),
    /// Keep everything above this LSN from being cleaned, for this replica; a later pin replaces it.
    Pin(Lsn),
    /// Answer with [`compared`](super::Feed::compared).
    Compare,
    /// The replica's log is this one up to here, whatever it said earlier.
    Joined {
        /// Up to where.
        holds: Lsn,
    },
    /// Open a snapshot; answer with [`snapshot_opened`](super::Feed::snapshot_opened), or leave.
    OpenSnapshot {
        /// Of what is above this LSN, and what lives up to there; 0: of everything.
        above: Lsn,
    },
    /// Gather the records that the replica lacks beside a difference; answer with [`records_gathered`](super::Feed::records_gathered), or leave.
    GatherRecords(Lacking),
    /// Let go of a snapshot.
    CloseSnapshot(SnapshotId),
    /// Read a part of a snapshot's file and send it as a piece.
    SendPiece {
        /// The snapshot.
        id: SnapshotId,
        /// The file.
        file: u32,
        /// From where on.
        offset: u64,
        /// How much.
        len: u32,
    },
    /// Read whole frames of the log and send them as entries with [`committed`](super::Feed::committed); then answer with
    /// [`log_read`](super::Feed::log_read). A run ends before an entry that names values, unless it is that one alone and they were sent.
    ReadLog {
        /// The first entry.
        from: Lsn,
        /// So many bytes at most, or one entry.
        most: u32,
        /// The values that the first entry names were sent.
        values_sent: bool,
    },
    /// Read a part of a value segment's file and send it.
    SendValue {
        /// The value segment.
        id: u128,
        /// The length of its file.
        total: u64,
        /// From where on.
        offset: u64,
        /// How much.
        len: u32,
    },
    /// The replica acknowledged.
    Progress(Ack),
    /// The replica was told to take over, and has answered.
    TookOver(TookOver),
    /// The link is over: flush what was sent, close the connection.
    Close(Bye),
}
