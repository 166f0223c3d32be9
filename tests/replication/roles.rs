//! Who is the primary, and what becomes of what only one side has.

use std::time::Duration;

use clap::Parser;
use esker_tools::log::{Args, run};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::proxy::Proxy;
use crate::{contents, converge, eventually, info, number, replica_of, start};

#[test]
fn what_two_primaries_wrote_apart_is_set_aside_and_counted() {
    let old = start(&[]);
    let proxy = Proxy::to(old.port());
    let new = replica_of(proxy.port(), &[]);
    let mut client = old.connect();
    for n in 0..100 {
        client.ask(&format!("SET key:{n} both"));
    }
    converge(&old, &new, "at first");
    proxy.set_cut(true);
    assert_eq!(new.connect().ask("REPLICAOF NO ONE"), "+OK|");
    for n in 0..10 {
        client.ask(&format!("SET key:{n} old"));
        assert_eq!(new.connect().ask(&format!("SET key:{} new", n + 5)), "+OK|");
    }
    assert_eq!(client.ask(&format!("REPLICAOF 127.0.0.1 {}", new.port())), "+OK|");
    converge(&new, &old, "after");
    assert_eq!(old.connect().ask("GET key:3"), "$4|both|", "what only the old one had");
    assert_eq!(old.connect().ask("GET key:12"), "$3|new|");
    assert_eq!(number(&old, "divergent_files"), 1);
    let files = std::fs::read_dir(old.dir()).unwrap().map(|file| file.unwrap().path());
    let mut divergent = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("divergent-"));
    let (path, None) = (divergent.next().unwrap(), divergent.next()) else { panic!("one file") };
    let mut out = Vec::new();
    run(&Args::parse_from(["esker-log", "dump", path.to_str().unwrap(), "--values"]), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches("key:").count(), 10, "{text}");
}

#[test]
fn a_primary_that_came_back_empty_wipes_nobody() {
    let mut primary = start(&[]);
    let replica = replica_of(primary.port(), &[]);
    for n in 0..50 {
        primary.connect().ask(&format!("SET key:{n} {n}"));
    }
    converge(&primary, &replica, "at first");
    let before = contents(&replica);
    primary.kill();
    for entry in std::fs::read_dir(primary.dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    primary.restart_in_place();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(info(&replica, "master_link_status"), "down");
    assert_eq!(contents(&replica), before);
    // Only on somebody's word, and even then nothing is gone.
    assert_eq!(replica.connect().ask(&format!("REPLICAOF 127.0.0.1 {} FORCE", primary.port())), "+OK|");
    eventually("the link is up", || info(&replica, "master_link_status") == "up");
    assert!(contents(&replica).is_empty());
    let aside = std::fs::read_dir(replica.dir()).unwrap().any(|file| file.unwrap().file_name().to_str().unwrap().starts_with("set-aside-"));
    assert!(aside, "its data was set aside");
    let mut out = Vec::new();
    run(&Args::parse_from(["esker-log", "divergent", replica.dir().to_str().unwrap()]), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("set-aside-") && text.contains("esker-log export"), "{text}");
}

#[test]
fn roles_change_in_a_transaction_and_at_once() {
    let (one, other) = (start(&[]), start(&[]));
    let mut client = other.connect();
    client.ask("SET a 1");
    assert_eq!(client.ask("MULTI"), "+OK|");
    client.ask(&format!("REPLICAOF 127.0.0.1 {}", one.port()));
    assert_eq!(client.ask("EXEC"), "*1|+OK|");
    assert!(client.ask("SET a 2").starts_with("-READONLY"), "at once");
    assert_eq!(info(&other, "role"), "slave");
    assert_eq!(client.ask("REPLICAOF NO ONE"), "+OK|");
    assert_eq!(client.ask("SET a 3"), "+OK|", "at once");
    assert!(client.ask("REPLICAOF 127.0.0.1 0").starts_with("-ERR Invalid master port"));
    assert!(client.ask("REPLICAOF 127.0.0.1").starts_with("-ERR wrong number"));
}

#[test]
fn a_promoted_replica_serves_the_others_from_where_they_are() {
    let mut primary = start(&[]);
    let replicas = [replica_of(primary.port(), &[]), replica_of(primary.port(), &[])];
    for n in 0..200 {
        primary.connect().ask(&format!("SET key:{n} {n}"));
    }
    replicas.iter().for_each(|replica| converge(&primary, replica, "at first"));
    primary.kill();
    let [new, other] = &replicas;
    assert_eq!(new.connect().ask("REPLICAOF NO ONE"), "+OK|");
    assert_eq!(new.connect().ask("SET more 1"), "+OK|");
    assert_eq!(other.connect().ask(&format!("REPLICAOF 127.0.0.1 {}", new.port())), "+OK|");
    converge(new, other, "behind the new one");
    assert_eq!((number(new, "sync_full"), number(new, "sync_partial_ok")), (0, 1));
}

#[test]
fn a_token_of_a_server_that_was_promoted_apart_is_an_error_at_once() {
    let mut primary = start(&[]);
    let others = [replica_of(primary.port(), &[]), replica_of(primary.port(), &[])];
    primary.connect().ask("SET key 0");
    let common = primary.connect().ask("CLIENT LSN").split('|').nth(1).unwrap().to_owned();
    others.iter().for_each(|replica| converge(&primary, replica, "at first"));
    primary.kill();
    let tokens = others.each_ref().map(|promoted| {
        assert_eq!(promoted.connect().ask("REPLICAOF NO ONE"), "+OK|");
        promoted.connect().ask("SET key 1");
        promoted.connect().ask("CLIENT LSN").split('|').nth(1).unwrap().to_owned()
    });
    let numbers = tokens.each_ref().map(|token| token.split_once('-').map(|(head, _)| head.to_owned()));
    assert!(numbers[0].is_some() && numbers[0] == numbers[1], "both got the same number: {tokens:?}");
    for (promoted, token) in [(&others[0], &tokens[1]), (&others[1], &tokens[0])] {
        assert_eq!(promoted.connect().ask(&format!("WAITLSN {common} 0")), ":1|");
        let told = promoted.connect().ask(&format!("WAITLSN {token} 0"));
        assert!(told.starts_with(&format!("-ERR token {token} is not in the history of this node")), "{told}");
    }
}

/// Was: an order that came while a snapshot was taken into service left the server on the shard that had been closed; what it acknowledged then was gone.
#[test]
fn an_order_amid_the_arrival_of_a_snapshot_loses_nothing_that_is_acknowledged_after_it() {
    let seed: u64 = std::env::var("ESKER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("ESKER_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let primary = start(&[]);
    let value = "v".repeat(1000);
    let mut client = primary.connect();
    for n in 0..3000 {
        client.ask(&format!("SET key:{n} {value}"));
    }
    let mut node = start(&[]);
    for round in 0..12 {
        let mut operator = node.connect();
        assert_eq!(operator.ask(&format!("REPLICAOF 127.0.0.1 {} FORCE", primary.port())), "+OK|");
        std::thread::sleep(Duration::from_millis(rng.random_range(0..250)));
        assert_eq!(operator.ask("REPLICAOF NO ONE"), "+OK|");
        assert_eq!(node.connect().ask(&format!("SET own:{round} {round}")), "+OK|", "round {round}");
        let keys = node.connect().ask("DBSIZE");
        node.kill();
        node.restart_in_place();
        let mut reader = node.connect();
        assert!(reader.ask(&format!("GET own:{round}")).ends_with(&format!("|{round}|")), "round {round}");
        assert_eq!(reader.ask("DBSIZE"), keys, "round {round}");
    }
}
