//! What a server's part in replication makes of commands, and what it tells of it. Texts and shapes are those of redis-server 7.0.15.

use esker_storage::types::Lsn;

use crate::command::Flags;
use crate::command::lookup;
use crate::command::testing::Client;
use crate::protocol::Version;
use crate::replication::status::{LinkState, Progress, Replica, ReplicaState};
use crate::replication::time::Millis;

const READONLY: &str = "-READONLY You can't write against a read only replica.|";
const MASTERDOWN: &str = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.|";
const NOREPLICAS: &str = "-NOREPLICAS Not enough good replicas to write.|";
const LOADING: &str = "-LOADING Redis is loading the dataset in memory|";
const DOOMED: &str = "-EXECABORT Transaction discarded because of previous errors.|";

fn set(client: &Client, options: &[(&str, &str)]) {
    client.server.config.set(options).unwrap();
    client.server.config_changed();
}

fn follow(client: &Client, state: LinkState) {
    let now = client.server.clock();
    client.server.update_replication(|status| {
        if status.link().is_none() {
            status.follow("10.0.0.1", 7000);
        }
        status.link_mut().unwrap().set_state(state, now);
    });
}

fn online(received: u64, now: Millis) -> Replica {
    let mut replica = Replica { address: "10.0.0.2".to_owned(), port: 7001, state: ReplicaState::Online, ..Replica::default() };
    replica.sent = Lsn(received);
    replica.acknowledge(Lsn(received), Lsn(received - 1), Lsn(received), now);
    replica
}

fn info(client: &mut Client) -> String {
    let reply = client.run("INFO replication");
    reply.split_once("# Replication|").unwrap().1.to_owned()
}

#[test]
fn a_replica_refuses_writes_and_answers_reads() {
    let mut a = Client::new();
    a.run("SET k v");
    follow(&a, LinkState::Connected);
    for write in ["SET k w", "set k w EX 10", "DEL k", "INCR n", "FLUSHALL", "GETEX k PERSIST"] {
        assert_eq!(a.run(write), READONLY, "{write}");
    }
    assert_eq!(a.run("GET k"), "$1|v|");
    assert_eq!(a.run("STRLEN k"), ":1|");
    assert_eq!(a.run("PUBLISH c m"), ":0|");
    set(&a, &[("replica-read-only", "no")]);
    assert_eq!(a.run("SET k w"), "+OK|");
    set(&a, &[("replica-read-only", "yes")]);
    assert_eq!(a.run("SET k x"), READONLY);
    a.server.update_replication(|status| status.lead());
    assert_eq!(a.run("SET k x"), "+OK|");
}

#[test]
fn writes_are_refused_in_transactions_too() {
    let mut a = Client::new();
    follow(&a, LinkState::Connected);
    a.run("MULTI");
    assert_eq!(a.run("SET k v"), READONLY);
    assert_eq!(a.run("GET k"), "+QUEUED|");
    assert_eq!(a.run("EXEC"), DOOMED);
    a.run("MULTI");
    assert_eq!(a.run("GET k"), "+QUEUED|");
    assert_eq!(a.run("EXEC"), "*1|$-1|");
    // Queued while it was a primary.
    a.server.update_replication(|status| status.lead());
    a.run("MULTI");
    assert_eq!(a.run("SET k v"), "+QUEUED|");
    follow(&a, LinkState::Connected);
    assert_eq!(a.run("EXEC"), "-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.|");
    assert_eq!(a.run("EXEC"), "-ERR EXEC without MULTI|");
}

#[test]
fn a_replica_without_a_link_answers_what_needs_no_data_if_it_must_not_be_stale() {
    let mut a = Client::new();
    set(&a, &[("replica-serve-stale-data", "no")]);
    a.run("SET k v");
    follow(&a, LinkState::Connect);
    assert_eq!(a.run("GET k"), MASTERDOWN);
    assert_eq!(a.run("PING"), MASTERDOWN, "as Redis");
    assert_eq!(a.run("SET k w"), READONLY, "the first reason of the two");
    assert!(a.run("INFO replication").starts_with('$') && a.run("ROLE").starts_with("*5|"));
    assert_eq!((a.run("SELECT 1"), a.run("SELECT 0")), ("+OK|".to_owned(), "+OK|".to_owned()));
    a.run("MULTI");
    assert_eq!(a.run("GET k"), MASTERDOWN);
    assert_eq!(a.run("EXEC"), DOOMED);
    a.run("MULTI");
    assert_eq!(a.run("SELECT 0"), "+QUEUED|");
    assert_eq!(a.run("EXEC"), "*1|+OK|");
    for state in [LinkState::Connecting, LinkState::Sync] {
        follow(&a, state);
        assert_eq!(a.run("GET k"), MASTERDOWN);
    }
    follow(&a, LinkState::Connected);
    assert_eq!(a.run("GET k"), "$1|v|");
    follow(&a, LinkState::Connect);
    set(&a, &[("replica-serve-stale-data", "yes")]);
    assert_eq!(a.run("GET k"), "$1|v|");
}

