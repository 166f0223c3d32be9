//! What MULTI, EXEC and WATCH promise.

use crate::command::testing::Client;
use crate::protocol::Version;

fn two() -> (Client, Client) {
    let a = Client::new();
    let b = Client::of(&a.server, 2, Version::Resp2);
    (a, b)
}

#[test]
fn queued_commands_run_at_exec_and_not_before() {
    let (mut a, mut b) = two();
    assert_eq!(a.run("MULTI"), "+OK|");
    assert_eq!(a.run("SET k v"), "+QUEUED|");
    assert_eq!(a.run("GET k"), "+QUEUED|");
    assert_eq!(b.run("GET k"), "$-1|");
    assert_eq!(a.run("EXEC"), "*2|+OK|$1|v|");
    assert_eq!(b.run("GET k"), "$1|v|");
}

#[test]
fn misplaced_commands_get_the_texts_of_redis() {
    let mut a = Client::new();
    assert_eq!(a.run("EXEC"), "-ERR EXEC without MULTI|");
    assert_eq!(a.run("DISCARD"), "-ERR DISCARD without MULTI|");
    a.run("MULTI");
    assert_eq!(a.run("MULTI"), "-ERR MULTI calls can not be nested|");
    assert_eq!(a.run("WATCH k"), "-ERR WATCH inside MULTI is not allowed|");
    assert_eq!(a.run("EXEC"), "*0|");
}

#[test]
fn a_command_that_cannot_be_queued_dooms_the_transaction() {
    let mut a = Client::new();
    a.run("MULTI");
    a.run("SET k v");
    assert_eq!(a.run("NOPE x y"), "-ERR unknown command 'NOPE', with args beginning with: 'x' 'y' |");
    assert_eq!(a.run("EXEC"), "-EXECABORT Transaction discarded because of previous errors.|");
    assert_eq!(a.run("GET k"), "$-1|");
    a.run("MULTI");
    assert_eq!(a.run("GET"), "-ERR wrong number of arguments for 'get' command|");
    assert_eq!(a.run("DISCARD"), "+OK|");
    assert_eq!(a.run("EXEC"), "-ERR EXEC without MULTI|");
}

#[test]
fn exec_with_arguments_aborts_the_transaction() {
    let mut a = Client::new();
    a.run("MULTI");
    assert_eq!(a.run("EXEC now"), "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command|");
    assert_eq!(a.run("EXEC"), "-ERR EXEC without MULTI|");
}

#[test]
fn a_failing_command_leaves_the_effects_of_the_others() {
    let mut a = Client::new();
    a.run("SET text abc");
    a.run("MULTI");
    a.run("SET a 1");
    a.run("EXPIRE a notanumber");
    a.run("SET b 2");
    assert_eq!(a.run("EXEC"), "*3|+OK|-ERR value is not an integer or out of range|+OK|");
    assert_eq!(a.run("GET a"), "$1|1|");
    assert_eq!(a.run("GET b"), "$1|2|");
}

#[test]
fn a_watched_key_that_changed_stops_exec() {
    let (mut a, mut b) = two();
    a.run("SET k 1");
    assert_eq!(a.run("WATCH k other"), "+OK|");
    b.run("SET k 2");
    a.run("MULTI");
    a.run("SET k 3");
    assert_eq!(a.run("EXEC"), "*-1|");
    assert_eq!(a.run("GET k"), "$1|2|");
    a.run("MULTI");
    a.run("SET k 3");
    assert_eq!(a.run("EXEC"), "*1|+OK|");
}

#[test]
fn an_absent_watched_key_that_is_created_stops_exec() {
    let (mut a, mut b) = two();
    a.run("WATCH k");
    b.run("SET k 2");
    a.run("MULTI");
    assert_eq!(a.run("EXEC"), "*-1|");
}

#[test]
fn unwatch_and_discard_forget_watched_keys() {
    let (mut a, mut b) = two();
    for forget in ["UNWATCH", "DISCARD"] {
        a.run("WATCH k");
        if forget == "DISCARD" {
            a.run("MULTI");
        }
        a.run(forget);
        b.run(&format!("SET k {forget}"));
        a.run("MULTI");
        assert_eq!(a.run("EXEC"), "*0|");
    }
}

#[test]
fn the_same_key_watched_in_two_databases_is_two_keys() {
    let (mut a, mut b) = two();
    a.session.db.0 = 1;
    a.run("WATCH k");
    a.session.db.0 = 0;
    a.run("WATCH k");
    b.session.db.0 = 1;
    b.run("SET k v");
    a.run("MULTI");
    assert_eq!(a.run("EXEC"), "*-1|");
}

#[test]
fn messages_published_in_a_transaction_leave_after_it() {
    let (mut a, mut b) = two();
    b.run("SUBSCRIBE news");
    a.run("MULTI");
    a.run("PUBLISH news hello");
    assert_eq!(b.messages(), "");
    assert_eq!(a.run("EXEC"), "*1|:1|");
    assert_eq!(b.messages(), "*3|$7|message|$4|news|$5|hello|");
}

#[test]
fn nothing_of_a_transaction_is_counted_as_unknown() {
    let mut a = Client::new();
    a.run("MULTI");
    a.run("GET k");
    a.run("EXEC");
    let get = a.server.counters.command(crate::command::id_of("get").unwrap());
    assert_eq!(get.calls, 1);
    assert_eq!(a.server.counters.misses(), 1);
    assert_eq!(a.server.counters.processed(), 3);
}
