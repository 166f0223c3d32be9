//! What an acknowledgement means in each mode.

use std::time::{Duration, Instant};

use esker_storage::slot::slot_of;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::common::{Connection, Server};
use crate::writer::Writer;
use crate::{converge, eventually, info, replica_of, start};

fn signal(server: &Server, name: &str) {
    assert!(std::process::Command::new("kill").args([name, &server.pid().to_string()]).status().unwrap().success());
    if name == "-STOP" {
        // Was: a thread that had not stopped yet acknowledged one more write.
        eventually("it has stopped", || tasks(server).iter().all(|state| state == "T"));
    }
}

/// The states of a process's threads.
fn tasks(server: &Server) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().flatten();
    let state = |stat: String| stat.rsplit(") ").next().unwrap_or_default().split(' ').next().unwrap_or_default().to_owned();
    tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok().map(state)).collect()
}

const SEMI_SYNC: &[&str] = &["--replication-mode", "semi-sync", "--ack-timeout", "20000"];

#[test]
fn semi_sync_loses_nothing_acknowledged_when_the_primary_is_lost() {
    let seed: u64 = std::env::var("ESKER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("ESKER_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..4 {
        let mut primary = start(SEMI_SYNC);
        let replica = replica_of(primary.port(), SEMI_SYNC);
        converge(&primary, &replica, "at first");
        let mut writers: Vec<Writer> = (0..3).map(|db| Writer::new(db, rng.random())).collect();
        let port = primary.port();
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(move || writer.run(port));
            }
            std::thread::sleep(Duration::from_millis(rng.random_range(50..400)));
            primary.kill();
        });
        replica.connect().ask("CONFIG SET replication-mode async");
        assert_eq!(replica.connect().ask("REPLICAOF NO ONE"), "+OK|");
        for writer in &mut writers {
            writer.check(&mut replica.connect(), &format!("seed {seed}, round {round}"));
        }
    }
}

#[test]
fn a_write_that_no_replica_acknowledges_is_an_error_and_seen_by_nobody() {
    let primary = start(&["--replication-mode", "semi-sync", "--ack-timeout", "300"]);
    let replica = replica_of(primary.port(), &["--replication-mode", "semi-sync"]);
    let mut client = primary.connect();
    eventually("a write is acknowledged", || primary.connect().ask("SET a 1") == "+OK|");
    signal(&replica, "-STOP");
    let began = Instant::now();
    assert!(client.ask("SET a 2").starts_with("-NOREPLICAS outcome unknown"));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(client.ask("GET a").starts_with("-NOREPLICAS"), "it could still vanish");
    client.send_raw(b"SET b 1\r\nGET b\r\nPING\r\n");
    for _ in 0..3 {
        assert!(client.reply().starts_with("-NOREPLICAS"));
    }
    signal(&replica, "-CONT");
    eventually("the write was done", || primary.connect().ask("GET a") == "$1|2|");
    eventually("the replica has it", || replica.connect().ask("GET a") == "$1|2|");
    assert_eq!(client.ask("SET a 3"), "+OK|");
}

#[test]
fn a_read_waits_for_what_it_tells_of_and_for_nothing_else() {
    for mode in ["semi-sync", "sync"] {
        let options = ["--replication-mode", mode, "--ack-timeout", "200"];
        let primary = start(&options);
        let replica = replica_of(primary.port(), &options);
        eventually("a write is acknowledged", || primary.connect().ask("MSET settled 1 changed 1 deleted 1") == "+OK|");
        let mut client = primary.connect();
        // In database 1, for what is done to all of one.
        client.send_raw(b"SELECT 1\r\nSET flushed 1\r\n");
        assert_eq!((client.reply(), client.reply()), ("+OK|".to_owned(), "+OK|".to_owned()));
        client.ask("SELECT 0");
        let absent = absent_key_of_another_stripe();
        signal(&replica, "-STOP");
        let unknown = |reply: String| assert!(reply.starts_with("-NOREPLICAS"), "{mode}: {reply}");
        unknown(client.ask("SET changed 2"));
        unknown(client.ask("DEL deleted"));
        let began = Instant::now();
        assert_eq!(client.ask("GET settled"), "$1|1|", "{mode}");
        assert_eq!(client.ask("EXISTS settled"), ":1|");
        assert_eq!(client.ask("STRLEN settled"), ":1|");
        assert_eq!(client.ask(&format!("GET {absent}")), "$-1|", "{mode}: nothing was deleted there");
        assert_eq!(client.ask("SETNX settled 2"), ":0|");
        client.send_raw(b"MULTI\r\nGET settled\r\nEXEC\r\n");
        assert_eq!([client.reply(), client.reply(), client.reply()][2], "*1|$1|1|");
        assert!(began.elapsed() < Duration::from_millis(200), "{mode}: none of them waits");
        for unsettled in ["GET changed", "MGET settled changed", "EXISTS changed", "GET deleted", "EXISTS deleted", "SETNX changed 3"] {
            unknown(client.ask(unsettled));
        }
        for many in ["DBSIZE", "KEYS settled", "SCAN 0", "RANDOMKEY"] {
            unknown(client.ask(many));
        }
        // What has expired may come back with what its expiry took the place of.
        unknown(client.ask("SET settled 2 PX 1"));
        std::thread::sleep(Duration::from_millis(50));
        unknown(client.ask("GET settled"));
        client.ask("SELECT 1");
        assert_eq!(client.ask("GET flushed"), "$1|1|");
        unknown(client.ask("FLUSHDB"));
        unknown(client.ask("GET flushed"));
        signal(&replica, "-CONT");
        eventually("all of it is settled", || primary.connect().ask("DBSIZE") == ":1|");
        assert_eq!(client.ask("GET flushed"), "$-1|");
        eventually("on the replica too", || replica.connect().ask("GET changed") == "$1|2|");
    }
}

