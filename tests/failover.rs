//! FAILOVER between real servers: nothing acknowledged is lost, and nobody copies what both have.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Connection, Server, eventually};

fn info(server: &Server, field: &str) -> String {
    server.connect().info("everything", field).unwrap_or_default()
}

/// A primary and a replica that follows it.
fn pair(options: &[&str]) -> (Server, Server) {
    let primary = Server::with(options);
    let replica = Server::with(&[options, &["--replicaof", &format!("127.0.0.1 {}", primary.port())]].concat());
    eventually("the replica follows", || info(&replica, "master_link_status") == "up" && info(&primary, "slave0").contains("online"));
    (primary, replica)
}

/// Writes until told to stop, on whoever takes writes; the last number that was acknowledged.
fn writer(ports: [u16; 2], name: usize, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut connections = ports.map(Connection::to);
        let (mut at, mut acknowledged) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let next = acknowledged + 1;
            match connections[at].ask(&format!("SET writer:{name}:{next} {next}")) {
                reply if reply == "+OK|" => acknowledged = next,
                reply => {
                    assert!(reply.starts_with("-READONLY"), "{reply}");
                    at = 1 - at;
                }
            }
        }
        acknowledged
    })
}

#[test]
fn every_acknowledged_write_is_on_the_new_primary_and_the_old_one_follows_it() {
    roles_change_without_a_loss(&[]);
}

#[test]
fn in_semi_sync_too() {
    roles_change_without_a_loss(&["--replication-mode", "semi-sync", "--ack-timeout", "20000"]);
}

#[test]
fn in_sync_too_with_an_in_sync_set_that_begins_anew() {
    let (one, other) = roles_change_without_a_loss(&["--replication-mode", "sync", "--ack-timeout", "20000"]);
    let members = |server: &Server| server.connect().info("replication", "in_sync_replicas");
    assert_eq!((members(&one), members(&other)), (Some(info(&other, "node_id")), None));
}

fn roles_change_without_a_loss(options: &[&str]) -> (Server, Server) {
    let (one, other) = pair(options);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4).map(|name| writer([one.port(), other.port()], name, Arc::clone(&stop))).collect();
    let snapshots = || info(&one, "sync_full").parse::<u64>().unwrap() + info(&other, "sync_full").parse::<u64>().unwrap();
    let before = snapshots();
    let mut servers = [&one, &other];
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(300));
        let [primary, replica] = servers;
        let began = Instant::now();
        assert_eq!(primary.connect().ask(&format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 20000", replica.port())), "+OK|");
        eventually("the replica takes over", || info(replica, "role") == "master");
        eventually("the old primary follows", || info(primary, "master_link_status") == "up" && info(replica, "slave0").contains("online"));
        println!("failover in {:?}", began.elapsed());
        assert_eq!(info(primary, "master_failover_state"), "no-failover");
        servers.swap(0, 1);
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(snapshots(), before, "the old primary goes on where its log ends");
    let acknowledged: Vec<u64> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    let [primary, replica] = servers;
    let mut asked = primary.connect();
    for (name, last) in acknowledged.iter().enumerate() {
        assert!(*last > 20, "{acknowledged:?}");
        for number in 1..=*last {
            assert!(asked.ask(&format!("GET writer:{name}:{number}")).ends_with(&format!("|{number}|")), "writer {name} lost {number}");
        }
    }
    // Read your writes, over a failover.
    let token = asked.ask("CLIENT LSN").split('|').nth(1).unwrap().to_owned();
    let epoch: u32 = token.split([':', '-']).nth(1).unwrap().parse().unwrap();
    assert!(epoch >= 5, "{token}");
    assert_eq!(replica.connect().ask(&format!("WAITLSN {token} 20000")), ":1|");
    assert_eq!(replica.connect().ask("DBSIZE"), primary.connect().ask("DBSIZE"));
    for server in servers {
        let files = std::fs::read_dir(server.dir()).unwrap().flatten().map(|file| file.file_name().into_string().unwrap());
        let kept: Vec<_> = files.filter(|name| name.starts_with("divergent-")).collect();
        assert!(kept.is_empty(), "{kept:?}");
    }
    (one, other)
}

#[test]
fn a_failover_that_takes_too_long_lets_writes_go_on() {
    let (primary, replica) = pair(&[]);
    // Stopped, the replica acknowledges nothing.
    let pid = replica.pid().to_string();
    let signal = |name: &str| assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    signal("-STOP");
    let mut client = primary.connect();
    assert_eq!(client.ask("SET before 1"), "+OK|");
    assert_eq!(client.ask("FAILOVER TIMEOUT 300"), "+OK|");
    assert_eq!(info(&primary, "master_failover_state"), "waiting-for-sync");
    assert!(client.ask("FAILOVER").starts_with("-ERR FAILOVER already in progress."));
    assert!(client.ask("REPLICAOF NO ONE").starts_with("-ERR REPLICAOF not allowed while failing over."));
    let began = Instant::now();
    assert_eq!(client.ask("SET after 1"), "+OK|", "held back, then written here");
    assert!(began.elapsed() > Duration::from_millis(100));
    assert_eq!(info(&primary, "master_failover_state"), "no-failover");
    assert_eq!(client.ask("FAILOVER"), "+OK|");
    assert_eq!(client.ask("FAILOVER ABORT"), "+OK|");
    assert_eq!(client.ask("SET again 1"), "+OK|");
    signal("-CONT");
    eventually("the replica has it", || replica.connect().ask("GET again") == "$1|1|");
    assert_eq!(info(&primary, "role"), "master");
}

#[test]
fn forced_a_replica_takes_over_although_it_has_not_acknowledged_everything() {
    let (primary, replica) = pair(&[]);
    let pid = replica.pid().to_string();
    let signal = |name: &str| assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    assert_eq!(primary.connect().ask("SET k 1"), "+OK|");
    eventually("the replica has it", || replica.connect().ask("GET k") == "$1|1|");
    signal("-STOP");
    assert_eq!(primary.connect().ask("SET k 2"), "+OK|");
    assert_eq!(primary.connect().ask(&format!("FAILOVER TO 127.0.0.1 {} FORCE TIMEOUT 100", replica.port())), "+OK|");
    std::thread::sleep(Duration::from_millis(300));
    signal("-CONT");
    eventually("the replica takes over", || info(&replica, "role") == "master");
    eventually("the old primary follows", || info(&primary, "master_link_status") == "up");
    // What was under way to the replica arrived before the order did.
    assert_eq!(primary.connect().ask("GET k"), replica.connect().ask("GET k"));
    assert_eq!(replica.connect().ask("SET l 1"), "+OK|");
    eventually("the old primary has it", || primary.connect().ask("GET l") == "$1|1|");
}
