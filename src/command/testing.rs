//! A client without a connection, for the unit tests of commands.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use esker_storage::shard::Shard;
use esker_storage::types::UnixMillis;

use super::{Effect, Outcome, Turn};
use crate::net;
use crate::protocol::{Reply, Version};
use crate::pubsub::Mailbox;
use crate::server::Server;
use crate::session::Session;

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

/// A client of a server in this process.
pub struct Client {
    /// The server.
    pub server: Arc<Server>,
    /// The connection's state.
    pub session: Session,
    /// What the last command left to the connection.
    pub effects: Vec<Effect>,
    /// What became of the last command.
    pub outcome: Outcome,
    version: Version,
}

impl Client {
    /// The only client of a new server, speaking RESP2.
    pub fn new() -> Self {
        Self::of(&Arc::new(Server::new(Shard::temporary(), 1)), 1, Version::Resp2)
    }

    /// Another client of a server.
    pub fn of(server: &Arc<Server>, id: u64, version: Version) -> Self {
        let client = Arc::new(net::Client::new(id, String::new(), String::new(), 0, UnixMillis(0)));
        client.set_version(version);
        let session = Session::new(client, true);
        Self { server: server.clone(), session, effects: Vec::new(), outcome: Outcome::Done, version }
    }

    /// Runs a request; its reply as it is on the wire.
    pub fn run_args(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut reply = Reply::new(self.version);
        let shard = self.server.shard();
        let mut turn = Turn::new(&self.server, &shard, 0);
        self.outcome = turn.run(&mut self.session, args, &mut reply);
        self.effects = std::mem::take(&mut turn.effects);
        turn.finish();
        reply.bytes().to_vec()
    }

    /// Runs a request given as words; its reply with `|` for each line break, so that it reads well in an assertion.
    pub fn run(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        shown(&self.run_args(&args))
    }

    /// What was published to it since the last time.
    pub fn messages(&self) -> String {
        let mut bytes = Vec::new();
        self.session.client.take_into(&mut bytes);
        shown(&bytes)
    }
}

fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).replace("\r\n", "|")
}
