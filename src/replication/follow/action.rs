//! What the replica's side of a link is told, and what it wants done.

use esker_storage::types::{Incarnation, Lsn, NodeId};

use crate::replication::lineage::{Lineage, RefusalCode};
use crate::replication::time::Millis;
use crate::replication::wire::{Bye, Entries, Listing, Message, Piece, SnapshotId, ValuePiece};

/// How a link behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// After how much silence of its own the replica gives a sign of life.
    pub ping: Millis,
    /// After how much silence of the primary the link ends.
    pub timeout: Millis,
    /// Bytes of log after which is acknowledged even if there is more to read.
    pub ack_bytes: u64,
    /// Files to want at a time.
    pub wants: usize,
    /// The first pause before dialling again; it doubles with each attempt.
    pub backoff: Millis,
    /// The longest pause.
    pub most_backoff: Millis,
}

impl Default for Options {
    fn default() -> Self {
        let (ping, timeout) = (Millis(1000), Millis(60_000));
        Self { ping, timeout, ack_bytes: 256 << 10, wants: 16, backoff: Millis(100), most_backoff: Millis(5000) }
    }
}

/// Who the replica is.
#[derive(Debug, Clone)]
pub struct Me {
    /// Its node.
    pub node: NodeId,
    /// This start of it.
    pub incarnation: Incarnation,
    /// Where clients reach it.
    pub listening_port: u16,
    /// Where clients reach it, if not where it dials from.
    pub announce_ip: String,
    /// Its operator said that it is to follow whatever it loses.
    pub force: bool,
}

/// What the replica has at the moment.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What its log holds.
    pub lineage: Lineage,
    /// What of its log survives a loss of power.
    pub flushed: Lsn,
    /// Its live keys.
    pub keys: u64,
    /// What differs did not do: it needs a whole snapshot.
    pub whole: bool,
    /// Some of its log cannot be read any more: it wants that from the primary.
    pub damaged: bool,
}

/// Why the last link was not made: for INFO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub reason: String,
}

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// Send this.
    Send(Message<'static>),
    /// Answer with [`standing`](super::Follow::standing).
    TellStanding,
    /// Save what the log holds above this LSN to a file, durably; answer with [`divergent_saved`](super::Follow::divergent_saved). After a
    /// crash it may be asked for again.
    SaveDivergent {
        /// The last LSN that the primary has too.
        above: Lsn,
    },
    /// Make a copy that ends here, and take it in place of what is there; answer with [`installed`](super::Follow::installed).
    Cut {
        /// The last LSN that the primary has too.
        to: Lsn,
    },
    /// Make room for these files beside those in use; answer with [`staged`](super::Follow::staged).
    BeginStaging(Box<Listing>),
    /// Write a part of a file.
    WritePiece(Piece<'a>),
    /// Sync the files and take them, and the manifest, in place of what is there; answer with [`installed`](super::Follow::installed), or, if
    /// they are a difference that does not do alone, with [`lacks`](super::Follow::lacks). If the link ends meanwhile, this is finished or given up before [`Action::TellStanding`] is answered again.
    Install(SnapshotId),
    /// Check these and append them; answer with [`progress`](super::Follow::progress), now or later.
    Apply(Entries<'a>),
    /// Write a part of a value segment.
    WriteValue {
        /// The part.
        piece: ValuePiece<'a>,
        /// It is the last: sync the file.
        complete: bool,
    },
    /// Become the primary; answer with [`took_over`](super::Follow::took_over).
    TakeOver,
    /// The link is over: flush what was sent, close the connection.
    Close(Bye),
    /// Dial again after this pause, authenticate, and say [`connected`](super::Follow::connected) or [`disconnected`](super::Follow::disconnected).
    Reconnect {
        /// The pause.
        after: Millis,
    },
}
