//! One primary, its replicas, and what happens to links and processes.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::common::Connection;
use crate::proxy::Proxy;
use crate::writer::Writer;
use crate::{contents, converge, eventually, info, number, replica_of, start};

#[test]
fn a_replica_has_what_its_primary_has_and_takes_no_writes() {
    let primary = start(&[]);
    let mut client = primary.connect();
    for n in 0..500 {
        client.ask(&format!("SET key:{n} {n}"));
    }
    client.ask("SET volatile x PX 40");
    client.send(&[b"SET", b"large", &vec![7; 3 << 20]]);
    assert_eq!(client.reply(), "+OK|");
    let replica = start(&[]);
    let mut reader = replica.connect();
    reader.ask("SET own 1");
    assert_eq!(reader.ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port())), "+OK|");
    converge(&primary, &replica, "from a snapshot");
    assert_eq!(reader.ask("GET own"), "$-1|");
    assert!(reader.ask("SET key:1 2").starts_with("-READONLY"));
    assert!(reader.ask("ROLE").starts_with("*5|$5|slave|"));
    // As the log goes on: large values, deltas, transactions, whole databases.
    client.send(&[b"SET", b"larger", &vec![8; 5 << 20]]);
    assert_eq!(client.reply(), "+OK|");
    for line in ["SETRANGE key:3 2000 tail", "APPEND key:3 more", "DEL key:4", "SELECT 1", "SET a b", "SWAPDB 1 2", "SELECT 0"] {
        client.ask(line);
    }
    for line in ["MULTI", "SET m1 1", "SET m2 2", "EXEC"] {
        client.ask(line);
    }
    assert_eq!(client.ask("WAIT 1 20000"), ":1|");
    converge(&primary, &replica, "from the stream");
    client.ask("FLUSHALL");
    client.ask("SET last 1");
    converge(&primary, &replica, "after FLUSHALL");
    assert_eq!(number(&primary, "sync_full"), 1);
    assert_eq!(info(&primary, "connected_slaves"), "1");
}

#[test]
fn kills_of_either_side_in_any_phase_end_in_equal_data_and_no_second_snapshot() {
    let seed: u64 = std::env::var("ESKER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("ESKER_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut primary = start(&["--repl-timeout", "5"]);
    let mut replica = replica_of(primary.port(), &[]);
    let mut writers: Vec<Writer> = (0..3).map(|db| Writer::new(db, rng.random())).collect();
    converge(&primary, &replica, "at first");
    for round in 0..8 {
        let what = format!("seed {seed}, round {round}");
        let (port, of_primary) = (primary.port(), rng.random_bool(0.5));
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(move || writer.run(port));
            }
            std::thread::sleep(Duration::from_millis(rng.random_range(20..300)));
            if !of_primary {
                replica.kill();
                std::thread::sleep(Duration::from_millis(rng.random_range(0..100)));
                replica.start_and_kill(Duration::from_millis(rng.random_range(0..80)));
            }
            // The writers stop when their server is gone.
            primary.kill();
        });
        if !of_primary {
            replica.restart_in_place();
        }
        primary.restart_in_place();
        for writer in &mut writers {
            writer.check(&mut primary.connect(), &what);
        }
        converge(&primary, &replica, &what);
        assert_eq!(number(&primary, "sync_full"), 0, "{what}: what it lacked was there");
    }
}

#[test]
fn a_replica_that_was_away_gets_what_it_lacks_and_no_more() {
    let primary = start(&[]);
    let proxy = Proxy::to(primary.port());
    let replica = replica_of(proxy.port(), &[]);
    let mut client = primary.connect();
    let value = "v".repeat(1000);
    let mut write = |from: u32, to: u32| {
        for n in from..to {
            assert_eq!(client.ask(&format!("SET key:{n} {value}")), "+OK|");
        }
    };
    write(0, 5000);
    converge(&primary, &replica, "before");
    proxy.set_cut(true);
    let (bytes, before) = (number(&primary, "log_bytes"), proxy.forwarded());
    write(0, 500);
    let missing = number(&primary, "log_bytes") - bytes;
    // What the replica has not seen must survive cleaning.
    primary.connect().ask("BGREWRITEAOF");
    eventually("the pass is over", || info(&primary, "aof_rewrite_in_progress") == "0");
    proxy.set_cut(false);
    converge(&primary, &replica, "after");
    let sent = proxy.forwarded() - before;
    assert!(sent < missing * 11 / 10, "{sent} bytes for {missing} that were missing");
    assert_eq!(number(&primary, "sync_full"), 1, "the first one");
}

