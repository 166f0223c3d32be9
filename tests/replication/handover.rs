//! FAILOVER when the link breaks just as the replica is told to take over: at no moment both take writes.

use std::thread::JoinHandle;

use crate::common::{Connection, Server};
use crate::proxy::{From, Proxy};
use crate::{converge, eventually, info, start};

/// A primary, and a replica that follows it through a proxy.
fn pair() -> (Server, Proxy, Server) {
    let primary = start(&[]);
    let proxy = Proxy::to(primary.port());
    let replica = start(&["--replicaof", "127.0.0.1", &proxy.port().to_string()]);
    assert_eq!(primary.connect().ask("SET before 1"), "+OK|");
    converge(&primary, &replica, "at first");
    (primary, proxy, replica)
}

/// Begins a failover that gets as far as telling the replica; also a write that is held back meanwhile, and what becomes of it.
fn fail_over(primary: &Server, replica: &Server) -> JoinHandle<String> {
    assert_eq!(primary.connect().ask(&format!("FAILOVER TO 127.0.0.1 {}", replica.port())), "+OK|");
    let port = primary.port();
    let held = std::thread::spawn(move || Connection::to(port).ask("SET held 1"));
    eventually("the replica is told", || info(primary, "master_failover_state") == "failover-in-progress");
    held
}

fn role(server: &Server) -> String {
    info(server, "role")
}

#[test]
fn a_replica_that_was_never_told_comes_back_and_the_primary_goes_on() {
    let (primary, proxy, replica) = pair();
    proxy.hold(From::Primary, true);
    let held = fail_over(&primary, &replica);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(primary.connect().ask("FAILOVER ABORT").starts_with("-ERR the replica was told"), "it may have arrived");
    proxy.set_cut(true);
    assert!(!held.is_finished(), "nobody knows yet who leads");
    assert!(replica.connect().ask("SET held 2").starts_with("-READONLY"));
    proxy.hold(From::Primary, false);
    proxy.set_cut(false);
    assert_eq!(held.join().unwrap(), "+OK|");
    assert_eq!((role(&primary).as_str(), info(&primary, "master_failover_state").as_str()), ("master", "no-failover"));
    converge(&primary, &replica, "after");
    assert_eq!(role(&replica), "slave");
}

#[test]
fn a_replica_that_is_killed_before_it_was_told_comes_back_and_the_primary_goes_on() {
    let (primary, proxy, mut replica) = pair();
    proxy.hold(From::Primary, true);
    let held = fail_over(&primary, &replica);
    replica.kill();
    proxy.set_cut(true);
    proxy.hold(From::Primary, false);
    proxy.set_cut(false);
    replica.restart_in_place();
    assert_eq!(held.join().unwrap(), "+OK|");
    converge(&primary, &replica, "after");
    assert_eq!((role(&primary).as_str(), role(&replica).as_str()), ("master", "slave"));
}

#[test]
fn a_replica_that_took_over_and_could_not_say_so_leads_and_is_followed() {
    let (primary, proxy, replica) = pair();
    proxy.hold(From::Replica, true);
    let held = fail_over(&primary, &replica);
    eventually("it takes over", || role(&replica) == "master");
    proxy.set_cut(true);
    assert_eq!(replica.connect().ask("SET new 1"), "+OK|");
    assert!(!held.is_finished(), "the old primary does not know");
    assert!(held.join().unwrap().starts_with("-READONLY"), "it never takes a write beside the new one");
    eventually("the old primary follows", || info(&primary, "master_link_status") == "up");
    converge(&replica, &primary, "after");
    assert_eq!(primary.connect().ask("GET new"), "$1|1|");
    assert_eq!(info(&primary, "divergent_files"), "0");
}

#[test]
fn when_nobody_hears_of_the_other_nobody_leads_until_the_operator_says_who() {
    let (primary, proxy, replica) = pair();
    proxy.hold(From::Primary, true);
    let held = fail_over(&primary, &replica);
    proxy.set_cut(true);
    // The replica may lead, for all that this node knows.
    assert!(held.join().unwrap().starts_with("-READONLY"));
    assert_eq!((role(&primary).as_str(), role(&replica).as_str()), ("slave", "slave"));
    assert!(replica.connect().ask("SET k 1").starts_with("-READONLY"));
    proxy.hold(From::Primary, false);
    proxy.set_cut(false);
    assert_eq!(primary.connect().ask("REPLICAOF NO ONE"), "+OK|");
    assert_eq!(primary.connect().ask("SET k 1"), "+OK|");
    converge(&primary, &replica, "after");
}

#[test]
fn a_primary_that_is_killed_before_it_heard_the_answer_follows_whom_it_told() {
    let (mut primary, proxy, replica) = pair();
    proxy.hold(From::Replica, true);
    assert_eq!(primary.connect().ask(&format!("FAILOVER TO 127.0.0.1 {}", replica.port())), "+OK|");
    eventually("it takes over", || role(&replica) == "master");
    primary.kill();
    assert_eq!(replica.connect().ask("SET new 1"), "+OK|");
    for what in ["killed before the answer", "killed again", "stopped"] {
        primary.restart_in_place();
        assert!(primary.connect().ask("SET new 2").starts_with("-READONLY"), "{what}");
        converge(&replica, &primary, what);
        if what == "killed again" {
            assert!(primary.terminate().success());
        } else {
            primary.kill();
        }
    }
    primary.restart_in_place();
    assert_eq!(info(&primary, "divergent_files"), "0");
    // The operator's word ends it.
    assert_eq!(primary.connect().ask("REPLICAOF NO ONE"), "+OK|");
    primary.kill();
    primary.restart_in_place();
    assert_eq!(role(&primary), "master");
}
