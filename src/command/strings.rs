//! Strings.

use super::{Call, CommandError, Flags, Group, Keys, Spec};

/// The family's rows.
pub const SPECS: &[Spec] = &[Spec {
    name: "get",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::Range { first: 1, last: 1, step: 1 },
    group: Group::String,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the value of a key.",
    handler: get,
}];

fn get(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    match call.txn.get(call.session.db, &call.key(1))? {
        Some(object) => call.reply.bulk(&object.data),
        None => call.reply.null(),
    }
    Ok(())
}
