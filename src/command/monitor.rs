//! MONITOR.

use super::{Call, CommandError, Flags, Gates, Group, Keys, Spec};

/// The family's rows.
pub const SPECS: &[Spec] = &[Spec {
    name: "monitor",
    arity: 1,
    flags: Flags::ADMIN.and(Flags::LOADING).and(Flags::SKIP_MONITOR),
    keys: Keys::None,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Shows this connection every command that the server runs.",
    handler: monitor,
}];

fn monitor(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    if call.session.queue.is_running() {
        return Err(CommandError::Text("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    call.server.monitors.add(&call.session.client);
    call.server.gates.set(Gates::MONITORS, true);
    call.session.client.shown().monitor = true;
    call.reply.ok();
    Ok(())
}
