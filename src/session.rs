//! What one connection knows of itself between requests.

use std::sync::Arc;

use esker_storage::history::{Answer, HistoryError, Question};
use esker_storage::shard::StoredValue;
use esker_storage::types::{Db, Lsn};

use crate::command::Queue;
use crate::net::{Client, Shown};
use crate::pubsub::{Kind, Mailbox, Subscriptions};

/// Which replies a connection wants (CLIENT REPLY).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// The command that asked for it is running; the next reply is skipped as well.
    SkipNext,
    /// This reply is skipped.
    Skip,
}

/// The state of one connection that commands read and change.
#[derive(Default)]
pub struct Session {
    /// The connection's id, as CLIENT ID tells it.
    pub id: u64,
    /// The selected database.
    pub db: Db,
    /// Whether it may run commands: a password was given, or none was needed when it connected.
    pub authenticated: bool,
    /// What others see of the connection, and how they reach it.
    pub client: Arc<Client>,
    /// Where messages to the connection are put; None where nobody would send them.
    pub mailbox: Option<Arc<dyn Mailbox>>,
    /// Which replies are sent.
    pub reply_mode: ReplyMode,
    /// The last command that ran: the full name of its row.
    pub last_command: &'static str,
    /// The newest entry that the connection has written.
    pub written: Lsn,
    /// MULTI and WATCH.
    pub queue: Queue,
    /// Channels and patterns.
    pub subscriptions: Subscriptions,
    /// The value of the SET that runs, if it was too large for the read buffer: it lies in a value segment.
    pub uploaded: Option<StoredValue>,
    /// Whether the command used it.
    pub upload_used: bool,
    /// What the command that was run wants to know of the past before it is run again.
    pub question: Option<Question>,
    /// The answer.
    pub answer: Option<Result<Answer, HistoryError>>,
}

impl Session {
    /// The session of a new connection.
    #[must_use]
    pub fn new(client: Arc<Client>, authenticated: bool) -> Self {
        let mailbox: Arc<dyn Mailbox> = Arc::<Client>::clone(&client);
        Self { id: client.id, authenticated, client, mailbox: Some(mailbox), ..Self::default() }
    }

    /// Brings what CLIENT LIST shows up to date.
    pub fn publish(&self, shown: &mut Shown) {
        shown.db = self.db;
        shown.command = self.last_command;
        shown.authenticated = self.authenticated;
        shown.queued = usize::try_from(self.queue.len()).ok();
        shown.queued_bytes = self.queue.bytes();
        shown.channels = self.subscriptions.len(Kind::Channel);
        shown.patterns = self.subscriptions.len(Kind::Pattern);
        shown.shard_channels = self.subscriptions.len(Kind::Shard);
    }
}
