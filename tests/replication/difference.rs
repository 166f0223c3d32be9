//! Replicas that cannot just go on: behind what was cleaned, with entries of their own, damaged. They get what differs.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::common::{Connection, Server};
use crate::proxy::Proxy;
use crate::{converge, eventually, info, number, replica_of, start};

fn fill(client: &mut Connection, keys: std::ops::Range<u32>, len: usize) {
    let value = "v".repeat(len);
    for n in keys {
        assert_eq!(client.ask(&format!("SET key:{n} {value}")), "+OK|");
    }
}

/// Cleans what can be cleaned.
fn clean(server: &Server) {
    for _ in 0..2 {
        server.connect().ask("BGREWRITEAOF");
        eventually("the pass is over", || info(server, "aof_rewrite_in_progress") == "0");
    }
}

/// Was: such a replica got everything anew.
#[test]
fn a_replica_behind_what_was_cleaned_gets_what_differs() {
    let primary = start(&["--repl-backlog-ttl", "1"]);
    let proxy = Proxy::to(primary.port());
    let replica = replica_of(proxy.port(), &[]);
    let mut client = primary.connect();
    fill(&mut client, 0..8000, 1000);
    converge(&primary, &replica, "before");
    for round in 0..2_u32 {
        let what = format!("round {round}");
        proxy.set_cut(true);
        for n in (round..8000).step_by(3) {
            client.ask(&format!("DEL key:{n}"));
        }
        fill(&mut client, 8000..9500, 1000);
        std::thread::sleep(Duration::from_millis(1500));
        clean(&primary);
        let before = proxy.forwarded();
        proxy.set_cut(false);
        converge(&primary, &replica, &what);
        let sent = proxy.forwarded() - before;
        assert!(sent < 3_500_000, "{what}: {sent} bytes, where 1.5 MB are new and 6 MB are the same");
        assert_eq!((number(&primary, "sync_full"), number(&primary, "sync_differences")), (1, u64::from(round) + 1), "{what}");
    }
    // It holds for its own restart, too.
    let mut replica = replica;
    replica.kill();
    replica.restart_in_place();
    converge(&primary, &replica, "after a restart");
}

#[test]
fn kills_of_either_side_while_what_differs_is_sent_cost_nothing() {
    let seed: u64 = std::env::var("ESKER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("ESKER_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut primary = start(&["--repl-backlog-ttl", "1"]);
    let mut replica = replica_of(primary.port(), &["--repl-timeout", "5"]);
    fill(&mut primary.connect(), 0..6000, 1000);
    converge(&primary, &replica, "before");
    for round in 0..3 {
        replica.kill();
        let mut client = primary.connect();
        (0..6000).filter(|n| n % 5 == round).for_each(|n| drop(client.ask(&format!("DEL key:{n}"))));
        fill(&mut client, 6000..7000, 1500);
        std::thread::sleep(Duration::from_millis(1500));
        clean(&primary);
        drop(client);
        for _ in 0..rng.random_range(1..4) {
            replica.start_and_kill(Duration::from_millis(rng.random_range(20..400)));
        }
        replica.restart_in_place();
        if rng.random_bool(0.5) {
            std::thread::sleep(Duration::from_millis(rng.random_range(0..200)));
            primary.kill();
            primary.restart_in_place();
        }
        converge(&primary, &replica, &format!("round {round}"));
    }
    assert!(number(&primary, "sync_full") <= 1);
}

/// Was: a node that came back with entries that nobody else had was sent everything.
#[test]
fn an_old_primary_goes_back_to_what_is_common_and_fetches_what_it_had_dropped() {
    for cleans in [false, true] {
        let what = format!("the old primary has cleaned: {cleans}");
        let old = start(&["--repl-backlog-ttl", "1"]);
        let new = replica_of(old.port(), &[]);
        fill(&mut old.connect(), 0..4000, 1000);
        converge(&old, &new, &what);
        assert_eq!(new.connect().ask("REPLICAOF NO ONE"), "+OK|");
        fill(&mut new.connect(), 4000..4100, 100);
        // Nobody has told the old one.
        fill(&mut old.connect(), 0..2500, 800);
        assert_eq!(old.connect().ask("DEL key:3000"), ":1|");
        if cleans {
            std::thread::sleep(Duration::from_millis(1500));
            clean(&old);
        }
        assert_eq!(old.connect().ask(&format!("REPLICAOF 127.0.0.1 {}", new.port())), "+OK|");
        converge(&new, &old, &what);
        assert_eq!(old.connect().ask("EXISTS key:3000"), ":1|", "{what}");
        assert_eq!((number(&new, "sync_full"), number(&new, "sync_differences")), (0, u64::from(cleans)), "{what}");
        assert_eq!(number(&old, "divergent_files"), 1, "{what}");
        // And it can be promoted.
        assert_eq!(old.connect().ask("REPLICAOF NO ONE"), "+OK|");
        assert_eq!(new.connect().ask(&format!("REPLICAOF 127.0.0.1 {}", old.port())), "+OK|");
        fill(&mut old.connect(), 100..200, 50);
        converge(&old, &new, &what);
    }
}

/// Was: scrub could only tell of it.
#[test]
fn a_damaged_segment_of_a_replica_is_mended_from_its_primary() {
    let primary = start(&[]);
    let replica = replica_of(primary.port(), &["--scrub-period", "0"]);
    fill(&mut primary.connect(), 0..4000, 1000);
    converge(&primary, &replica, "before");
    let files = std::fs::read_dir(replica.dir().join("shard-0")).unwrap().map(|entry| entry.unwrap().path());
    let oldest = files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).min().unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&oldest).unwrap();
    let mut bytes = [0; 100];
    file.read_exact_at(&mut bytes, 500_000).unwrap();
    file.write_all_at(&bytes.map(|byte| byte ^ 0x55), 500_000).unwrap();
    assert_eq!(replica.connect().ask("CONFIG SET scrub-period 1"), "+OK|");
    eventually("it is mended", || number(&replica, "sync_repairs") == 1);
    converge(&primary, &replica, "after");
    assert_eq!((number(&primary, "sync_full"), number(&primary, "sync_differences")), (1, 1));
    let passes = number(&replica, "scrub_passes");
    eventually("scrub has read it again", || number(&replica, "scrub_passes") > passes + 1);
    assert_eq!(number(&replica, "scrub_bad_segments"), 0);
    assert_eq!(number(&replica, "sync_repairs"), 1, "once");
}
