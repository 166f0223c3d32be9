//! What watches commands from outside: MONITOR, the slow log, the latency monitor, CLIENT PAUSE.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use esker_storage::types::UnixMillis;

use super::table::{CommandId, id_of};
use super::{Flags, Gates, Spec};
use crate::net::Pause;
use crate::server::Server;
use crate::session::Session;

/// The rows of GET and SET, which the fast path counts without looking them up.
pub(super) fn fast_path_ids() -> (CommandId, CommandId) {
    static IDS: OnceLock<(CommandId, CommandId)> = OnceLock::new();
    *IDS.get_or_init(|| (id_of("get").expect("the table has GET"), id_of("set").expect("the table has SET")))
}

/// Whether CLIENT PAUSE holds the command back.
pub(super) fn is_paused(server: &Server, session: &Session, spec: &Spec, now: UnixMillis) -> bool {
    if !server.clients.may_be_paused() {
        return false;
    }
    match server.clients.paused(now) {
        Pause::None => false,
        Pause::All => true,
        Pause::Writes => match spec.name {
            "publish" | "spublish" => true,
            "exec" => session.queue.writes(),
            _ => spec.flags.has(Flags::WRITE),
        },
    }
}

/// Tells those who watch that a command was executed.
pub(super) fn executed(server: &Server, session: &Session, spec: &Spec, args: &[&[u8]], took: Duration) {
    if server.gates.has(Gates::MONITORS) {
        show_monitors(server, session, spec, args);
    }
    let hot = server.config.hot();
    let micros = took.as_micros() as u64;
    if u64::try_from(hot.slowlog_micros()).is_ok_and(|limit| micros >= limit) && spec.name != "exec" && !spec.flags.has(Flags::SKIP_MONITOR)
    {
        let name = session.client.shown().name.clone();
        let keep = hot.slowlog_len();
        server.slowlog.add(&redacted(spec, args), unix_time().as_secs() as i64, micros, &session.client.address, &name, keep);
    }
    let (millis, limit) = (micros / 1000, hot.latency_millis());
    if limit > 0 && millis >= limit {
        let event = if spec.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        server.latency.add(event, unix_time().as_secs() as i64, millis);
    }
}

#[cold]
fn show_monitors(server: &Server, session: &Session, spec: &Spec, args: &[&[u8]]) {
    if !spec.flags.has(Flags::ADMIN) && !spec.flags.has(Flags::SKIP_MONITOR) {
        let micros = unix_time().as_micros() as i64;
        server.monitors.show(micros, session.db.0, &session.client, &redacted(spec, args));
    }
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The arguments without passwords.
fn redacted<'a>(spec: &Spec, args: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut shown = args.to_vec();
    let secret = match spec.name {
        "auth" => 1..args.len(),
        "hello" => {
            let auth = args.iter().position(|arg| arg.eq_ignore_ascii_case(b"auth")).unwrap_or(args.len());
            (auth + 1).min(args.len())..(auth + 3).min(args.len())
        }
        "config|set" => {
            let named = |name: &[u8]| args.iter().position(|arg| arg.eq_ignore_ascii_case(name));
            let name = named(b"requirepass").or_else(|| named(b"masterauth")).unwrap_or(args.len());
            (name + 1).min(args.len())..(name + 2).min(args.len())
        }
        _ => 0..0,
    };
    shown[secret].fill(b"(redacted)");
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use crate::command::lookup;
    use crate::command::testing::Client;

    #[test]
    fn a_slow_command_enters_the_slow_log() {
        let mut a = Client::new();
        a.server.config.set(&[("slowlog-log-slower-than", "0")]).unwrap();
        a.server.config_changed();
        a.run("SET k v");
        a.run("GET k");
        let entries = a.server.slowlog.newest(10);
        assert_eq!(entries[0].args, [b"GET".to_vec(), b"k".to_vec()]);
        assert_eq!(entries[1].args.len(), 3);
    }

    #[test]
    fn passwords_are_not_shown() {
        let Some(spec) = lookup("auth") else { return };
        assert_eq!(super::redacted(spec, &[b"AUTH", b"u", b"p"]), [&b"AUTH"[..], b"(redacted)", b"(redacted)"]);
    }
}