#[test]
fn while_data_is_brought_into_place_reads_are_told_so() {
    let mut a = Client::new();
    a.run("SET k v");
    a.server.update_replication(|status| status.loading = true);
    assert_eq!(a.run("GET k"), LOADING);
    assert!(a.run("INFO replication").starts_with('$'));
    a.server.update_replication(|status| status.loading = false);
    assert_eq!(a.run("GET k"), "$1|v|");
    // Not while loading, but with a stale link: REPLICAOF and FAILOVER.
    assert!(Flags::STALE.allows_stale() && !Flags::STALE.has(Flags::LOADING) && lookup("get").is_some_and(|get| !get.flags.allows_stale()));
}

#[test]
fn a_primary_with_too_few_replicas_takes_no_writes() {
    let mut a = Client::new();
    let now = a.server.clock();
    assert_eq!(a.run("SET k v"), "+OK|");
    set(&a, &[("min-replicas-to-write", "1")]);
    assert_eq!(a.run("SET k w"), NOREPLICAS);
    assert_eq!(a.run("DEL k"), NOREPLICAS);
    assert_eq!(a.run("GET k"), "$1|v|");
    assert!(info(&mut a).contains("|min_slaves_good_slaves:0|"));
    a.server.update_replication(|status| status.replicas.insert(1, online(1, now)));
    assert_eq!(a.run("SET k w"), "+OK|");
    assert!(info(&mut a).contains("|min_slaves_good_slaves:1|"));
    a.server.update_replication(|status| status.replicas.get_mut(&1).unwrap().state = ReplicaState::Sync);
    assert_eq!(a.run("SET k w"), NOREPLICAS);
    set(&a, &[("min-replicas-max-lag", "0")]);
    assert_eq!(a.run("SET k w"), "+OK|", "switched off");
    set(&a, &[("min-replicas-max-lag", "10")]);
    follow(&a, LinkState::Connected);
    assert_eq!(a.run("SET k w"), READONLY, "of a replica it is not asked");
}

#[test]
fn a_primary_tells_of_its_replicas() {
    let mut a = Client::new();
    a.run("SET k v");
    let written = a.server.shard().written_lsn().0;
    assert_eq!(a.run("ROLE"), format!("*3|$6|master|:{written}|*0|"));
    let history = a.server.shard().log().figures().history.to_string();
    let bytes = a.server.shard().log().figures().bytes;
    let head = "role:master|connected_slaves:";
    let backlog =
        format!("repl_backlog_active:1|repl_backlog_size:{bytes}|repl_backlog_first_byte_offset:1|repl_backlog_histlen:{written}|");
    let zeros = "0".repeat(40);
    let middle = format!(
        "master_failover_state:no-failover|master_replid:{history}00000000|master_replid2:{zeros}|master_repl_offset:{written}|second_repl_offset:-1|{backlog}replication_mode:async|"
    );
    let end = |window: &str| {
        format!("loss_window_entries:{window}|loss_window_bytes:{window}|loss_window_ms:{window}|may_lack_promised:0|divergent_files:0||")
    };
    assert_eq!(info(&mut a), format!("{head}0|{middle}{}", end("-1")));
    let now = a.server.clock();
    a.server.update_replication(|status| {
        status.replicas.insert(4, online(written, now));
        let syncing = Replica { address: "::1".to_owned(), port: 7002, state: ReplicaState::Sync, ..Replica::default() };
        status.replicas.insert(9, syncing);
    });
    let slaves =
        format!("slave0:ip=10.0.0.2,port=7001,state=online,offset={written},lag=0|slave1:ip=::1,port=7002,state=send_bulk,offset=0,lag=0|");
    let shown = info(&mut a);
    assert!(shown.starts_with(&format!("{head}2|{slaves}{middle}")), "{shown}");
    let lsns = format!("replica0:lsn_sent={written},lsn_written={written},lsn_flushed={},lsn_applied={written},", written - 1);
    assert!(shown.contains(&format!("|{lsns}lag_entries=0,lag_bytes=0,lag_ms=0|replica1:")), "{shown}");
    assert!(shown.ends_with(&end("0")), "{shown}");
    assert_eq!(a.run("ROLE"), format!("*3|$6|master|:{written}|*1|*3|$8|10.0.0.2|$4|7001|$1|{written}|"));
}

