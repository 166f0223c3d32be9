//! REPLICAOF, WAIT, WAITAOF, and ESKER.PEER, with which a replica turns its connection into a link.

use std::time::Duration;

use super::{Call, CommandError, Effect, Flags, Group, Keys, Spec, parse_integer};
use crate::replication::driver::Target;
use crate::replication::status::Failover;
use crate::replication::wire::VERSION;

const ROW: Spec = Spec {
    name: "replicaof",
    arity: -3,
    flags: Flags::ADMIN.and(Flags::STALE),
    keys: Keys::None,
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Makes the server a replica of another, whose data takes the place of its own, or a primary (NO ONE). FORCE: even if the primary has less than this server.",
    handler: replicaof,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "slaveof", since: "1.0.0", summary: "The old name of REPLICAOF.", ..ROW },
    Spec {
        name: "wait",
        arity: 3,
        flags: Flags(0),
        group: Group::Generic,
        since: "3.0.0",
        summary: "Waits until the connection's writes are in the logs of so many replicas, or so many milliseconds (0: for ever); how many have them.",
        handler: wait,
        ..ROW
    },
    Spec {
        name: "waitaof",
        arity: 4,
        flags: Flags(0),
        group: Group::Generic,
        since: "7.2.0",
        summary: "Waits until the connection's writes survive power loss here (1) and on so many replicas, or so many milliseconds (0: for ever).",
        handler: waitaof,
        ..ROW
    },
    Spec {
        name: "esker.peer",
        arity: 2,
        flags: Flags::ADMIN.and(Flags::NO_MULTI).and(Flags::STALE),
        since: "0.1.0",
        summary: "Makes the connection a replica's link of this version of the peers' protocol.",
        handler: peer,
        ..ROW
    },
];

fn replicaof(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    if call.server.replication().failover != Failover::None {
        return Err(CommandError::Text("ERR REPLICAOF not allowed while failing over."));
    }
    let force = match call.args {
        [_, _, _] => false,
        [_, _, _, force] if force.eq_ignore_ascii_case(b"force") => true,
        _ => return Err(CommandError::Syntax),
    };
    if call.arg(1).eq_ignore_ascii_case(b"no") && call.arg(2).eq_ignore_ascii_case(b"one") {
        call.effects.push(Effect::Follow(None));
    } else {
        let port = parse_integer(call.arg(2)).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        let port = port.ok_or(CommandError::Text("ERR Invalid master port"))?;
        let host = String::from_utf8_lossy(call.arg(1)).into_owned();
        call.effects.push(Effect::Follow(Some(Target { host, port, force })));
    }
    call.reply.ok();
    Ok(())
}

/// What a WAIT asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// Whether this node is to have flushed it; none: WAIT, which asks for no flush at all.
    pub local: Option<bool>,
    /// Replicas that are to have it.
    pub replicas: usize,
    /// For how long to wait; none: for ever.
    pub patience: Option<Duration>,
}

fn wait(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let replicas = parse_integer(call.arg(1)).ok_or(CommandError::NotInteger)?;
    copies(call, None, replicas, 2)
}

fn waitaof(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let out_of_range = CommandError::Text("ERR value is out of range, must be between 0 and 1");
    let local = match parse_integer(call.arg(1)).ok_or(CommandError::NotInteger)? {
        0 => false,
        1 => true,
        _ => return Err(out_of_range),
    };
    let replicas = parse_integer(call.arg(2)).ok_or(CommandError::NotInteger)?;
    copies(call, Some(local), replicas, 3)
}

fn copies(call: &mut Call<'_, '_>, local: Option<bool>, replicas: i64, timeout: usize) -> Result<(), CommandError> {
    if call.server.replication().link().is_some() {
        let name = if local.is_some() { "WAITAOF" } else { "WAIT" };
        return Err(CommandError::Owned(format!(
            "ERR {name} cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated."
        )));
    }
    let millis = parse_integer(call.arg(timeout)).ok_or(CommandError::Text("ERR timeout is not an integer or out of range"))?;
    let millis = u64::try_from(millis).map_err(|_| CommandError::Text("ERR timeout is negative"))?;
    let replicas = usize::try_from(replicas).unwrap_or(0);
    // In a transaction nothing is waited for.
    let patience = if call.session.queue.running { Some(Duration::ZERO) } else { (millis > 0).then(|| Duration::from_millis(millis)) };
    if patience == Some(Duration::ZERO) {
        let lsn = call.session.written;
        let promise = call.server.links.promise();
        match local {
            None => call.reply.integer(promise.replicas_with(lsn, false) as i64),
            Some(_) => {
                call.reply.array(2);
                call.reply.integer(i64::from(call.shard.flushed_lsn() >= lsn));
                call.reply.integer(promise.replicas_with(lsn, true) as i64);
            }
        }
        return Ok(());
    }
    call.effects.push(Effect::Await(Copies { local, replicas, patience }));
    Ok(())
}

fn peer(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let version = parse_integer(call.arg(1)).ok_or(CommandError::NotInteger)?;
    if version != i64::from(VERSION) {
        return Err(CommandError::Owned(format!("ERR this server speaks version {VERSION} of the peers' protocol")));
    }
    call.effects.push(Effect::Peer);
    call.reply.ok();
    Ok(())
}
