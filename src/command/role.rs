//! ROLE: the server's part in replication.

use super::{Call, CommandError, Flags, Group, Keys, Spec};
use crate::replication::status::{ReplicaState, Role};

/// The family's rows.
pub const SPECS: &[Spec] = &[Spec {
    name: "role",
    arity: 1,
    flags: Flags::FAST.and(Flags::LOADING),
    keys: Keys::None,
    group: Group::Server,
    since: "2.8.12",
    complexity: "O(N), N replicas",
    summary: "Returns the server's part in replication.",
    handler: role,
}];

fn role(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let written = call.shard.written_lsn().0 as i64;
    let (status, reply) = (call.server.replication(), &mut *call.reply);
    match &status.role {
        Role::Primary => {
            let online = || status.replicas.values().filter(|replica| replica.state == ReplicaState::Online);
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(written);
            reply.array(online().count());
            for replica in online() {
                reply.array(3);
                reply.bulk(replica.address.as_bytes());
                reply.bulk(replica.port.to_string().as_bytes());
                reply.bulk(replica.received.to_string().as_bytes());
            }
        }
        Role::Replica(link) => {
            reply.array(5);
            reply.bulk(b"slave");
            reply.bulk(link.host.as_bytes());
            reply.integer(link.port.into());
            reply.bulk(link.state().name().as_bytes());
            reply.integer(if link.is_up() { written } else { -1 });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "role_tests.rs"]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
