//! What the way from arguments to a reply promises.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use esker_storage::types::{Lsn, UnixMillis};

use crate::command::testing::Client;
use crate::command::{Gates, Outcome, Turn, id_of};
use crate::net::Pause;
use crate::protocol::{Reply, Version};

fn calls(client: &Client, name: &str) -> u64 {
    client.server.counters.command(id_of(name).unwrap()).calls
}

#[test]
fn the_fast_path_and_the_table_give_the_same_replies() {
    let (mut fast, mut slow) = (Client::new(), Client::new());
    slow.server.gates.set(Gates::TIMED, true);
    for line in ["GET k", "SET k v", "set k2 w", "gEt k", "GET k k", "SET k", "SET k v NX", "GET", "SET", "DEL k", "GET k"] {
        assert_eq!(fast.run(line), slow.run(line), "{line}");
    }
    for name in ["get", "set", "del"] {
        assert_eq!(calls(&fast, name), calls(&slow, name), "{name}");
    }
    assert_eq!(fast.server.counters.hits(), slow.server.counters.hits());
    assert_eq!(fast.server.counters.misses(), slow.server.counters.misses());
    assert_eq!(slow.server.counters.misses(), 2);
}

#[test]
fn names_that_look_like_get_are_not_taken_for_it() {
    let mut a = Client::new();
    assert_eq!(a.run("G%T k"), "-ERR unknown command 'G%T', with args beginning with: 'k' |");
    assert_eq!(a.run("\x07\x05\x14 k"), "-ERR unknown command '\x07\x05\x14', with args beginning with: 'k' |");
}

#[test]
fn errors_quote_what_the_client_sent_within_limits() {
    let mut a = Client::new();
    assert_eq!(a.run("foo"), "-ERR unknown command 'foo', with args beginning with: |");
    let long = "x".repeat(300);
    let shown = format!("-ERR unknown command '{0}', with args beginning with: '{0}' |", &long[..128]);
    assert_eq!(a.run(&format!("{long} {long} more")), shown);
    let reply = a.run_args(&[b"fo\r\no", b"a\0b", b"\xff"]);
    assert_eq!(reply, b"-ERR unknown command 'fo  o', with args beginning with: 'a' '\xff' \r\n");
    assert_eq!(a.run("PUBSUB no\nsuch"), "-ERR unknown subcommand 'no such'. Try PUBSUB HELP.|");
    assert_eq!(a.run("pubsub"), "-ERR wrong number of arguments for 'pubsub' command|");
    assert_eq!(a.run("object encoding"), "-ERR wrong number of arguments for 'object|encoding' command|");
}

#[test]
fn nothing_runs_before_authentication() {
    let mut a = Client::new();
    a.session.authenticated = false;
    assert_eq!(a.run("SET k v"), "-NOAUTH Authentication required.|");
    assert_eq!(a.run("nope"), "-ERR unknown command 'nope', with args beginning with: |");
    assert_eq!(a.run("GET"), "-ERR wrong number of arguments for 'get' command|");
    assert_eq!(a.run("EXEC"), "-EXECABORT Transaction discarded because of: NOAUTH Authentication required.|");
    assert_eq!(a.run("PUBSUB HELP"), "-NOAUTH Authentication required.|");
    a.session.authenticated = true;
    assert_eq!(a.run("GET k"), "$-1|");
    assert_eq!(a.server.counters.errors()["NOAUTH"], 3);
    assert_eq!(a.server.counters.command(id_of("set").unwrap()).rejected, 1);
}

#[test]
fn a_pause_holds_back_what_it_names() {
    let mut a = Client::new();
    let now = UnixMillis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64);
    a.server.clients.pause(Pause::Writes, UnixMillis(now.0 + 60_000), now);
    assert_eq!(a.run("GET k"), "$-1|");
    for line in ["SET k v", "DEL k", "PUBLISH c m"] {
        assert_eq!(a.run(line), "", "{line}");
        assert_eq!(a.outcome, Outcome::Paused, "{line}");
    }
    a.run("MULTI");
    assert_eq!(a.run("GET k"), "+QUEUED|");
    assert_eq!(a.run("EXEC"), "*1|$-1|");
    a.run("MULTI");
    assert_eq!(a.run("SET k v"), "");
    a.server.clients.pause(Pause::All, UnixMillis(now.0 + 60_000), now);
    assert_eq!(a.run("GET k"), "");
    a.server.clients.resume();
    assert_eq!(a.run("EXEC"), "*0|");
    assert_eq!(calls(&a, "set"), 0);
}

#[test]
fn monitors_see_commands_after_they_ran_but_no_secrets() {
    let mut a = Client::new();
    let mut m = Client::of(&a.server, 2, Version::Resp2);
    a.server.monitors.add(&m.session.client);
    a.server.gates.set(Gates::MONITORS, true);
    a.run("MULTI");
    a.run("GET k");
    assert!(m.messages().ends_with("\"MULTI\"|"));
    a.run("EXEC");
    let seen = m.messages();
    let (get, exec) = (seen.find("\"GET\" \"k\"|").unwrap(), seen.find("\"EXEC\"|").unwrap());
    assert!(get < exec);
    m.run("GET other");
    assert!(m.messages().contains("\"GET\" \"other\"|"));
}

#[test]
fn a_turn_tells_the_newest_entry_that_it_wrote() {
    let client = Client::new();
    let (server, mut session) = (Arc::clone(&client.server), client.session);
    let mut reply = Reply::new(Version::Resp2);
    let shard = server.shard();
    let mut turn = Turn::new(&server, &shard, 0);
    turn.run(&mut session, &[b"GET", b"k"], &mut reply);
    assert_eq!(turn.lsn, Lsn(0));
    turn.run(&mut session, &[b"SET", b"k", b"v"], &mut reply);
    let first = turn.lsn;
    assert!(first > Lsn(0));
    turn.run(&mut session, &[b"APPEND", b"k", b"v"], &mut reply);
    assert_eq!(turn.lsn, Lsn(first.0 + 1));
    turn.run(&mut session, &[b"GET", b"k"], &mut reply);
    assert_eq!(turn.lsn, Lsn(first.0 + 1));
    turn.finish();
}

#[test]
fn a_large_reply_is_timed_by_itself() {
    let client = Client::new();
    let (server, mut session) = (Arc::clone(&client.server), client.session);
    let value = vec![b'x'; 1 << 20];
    let mut reply = Reply::new(Version::Resp2);
    let shard = server.shard();
    let mut turn = Turn::new(&server, &shard, 0);
    turn.run(&mut session, &[b"SET", b"k", &value], &mut reply);
    let totals = server.counters.command(id_of("set").unwrap());
    assert_eq!(totals.calls, 1, "counted before the turn ends");
    assert!(totals.nanoseconds > 0 && totals.nanoseconds < Duration::from_secs(10).as_nanos() as u64);
    turn.finish();
}
