//! CLIENT LSN and WAITLSN: reading on a replica what was written on its primary.

use std::time::Duration;

use super::{Call, CommandError, Effect, Flags, Group, Keys, Spec, parse_integer};
use crate::replication::token::Token;

const ROW: Spec = Spec {
    name: "client|lsn",
    arity: 2,
    flags: Flags::LOADING.and(Flags::NO_MULTI),
    keys: Keys::None,
    group: Group::Connection,
    since: "0.1.0",
    complexity: "O(1)",
    summary: "Returns the token of the newest entry that the connection has written, or, if it has written none, of the newest there is.",
    handler: client_lsn,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec {
        name: "waitlsn",
        arity: -3,
        flags: Flags::LOADING,
        group: Group::Generic,
        complexity: "O(N), N tokens",
        summary: "Waits until readers of this server see what the tokens name, or so many milliseconds (0: for ever); of how many they do.",
        handler: waitlsn,
        ..ROW
    },
];

/// What a WAITLSN asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// Entries.
    pub tokens: Vec<Token>,
    /// For how long to wait; none: for ever.
    pub patience: Option<Duration>,
}

fn client_lsn(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let token = call.server.token(call.shard, call.session.written);
    call.reply.bulk(token.to_string().as_bytes());
    Ok(())
}

fn waitlsn(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (timeout, tokens) = call.args[1..].split_last().ok_or(CommandError::Syntax)?;
    let millis = parse_integer(timeout).ok_or(CommandError::Text("ERR timeout is not an integer or out of range"))?;
    let millis = u64::try_from(millis).map_err(|_| CommandError::Text("ERR timeout is negative"))?;
    let tokens = tokens.iter().map(|text| token(text)).collect::<Result<Vec<_>, _>>()?;
    let reached = call.server.tokens_reached(&tokens).map_err(CommandError::Owned)?;
    // In a transaction nothing is waited for.
    if reached == tokens.len() || call.session.queue.is_running() {
        call.reply.integer(reached as i64);
        return Ok(());
    }
    let patience = (millis > 0).then(|| Duration::from_millis(millis));
    call.effects.push(Effect::AwaitTokens(Awaited { tokens, patience }));
    Ok(())
}

fn token(text: &[u8]) -> Result<Token, CommandError> {
    let shown = || String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned();
    Token::parse(text).ok_or_else(|| CommandError::Owned(format!("ERR '{}' is no token: shard:epoch-writer:lsn is expected", shown())))
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