#[test]
fn a_lag_is_told_in_entries_bytes_and_time() {
    let mut a = Client::new();
    a.server.look_at_replication();
    a.run("SET k v");
    let (before, start) = (a.server.shard().written_lsn().0, a.server.shard().log().appended_bytes());
    let now = a.server.clock();
    a.server.update_replication(|status| status.replicas.insert(1, online(before, now)));
    a.server.look_at_replication();
    std::thread::sleep(std::time::Duration::from_millis(5));
    a.run("SET k w");
    a.run("SET k x");
    a.server.look_at_replication();
    let bytes = a.server.shard().log().appended_bytes() - start;
    std::thread::sleep(std::time::Duration::from_millis(5));
    let shown = info(&mut a);
    assert!(shown.contains(&format!("lag_entries=2,lag_bytes={bytes},lag_ms=")), "{shown}");
    assert!(shown.contains(&format!("|loss_window_entries:2|loss_window_bytes:{bytes}|")), "{shown}");
    assert!(!shown.contains("lag_ms=0"), "{shown}");
}

#[test]
fn a_replica_tells_of_its_primary() {
    let mut a = Client::new();
    a.run("SET k v");
    let written = a.server.shard().written_lsn().0;
    follow(&a, LinkState::Connected);
    let now = a.server.clock();
    a.server.update_replication(|status| status.link_mut().unwrap().last_io = Some(now));
    let settings = "slave_priority:100|slave_read_only:1|replica_announced:1|connected_slaves:0|";
    let offsets = format!("slave_read_repl_offset:{written}|slave_repl_offset:{written}|");
    let up =
        "role:slave|master_host:10.0.0.1|master_port:7000|master_link_status:up|master_last_io_seconds_ago:0|master_sync_in_progress:0|";
    let shown = info(&mut a);
    assert!(shown.starts_with(&format!("{up}{offsets}{settings}")), "{shown}");
    assert_eq!(a.run("ROLE"), format!("*5|$5|slave|$8|10.0.0.1|:7000|$9|connected|:{written}|"));
    assert!(a.run("HELLO 2").contains("$4|role|$7|replica|"));
    follow(&a, LinkState::Connect);
    let down =
        "role:slave|master_host:10.0.0.1|master_port:7000|master_link_status:down|master_last_io_seconds_ago:-1|master_sync_in_progress:0|";
    let shown = info(&mut a);
    assert!(shown.starts_with(&format!("{down}{offsets}master_link_down_since_seconds:0|{settings}")), "{shown}");
    assert_eq!(a.run("ROLE"), "*5|$5|slave|$8|10.0.0.1|:7000|$7|connect|:-1|");
    follow(&a, LinkState::Sync);
    a.server.update_replication(|status| {
        status.link_mut().unwrap().progress = Some(Progress { total: 300, arrived: 100, last_io: now });
    });
    let sync = "master_sync_total_bytes:300|master_sync_read_bytes:100|master_sync_left_bytes:200|master_sync_perc:33.33|master_sync_last_io_seconds_ago:0|";
    assert!(info(&mut a).contains(&format!("|master_sync_in_progress:1|{offsets}{sync}master_link_down_since_seconds:0|")));
}

#[test]
fn a_replica_answers_reads_on_the_short_way() {
    let mut a = Client::of(&Client::new().server, 1, Version::Resp3);
    a.run("SET k v");
    follow(&a, LinkState::Connected);
    assert_eq!(a.run("GET k"), "$1|v|");
    assert_eq!(a.session.last_command, "get");
    assert_eq!(a.server.closed() & !crate::command::Gates::OF_WRITES, 0);
}
