//! Clients that know nothing of Esker: the `redis` crate, redis-cli, redis-benchmark, redis-py; and the two programs that move a key.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod crate_redis;
mod moving_keys;
mod programs;

use std::process::{Command, Stdio};

use redis::{Client, Connection};

/// A connection of the `redis` crate.
fn connect(port: u16, resp3: bool) -> Connection {
    let protocol = if resp3 { "?protocol=resp3" } else { "" };
    Client::open(format!("redis://127.0.0.1:{port}/{protocol}")).unwrap().get_connection().unwrap()
}

/// Whether a command can be run; if not, the skip is told.
fn is_installed(program: &str, arguments: &[&str]) -> bool {
    let found =
        Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !found {
        println!("SKIPPED: '{program} {}' does not work here", arguments.join(" "));
    }
    found
}

fn has_redis_py() -> bool {
    is_installed("python3", &["-c", "import redis"])
}
