//! What readers of this node see of the log, and waiting until that is what a client has written elsewhere.

use std::time::Duration;

use esker_storage::types::Lsn;
use tokio::time::{Instant, timeout_at};

use super::links::lineage_of;
use crate::command::Awaited;
use crate::replication::token::{Place, Token};
use crate::server::Server;
use crate::shard::Served;

/// How long to wait without looking: in the asynchronous mode nobody tells that a primary has written.
const LOOK: Duration = Duration::from_millis(10);

impl Server {
    /// What readers here see: promised, and applied.
    pub(crate) fn readable_lsn(&self, shard: &Served) -> Lsn {
        self.links.committed(shard).min(shard.written_lsn())
    }

    /// The token of an entry of the shard; 0: of the newest.
    pub(crate) fn token(&self, shard: &Served, lsn: Lsn) -> Token {
        let log = lineage_of(shard);
        Token::of(&log, if lsn == Lsn(0) { log.last } else { lsn })
    }

    /// How many of the tokens readers here see.
    ///
    /// # Errors
    /// One of them never will be seen.
    pub(crate) fn tokens_reached(&self, tokens: &[Token]) -> Result<usize, String> {
        let shard = self.shard();
        let (log, readable) = (lineage_of(&shard), self.readable_lsn(&shard));
        let mut reached = 0;
        for token in tokens {
            match token.place(&log) {
                Place::Held => reached += usize::from(token.lsn <= readable),
                Place::Ahead => {}
                Place::Never(reason) => return Err(format!("ERR token {token} is not in the history of this node: {reason}")),
            }
        }
        Ok(reached)
    }

    /// Waits until readers here see all the tokens, or for as long as asked; how many they see then.
    ///
    /// # Errors
    /// One of them never will be seen.
    pub(crate) async fn reached(&self, awaited: &Awaited) -> Result<usize, String> {
        let deadline = awaited.patience.map(|patience| Instant::now() + patience);
        let wanted = awaited.tokens.len();
        loop {
            let found = self.tokens_reached(&awaited.tokens)?;
            let now = Instant::now();
            if found == wanted || deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(found);
            }
            let until = deadline.unwrap_or(now + LOOK).min(now + LOOK);
            let is_there = || self.tokens_reached(&awaited.tokens) != Ok(found);
            drop(timeout_at(until, self.links.promise().moved(is_there)).await);
        }
    }
}
