//! INFO.

use esker_storage::types::Db;

use super::{Call, CommandError, Flags, Group, Keys, Spec};
use crate::observe::info::{self, DatabaseKeys};

/// The family's rows.
pub const SPECS: &[Spec] = &[Spec {
    name: "info",
    arity: -1,
    flags: Flags::LOADING,
    // The counts of keys need no locks: writers must not wait while the text is made, nor the text for writers.
    keys: Keys::None,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N), N connected clients",
    summary: "Tells about the server, by sections.",
    handler: info,
}];

fn info(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let keys = |db| DatabaseKeys { keys: call.txn.key_count(Db(db)), expires: call.txn.expires_count(Db(db)) };
    let databases: Vec<DatabaseKeys> = (0..call.server.config.databases()).map(keys).collect();
    call.reply.verbatim(&info::text(call.server, &databases, &call.args[1..]));
    Ok(())
}
