//! The two programs, copy of a key and migration of a key, between two Eskers and between Esker and Redis, as Rust and as Python.

use std::process::Command;

use redis::{Commands, Connection};

use super::common::Server;
use super::{connect, has_redis_py};

#[path = "../../examples/copy_key.rs"]
mod copy_key;
#[path = "../../examples/migrate_key.rs"]
mod migrate_key;

/// Two Eskers; where redis-server is installed, also Esker and Redis in both directions.
fn pairs() -> Vec<(Server, Server)> {
    let mut pairs = vec![(Server::start(), Server::start())];
    match (Server::redis(), Server::redis()) {
        (Some(source), Some(target)) => pairs.extend([(source, Server::start()), (Server::start(), target)]),
        _ => println!("SKIPPED: redis-server is not installed"),
    }
    pairs
}

fn value() -> Vec<u8> {
    (0..=255).cycle().take(70_000).collect()
}

fn each_pair(test: impl Fn(&Server, &Server, &mut Connection, &mut Connection)) {
    for (source, target) in pairs() {
        let (mut from, mut to) = (connect(source.port(), false), connect(target.port(), false));
        from.set::<_, _, ()>("key", value()).unwrap();
        test(&source, &target, &mut from, &mut to);
        assert_eq!(to.get::<_, Vec<u8>>("key").unwrap(), value());
    }
}

#[test]
fn a_key_is_copied_in_rust() {
    each_pair(|_, _, from, to| {
        assert!(copy_key::copy_key(from, to, "key").unwrap());
        assert!(!copy_key::copy_key(from, to, "none").unwrap());
        assert_eq!(from.get::<_, Vec<u8>>("key").unwrap(), value());
    });
}

#[test]
fn a_key_is_migrated_in_rust() {
    each_pair(|_, _, from, to| {
        assert!(migrate_key::migrate_key(from, to, "key").unwrap());
        assert!(!migrate_key::migrate_key(from, to, "key").unwrap());
        assert!(!from.exists::<_, bool>("key").unwrap());
    });
}

/// Runs a program of `examples/` on a key; whether it succeeded.
fn python(program: &str, source: &Server, target: &Server, key: &str) -> bool {
    let path = format!("{}/examples/{program}.py", env!("CARGO_MANIFEST_DIR"));
    let address = |server: &Server| format!("127.0.0.1:{}", server.port());
    // No traces of compiling beside the examples.
    Command::new("python3").arg("-B").args([path, address(source), address(target), key.to_owned()]).status().unwrap().success()
}

#[test]
fn a_key_is_copied_in_python() {
    if !has_redis_py() {
        return;
    }
    each_pair(|source, target, from, _| {
        assert!(python("copy_key", source, target, "key"));
        assert!(!python("copy_key", source, target, "none"));
        assert_eq!(from.get::<_, Vec<u8>>("key").unwrap(), value());
    });
}

#[test]
fn a_key_is_migrated_in_python() {
    if !has_redis_py() {
        return;
    }
    each_pair(|source, target, from, _| {
        assert!(python("migrate_key", source, target, "key"));
        assert!(!python("migrate_key", source, target, "key"));
        assert!(!from.exists::<_, bool>("key").unwrap());
    });
}
