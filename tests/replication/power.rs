//! Loss of power on either side, and what is promised after it.

use std::path::Path;
use std::process::Command;

use crate::common::Server;
use crate::{converge, eventually, info, number, replica_of, start};

const SEMI_SYNC: &[&str] = &["--replication-mode", "semi-sync", "--ack-timeout", "20000"];

/// The file in which a server keeps what it owes.
fn promises(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("promises")).unwrap()
}

/// As if the machine had been started anew since the server wrote last.
fn boot_again(dir: &Path) {
    let text = promises(dir);
    let (body, _) = text.rsplit_once("crc32 ").unwrap();
    let boot = |line: &str| if line.starts_with("boot ") { format!("boot {:032x}\n", 7) } else { format!("{line}\n") };
    let body: String = body.lines().map(boot).collect();
    std::fs::write(dir.join("promises"), format!("{body}crc32 {:08x}\n", crc32fast::hash(body.as_bytes()))).unwrap();
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Kills the server, which then finds its log as it was in `earlier`; without another boot, as when a volume is rolled back.
fn lose_power(server: &mut Server, earlier: &Path, another_boot: bool) {
    server.kill();
    let shard = server.dir().join("shard-0");
    std::fs::remove_dir_all(&shard).unwrap();
    copy(&earlier.join("shard-0"), &shard);
    if another_boot {
        boot_again(server.dir());
    }
}

/// A semi-sync primary that lost power with the end of what it acknowledged, and its replica.
fn after_power_loss(another_boot: bool) -> (Server, Server) {
    let mut primary = start(SEMI_SYNC);
    let replica = replica_of(primary.port(), SEMI_SYNC);
    let mut client = primary.connect();
    assert_eq!(client.ask("SET early 1"), "+OK|");
    let earlier = tempfile::tempdir().unwrap();
    copy(&primary.dir().join("shard-0"), &earlier.path().join("shard-0"));
    for n in 0..100 {
        assert_eq!(client.ask(&format!("SET late:{n} {n}")), "+OK|");
    }
    converge(&primary, &replica, "at first");
    lose_power(&mut primary, earlier.path(), another_boot);
    primary.restart_in_place();
    (primary, replica)
}

fn waits(primary: &Server, what: &str) {
    let mut client = primary.connect();
    let said = client.ask("SET early 2");
    assert!(said.starts_with("-READONLY This primary lost power") && said.contains("REPLICAOF NO ONE"), "{what}: {said}");
    assert!(client.ask("GET early").starts_with("-MASTERDOWN This primary lost power"), "{what}: what it has may be outdated");
    assert_eq!((info(primary, "role").as_str(), info(primary, "may_lack_promised").as_str()), ("master", "1"), "{what}");
}

#[test]
fn a_semi_sync_primary_that_lost_power_serves_nobody_until_its_replica_is_promoted() {
    let (mut primary, replica) = after_power_loss(true);
    assert_eq!(info(&primary, "recovery_kind"), "power-loss");
    waits(&primary, "at once");
    primary.kill();
    primary.restart_in_place();
    assert_eq!(info(&primary, "recovery_kind"), "crash");
    waits(&primary, "killed meanwhile");
    primary.terminate();
    primary.restart_in_place();
    waits(&primary, "stopped meanwhile");
    assert_eq!(info(&replica, "master_link_status"), "down", "it is not made to follow what may lack its end");
    assert_eq!(replica.connect().ask("REPLICAOF NO ONE"), "+OK|");
    assert_eq!(primary.connect().ask(&format!("REPLICAOF 127.0.0.1 {}", replica.port())), "+OK|");
    eventually("the new primary acknowledges", || replica.connect().ask("SET new 1") == "+OK|");
    converge(&replica, &primary, "after the promotion");
    assert_eq!(primary.connect().ask("GET late:99"), "$2|99|");
    eventually("it has all again", || info(&primary, "may_lack_promised") == "0");
    assert_eq!(number(&primary, "divergent_files"), 0, "it wrote nothing of its own meanwhile");
    primary.kill();
    primary.restart_in_place();
    assert_eq!(info(&primary, "may_lack_promised"), "0");
}

#[test]
fn on_its_operators_word_a_primary_that_lost_power_goes_on_as_it_is() {
    let (mut primary, replica) = after_power_loss(false);
    waits(&primary, "at once");
    assert_eq!(primary.connect().ask("REPLICAOF NO ONE"), "+OK|");
    converge(&primary, &replica, "after");
    assert_eq!(primary.connect().ask("SET early 2"), "+OK|");
    assert_eq!(primary.connect().ask("GET late:99"), "$-1|", "that is what the word was about");
    assert_eq!(number(&replica, "divergent_files"), 1);
    primary.kill();
    primary.restart_in_place();
    eventually("it takes writes", || primary.connect().ask("SET early 3") == "+OK|");
}

#[test]
fn who_has_lost_nothing_acknowledged_does_not_wait() {
    for (options, clean) in [(&["--replication-mode", "semi-sync", "--appendfsync", "always"][..], false), (SEMI_SYNC, true)] {
        let mut primary = start(options);
        let replica = replica_of(primary.port(), SEMI_SYNC);
        assert_eq!(primary.connect().ask("SET a 1"), "+OK|");
        if clean {
            primary.terminate();
        } else {
            // It promised on these terms from its start: whatever it kept was written then.
            primary.kill();
        }
        if primary.dir().join("promises").exists() {
            boot_again(primary.dir());
        }
        // A copied index is none.
        let index = primary.dir().join("shard-0/index");
        copy(&index, &primary.dir().join("index"));
        std::fs::rename(primary.dir().join("index"), index).unwrap();
        primary.restart_in_place();
        assert_eq!(info(&primary, "recovery_kind"), "power-loss");
        assert_eq!(info(&primary, "may_lack_promised"), "0");
        eventually("it takes writes", || primary.connect().ask("SET a 2") == "+OK|");
        drop(replica);
    }
}

#[test]
fn a_killed_semi_sync_primary_takes_writes_again_at_once() {
    let mut primary = start(SEMI_SYNC);
    let replica = replica_of(primary.port(), SEMI_SYNC);
    assert_eq!(primary.connect().ask("SET a 1"), "+OK|");
    primary.kill();
    primary.restart_in_place();
    assert_eq!(primary.connect().ask("SET a 2"), "+OK|");
    drop(replica);
}

#[test]
fn a_replica_that_lost_power_says_so_until_it_has_what_was_promised() {
    let mut primary = start(SEMI_SYNC);
    let mut replica = replica_of(primary.port(), SEMI_SYNC);
    let mut client = primary.connect();
    assert_eq!(client.ask("SET early 1"), "+OK|");
    converge(&primary, &replica, "at first");
    let earlier = tempfile::tempdir().unwrap();
    copy(&replica.dir().join("shard-0"), &earlier.path().join("shard-0"));
    assert_eq!(client.ask("SET late 1"), "+OK|");
    primary.kill();
    lose_power(&mut replica, earlier.path(), true);
    replica.restart_in_place();
    assert_eq!((info(&replica, "role").as_str(), info(&replica, "may_lack_promised").as_str()), ("slave", "1"));
    replica.kill();
    replica.restart_in_place();
    assert_eq!(info(&replica, "may_lack_promised"), "1", "killed meanwhile");
    primary.restart_in_place();
    eventually("it has all again", || info(&replica, "may_lack_promised") == "0");
    converge(&primary, &replica, "after");
    assert_eq!(replica.connect().ask("GET late"), "$1|1|");
}