#[test]
fn a_bit_that_flips_on_the_wire_breaks_the_link_and_nothing_else() {
    let primary = start(&[]);
    let proxy = Proxy::to(primary.port());
    let mut rng = StdRng::seed_from_u64(7);
    let mut client = primary.connect();
    let value = "v".repeat(2000);
    for n in 0..1000 {
        client.ask(&format!("SET key:{n} {value}"));
    }
    // In the snapshot, and in the stream.
    proxy.flip_after(300_000);
    let replica = replica_of(proxy.port(), &["--repl-timeout", "5"]);
    converge(&primary, &replica, "through a snapshot");
    assert!(proxy.has_flipped());
    for round in 0..10 {
        proxy.flip_after(rng.random_range(1..50_000));
        let mut n = 0;
        while !proxy.has_flipped() {
            n += 1;
            client.ask(&format!("SET key:{} {value}{round}", n % 1000));
        }
        converge(&primary, &replica, &format!("round {round}"));
    }
}

#[test]
fn a_replica_of_a_replica_follows_through_kills_of_the_one_between() {
    let primary = start(&[]);
    let mut between = replica_of(primary.port(), &[]);
    let last = replica_of(between.port(), &[]);
    let mut client = primary.connect();
    for round in 0..3 {
        for n in 0..300 {
            client.ask(&format!("SET key:{n} {round}"));
        }
        converge(&primary, &between, "the one between");
        converge(&between, &last, "the last one");
        between.kill();
        client.ask("SET while-away 1");
        between.restart_in_place();
    }
    converge(&primary, &between, "the one between");
    converge(&between, &last, "the last one");
    assert!(between.connect().ask("SET a b").starts_with("-READONLY"));
}

#[test]
fn a_full_disk_at_the_replica_stops_the_replica_only() {
    let primary = start(&[]);
    let replica = replica_of(primary.port(), &["--maxdisk", "24mb"]);
    let mut client = primary.connect();
    let value = "v".repeat(10_000);
    for n in 0..4000 {
        assert_eq!(client.ask(&format!("SET key:{n} {value}")), "+OK|");
    }
    eventually("the link is down", || info(&replica, "master_link_status") == "down");
    assert_eq!(replica.connect().ask("GET key:1"), format!("${}|{value}|", value.len()), "it answers from what it has");
    assert_eq!(replica.connect().ask("CONFIG SET maxdisk 1gb"), "+OK|");
    converge(&primary, &replica, "with room again");
}

#[test]
fn a_primary_with_a_password_wants_it_of_its_replicas() {
    let primary = start(&["--requirepass", "secret"]);
    let mut client = primary.connect();
    client.ask("AUTH secret");
    client.ask("SET a b");
    let replica = replica_of(primary.port(), &[]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(info(&replica, "master_link_status"), "down");
    replica.connect().ask("CONFIG SET masterauth secret");
    eventually("the link is up", || info(&replica, "master_link_status") == "up");
    eventually("the data is there", || replica.connect().ask("GET a") == "$1|b|");
    let mut stranger = primary.connect();
    assert!(stranger.ask("ESKER.PEER 1").starts_with("-NOAUTH"));
    assert_eq!(contents(&replica).len(), 1);
}

#[test]
fn six_replicas_that_restart_at_once_need_no_snapshot() {
    let primary = start(&[]);
    let mut replicas: Vec<_> = (0..6).map(|_| replica_of(primary.port(), &["--memory-limit", "256mb"])).collect();
    let mut client = primary.connect();
    for n in 0..300 {
        client.ask(&format!("SET key:{n} before"));
    }
    replicas.iter().for_each(|replica| converge(&primary, replica, "before"));
    let full = number(&primary, "sync_full");
    replicas.iter_mut().for_each(crate::common::Server::kill);
    for n in 0..300 {
        client.ask(&format!("SET key:{n} while they are away"));
    }
    replicas.iter_mut().for_each(crate::common::Server::restart_in_place);
    replicas.iter().for_each(|replica| converge(&primary, replica, "after"));
    assert_eq!((number(&primary, "sync_full"), number(&primary, "sync_partial_ok")), (full, 6));
}

#[test]
fn replicas_are_among_the_clients_and_can_be_ended_there() {
    let primary = start(&[]);
    let replica = replica_of(primary.port(), &[]);
    converge(&primary, &replica, "at first");
    let mut client = primary.connect();
    let listed = |client: &mut Connection| client.ask("CLIENT LIST TYPE replica");
    let line = listed(&mut client);
    assert!(line.contains(" flags=S ") && line.contains(" cmd=esker.peer "), "{line}");
    assert_eq!(client.ask("CLIENT LIST TYPE normal").matches("id=").count(), 1);
    assert_eq!(client.info("clients", "connected_clients").unwrap(), "1", "replicas are counted apart, as in Redis");
    let id = |line: &str| line.split("id=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let first = id(&line);
    assert_eq!(client.ask("CLIENT KILL TYPE replica"), ":1|");
    // It comes back, on another connection.
    eventually("it is listed again", || listed(&mut client).contains(" flags=S ") && id(&listed(&mut client)) != first);
    converge(&primary, &replica, "after");
    let address = listed(&mut client).split(" addr=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(client.ask(&format!("CLIENT KILL {address}")), "+OK|");
    eventually("that one has left", || !listed(&mut client).contains(&address));
    drop(replica);
    eventually("nobody is listed", || !listed(&mut client).contains("id="));
}
