//! FAILOVER: this primary's part goes over to a replica that has everything.

use std::time::Duration;

use super::{Call, CommandError, Flags, Group, Keys, Spec, parse_integer};
use crate::replication::failover::Wish;

/// The family's rows.
pub const SPECS: &[Spec] = &[Spec {
    name: "failover",
    arity: -1,
    flags: Flags::ADMIN.and(Flags::NO_MULTI).and(Flags::STALE),
    keys: Keys::None,
    group: Group::Server,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Hands the primary's part over to a replica that has everything, with writes held back meanwhile; this server follows it then.",
    handler: failover,
}];

#[derive(Default)]
struct Options {
    target: Option<(String, u16)>,
    timeout: Option<Duration>,
    force: bool,
    abort: bool,
}

fn failover(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let Options { target, timeout, force, abort } = options(&call.args[1..])?;
    let links = &call.server.links;
    if abort {
        if target.is_some() || timeout.is_some() {
            return Err(CommandError::Text("ERR FAILOVER abort cannot be combined with other options."));
        }
        links.abort_failover(call.server).map_err(CommandError::Text)?;
    } else {
        if force && (timeout.is_none() || target.is_none()) {
            return Err(CommandError::Text("ERR FAILOVER with force option requires both a timeout and target HOST and IP."));
        }
        links.fail_over(call.server, Wish { target, timeout, force }).map_err(CommandError::Text)?;
    }
    call.reply.ok();
    Ok(())
}

fn options(mut args: &[&[u8]]) -> Result<Options, CommandError> {
    let mut options = Options::default();
    while let Some((word, rest)) = args.split_first() {
        args = match rest {
            rest if word.eq_ignore_ascii_case(b"abort") => {
                options.abort = true;
                rest
            }
            rest if word.eq_ignore_ascii_case(b"force") && !options.force => {
                options.force = true;
                rest
            }
            [millis, rest @ ..] if word.eq_ignore_ascii_case(b"timeout") && options.timeout.is_none() => {
                let millis = parse_integer(millis).ok_or(CommandError::NotInteger)?;
                let millis = u64::try_from(millis).ok().filter(|millis| *millis > 0);
                let millis = millis.ok_or(CommandError::Text("ERR FAILOVER timeout must be greater than 0"))?;
                options.timeout = Some(Duration::from_millis(millis));
                rest
            }
            [host, port, rest @ ..] if word.eq_ignore_ascii_case(b"to") && options.target.is_none() => {
                let port = parse_integer(port).and_then(|port| u16::try_from(port).ok()).ok_or(CommandError::NotInteger)?;
                options.target = Some((String::from_utf8_lossy(host).into_owned(), port));
                rest
            }
            _ => return Err(CommandError::Syntax),
        };
    }
    Ok(options)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use crate::command::testing::Client;
    use crate::replication::status::{Failover, Replica, ReplicaState};

    #[test]
    fn what_makes_no_sense_is_refused_with_the_words_of_redis() {
        let mut client = Client::new();
        let cases = [
            ("FAILOVER", "-ERR FAILOVER requires connected replicas.|"),
            ("FAILOVER ABORT", "-ERR No failover in progress.|"),
            ("FAILOVER TO h", "-ERR syntax error|"),
            ("FAILOVER TO h 1 FORCE", "-ERR FAILOVER with force option requires both a timeout and target HOST and IP.|"),
            ("FAILOVER FORCE TIMEOUT 5", "-ERR FAILOVER with force option requires both a timeout and target HOST and IP.|"),
            ("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0|"),
            ("FAILOVER TIMEOUT x", "-ERR value is not an integer or out of range|"),
            ("FAILOVER TIMEOUT 5 ABORT", "-ERR FAILOVER abort cannot be combined with other options.|"),
        ];
        for (request, reply) in cases {
            assert_eq!(client.run(request), reply, "{request}");
        }
    }

    #[test]
    fn a_failover_that_cannot_run_holds_nobody_back() {
        let mut client = Client::new();
        let online = Replica { state: ReplicaState::Online, ..Replica::default() };
        client.server.update_replication(|status| status.replicas.insert(1, online));
        assert_eq!(client.run("FAILOVER"), "-ERR the server is starting or stopping|", "its links were not started");
        assert_eq!(client.server.replication().failover, Failover::None);
        assert_eq!(client.run("SET k v"), "+OK|");
    }
}