/// A key in whose stripe nothing was deleted when "deleted" is.
fn absent_key_of_another_stripe() -> String {
    let stripe = |key: &str| slot_of(key.as_bytes()).stripe();
    (0..).map(|n| format!("absent{n}")).find(|key| stripe(key) != stripe("deleted")).unwrap()
}

#[test]
fn sync_wants_so_many_members_and_survives_the_loss_of_power_of_all_but_one() {
    let options = ["--replication-mode", "sync", "--min-in-sync", "2", "--ack-timeout", "300"];
    let primary = start(&options);
    let mut client = primary.connect();
    assert!(client.ask("SET a 1").starts_with("-NOREPLICAS"), "alone it is not enough");
    let replica = replica_of(primary.port(), &options);
    eventually("a write is acknowledged", || primary.connect().ask("SET a 2") == "+OK|");
    assert_eq!(client.ask("SET b 1"), "+OK|");
    let acknowledged: u64 = info(&primary, "master_repl_offset").parse().unwrap();
    let line = info(&primary, "replica0");
    let flushed = line.split(',').find_map(|field| field.strip_prefix("lsn_flushed=")).unwrap();
    assert!(flushed.parse::<u64>().unwrap() >= acknowledged, "{line}");
    signal(&replica, "-STOP");
    assert!(client.ask("SET b 2").starts_with("-NOREPLICAS"), "a member stays one");
    signal(&replica, "-CONT");
    eventually("writes go on", || primary.connect().ask("SET b 3") == "+OK|");
}

#[test]
fn wait_counts_logs_and_waitaof_media() {
    let primary = start(&["--appendfsync", "no"]);
    let mut client = primary.connect();
    client.ask("SET a 1");
    assert_eq!(client.ask("WAIT 1 100"), ":0|", "nobody there");
    let replica = replica_of(primary.port(), &[]);
    converge(&primary, &replica, "at first");
    client.ask("SET a 2");
    assert_eq!(client.ask("WAIT 1 0"), ":1|");
    assert_eq!(client.ask("WAITAOF 1 1 20000"), "*2|:1|:1|");
    signal(&replica, "-STOP");
    client.ask("SET a 3");
    let began = Instant::now();
    assert_eq!(client.ask("WAIT 1 200"), ":0|");
    assert!(began.elapsed() >= Duration::from_millis(200));
    client.send_raw(b"MULTI\r\nSET a 4\r\nWAIT 1 0\r\nEXEC\r\n");
    let replies: Vec<String> = (0..4).map(|_| client.reply()).collect();
    assert_eq!(replies[3], "*2|+OK|:0|", "a transaction waits for nothing");
    signal(&replica, "-CONT");
    assert_eq!(client.ask("WAIT 1 20000"), ":1|");
    assert!(replica.connect().ask("WAIT 1 100").starts_with("-ERR WAIT cannot be used with replica instances"));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_wait_disturbs_nobody() {
    let primary = start(&[]);
    for _ in 0..20 {
        let mut client = Connection::to(primary.port());
        client.send_raw(b"SET a 1\r\nWAIT 5 0\r\n");
    }
    assert_eq!(primary.connect().ask("SET b 1"), "+OK|");
}

#[test]
fn a_restarted_sync_primary_waits_for_the_members_that_it_had() {
    let options = ["--replication-mode", "sync", "--min-in-sync", "2", "--ack-timeout", "500"];
    let mut primary = start(&options);
    let (near, mut far) = (replica_of(primary.port(), &options), replica_of(primary.port(), &options));
    let members = |server: &Server| info(server, "in_sync_replicas");
    let id = |server: &Server| info(server, "node_id");
    let mut both = [id(&near), id(&far)];
    both.sort();
    let joined = || primary.connect().ask("SET a 1") == "+OK|" && members(&primary) == both.join(",");
    eventually("both are members", joined);
    far.kill();
    for clean in [false, true] {
        if clean {
            primary.terminate();
        } else {
            primary.kill();
        }
        primary.restart_in_place();
        assert_eq!(members(&primary), both.join(","));
        eventually("one member is there", || primary.connect().info("replication", "slave0").is_some_and(|it| it.contains("online")));
        assert!(primary.connect().ask("SET a 2").starts_with("-NOREPLICAS"), "what the other would lack is not promised");
    }
    far.restart_in_place();
    eventually("writes go on", || primary.connect().ask("SET a 3") == "+OK|");
    // Leaving the mode gives up what the set was good for.
    far.kill();
    assert_eq!(primary.connect().ask("CONFIG SET replication-mode async"), "+OK|");
    assert_eq!(primary.connect().ask("CONFIG SET replication-mode sync"), "+OK|");
    eventually("writes go on", || primary.connect().ask("SET a 4") == "+OK|");
    assert_eq!(members(&primary), id(&near));
    // A replica has no members of its own, and its next part begins without.
    assert_eq!(primary.connect().ask("REPLICAOF 127.0.0.1 1"), "+OK|");
    assert_eq!(primary.connect().ask("REPLICAOF NO ONE"), "+OK|");
    eventually("who follows is a member", || primary.connect().ask("SET a 5") == "+OK|" && members(&primary) == id(&near));
}
