//! Replication between real processes: kills of both sides, links that break, corrupt bytes, roles that change.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod difference;
mod handover;
mod links;
mod modes;
mod power;
mod proxy;
mod reapply;
mod roles;
#[path = "../crash/writer.rs"]
mod writer;

use std::collections::BTreeMap;

use common::{Server, eventually};

/// Small segments, so that tests cross many of them.
const SMALL: &[&str] = &["--segment-size", "1mb", "--io-threads", "2"];

fn start(options: &[&str]) -> Server {
    Server::with(&[SMALL, options].concat())
}

/// A replica of the server at a port.
fn replica_of(port: u16, options: &[&str]) -> Server {
    start(&[&["--replicaof", "127.0.0.1", &port.to_string()], options].concat())
}

/// The value of a field of INFO.
fn info(server: &Server, field: &str) -> String {
    server.connect().info("everything", field).unwrap_or_else(|| panic!("no {field}"))
}

fn number(server: &Server, field: &str) -> u64 {
    info(server, field).parse().unwrap()
}

/// Waits until the replica has all that the primary has, and compares.
fn converge(primary: &Server, replica: &Server, what: &str) {
    eventually(&format!("{what}: the link is up"), || info(replica, "master_link_status") == "up");
    let behind = || number(primary, "master_repl_offset") != number(replica, "master_repl_offset");
    eventually(&format!("{what}: the replica is level"), || !behind());
    assert_eq!(contents(primary), contents(replica), "{what}");
}

/// All keys of the databases that tests write to, with their values.
fn contents(server: &Server) -> BTreeMap<(u8, Vec<u8>), Option<Vec<u8>>> {
    let mut connection = server.connect();
    let mut found = BTreeMap::new();
    for db in 0..4 {
        connection.ask(&format!("SELECT {db}"));
        connection.send(&[b"KEYS", b"*"]);
        for key in connection.bulks() {
            connection.send(&[b"GET", &key]);
            let value = connection.bulk();
            found.insert((db, key), value);
        }
    }
    found
}
