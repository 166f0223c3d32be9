//! One run of a command: everything that its handler may touch.

use std::time::Duration;

use esker_storage::shard::{Key, Transaction};
use esker_storage::types::Db;

use super::{Awaited, CommandError, Copies, DigestOf, WorkerCounters};
use crate::protocol::Reply;
use crate::replication::driver::Target;
use crate::server::Server;
use crate::session::Session;
use crate::shard::Served;

/// What a handler gets.
pub struct Call<'a, 't> {
    /// The arguments; 0 is the name as the client wrote it.
    pub args: &'a [&'a [u8]],
    /// Where the reply goes.
    pub reply: &'a mut Reply,
    /// The connection's state.
    pub session: &'a mut Session,
    /// What all connections share.
    pub server: &'a Server,
    /// The shard that `txn` is of.
    pub shard: &'a Served,
    /// Access to the data; the stripes of the command's keys are locked.
    pub txn: &'a mut Transaction<'t>,
    /// The counters of the worker that runs it.
    pub counters: &'a WorkerCounters,
    /// What the connection or the dispatcher does once the command (or the whole transaction) has succeeded.
    pub effects: &'a mut Vec<Effect>,
}

/// Something a command asks for that happens after it, outside any lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A keyspace event: class letter flags, event name, database and key.
    Notify {
        /// The class bit, as in notify-keyspace-events.
        class: u32,
        /// The event's name.
        event: &'static str,
        /// The key.
        key: Vec<u8>,
        /// The database it happened in.
        db: u8,
    },
    /// Publish a message: PUBLISH in a transaction.
    Publish {
        /// On shard channels (SPUBLISH).
        shard: bool,
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        payload: Vec<u8>,
    },
    /// Close the connection after the reply is sent.
    Close,
    /// Hold the reply back for this long (DEBUG SLEEP).
    Sleep(Duration),
    /// Stop the server.
    Shutdown {
        /// Leave without a checkpoint or final sync.
        now: bool,
    },
    /// Take a checkpoint before the reply is sent (SAVE).
    Checkpoint,
    /// Start a checkpoint (BGSAVE).
    BackgroundCheckpoint,
    /// Clean every segment in which something is dead.
    CleaningPass,
    /// Become a replica, or a primary, before the reply is sent.
    Follow(Option<Target>),
    /// Wait for copies of what the connection has written; the reply says how many there are.
    Await(Copies),
    /// Wait until readers here see the entries of these tokens; the reply says of how many they do.
    AwaitTokens(Awaited),
    /// Sweep, and reply with digests of slots.
    Digest(DigestOf),
    /// The connection is a replica's link from now on.
    Peer,
}

impl<'a> Call<'a, '_> {
    /// Argument `i`. The table's arity guarantees those that a handler takes unconditionally.
    #[must_use]
    pub fn arg(&self, i: usize) -> &'a [u8] {
        self.args[i]
    }

    /// Argument `i` as a key.
    #[must_use]
    pub fn key(&self, i: usize) -> Key<'a> {
        self.shard.key(self.args[i])
    }

    /// Argument `i` as a 64-bit integer, by Redis's strict rules.
    ///
    /// # Errors
    /// `ERR value is not an integer or out of range`.
    pub fn integer(&self, i: usize) -> Result<i64, CommandError> {
        parse_integer(self.args[i]).ok_or(CommandError::NotInteger)
    }

    /// Reports a keyspace event for the key, should anyone listen.
    pub fn notify(&mut self, class: u32, event: &'static str, key: &[u8]) {
        self.notify_in(self.session.db, class, event, key);
    }

    /// The same for a database other than the connection's.
    pub fn notify_in(&mut self, db: Db, class: u32, event: &'static str, key: &[u8]) {
        if self.server.notifies(class) {
            self.effects.push(Effect::Notify { class, event, key: key.to_vec(), db: db.0 });
        }
    }
}

/// A 64-bit integer as Redis takes it: no sign but `-`, no leading zeros, no spaces.
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical || digits.len() > 19 {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
