//! What clients want to know of commands and the table does not need: flags of Redis that mean nothing here, categories, what a command
//! does to its keys.

use super::Command;
use crate::command::{Flags, Group};

/// Not allowed in scripts.
const NOSCRIPT: &[&str] = &[
    "auth",
    "hello",
    "quit",
    "reset",
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "unsubscribe",
    "punsubscribe",
    "sunsubscribe",
    "save",
    "bgsave",
    "bgrewriteaof",
    "shutdown",
    "monitor",
    "role",
    "debug",
];
/// Containers whose subcommands but HELP are not allowed in scripts.
const NOSCRIPT_CONTAINERS: &[&str] = &["client", "config", "latency"];
/// Allowed while a script keeps the server busy.
const ALLOW_BUSY: &[&str] = &["multi", "discard", "watch", "unwatch", "auth", "hello", "quit", "reset", "shutdown"];
/// Not allowed while a replica loads in the background.
const NO_ASYNC_LOADING: &[&str] = &["save", "bgsave", "bgrewriteaof"];
/// Dangerous without being administration.
const DANGEROUS: &[&str] = &["keys", "flushdb", "flushall", "swapdb", "restore", "info"];
/// Counted as administration without the flag.
const ADMINISTRATION: &[&str] = &["role", "lastsave"];
/// On keys without belonging to the group.
const KEYSPACE: &[&str] = &["dbsize", "flushdb", "flushall", "swapdb"];

/// The names of the command's flags, in Redis's order.
pub(super) fn flags(command: Command) -> Vec<&'static str> {
    let Some(row) = command.row else { return Vec::new() };
    let has = |flag| row.flags.has(flag);
    let is_in = |names: &[&str]| names.contains(&row.name);
    let noscript = is_in(NOSCRIPT)
        || row.group == Group::Transactions
        || row.name.split_once('|').is_some_and(|(container, name)| NOSCRIPT_CONTAINERS.contains(&container) && name != "help");
    let known = [
        ("write", has(Flags::WRITE)),
        ("readonly", has(Flags::READONLY)),
        ("denyoom", has(Flags::DENYOOM)),
        ("admin", has(Flags::ADMIN)),
        ("pubsub", has(Flags::PUBSUB)),
        ("noscript", noscript),
        ("loading", has(Flags::LOADING)),
        ("stale", row.flags.allows_stale()),
        ("skip_slowlog", row.name == "exec"),
        ("fast", has(Flags::FAST)),
        ("no_auth", has(Flags::NO_AUTH)),
        ("no_async_loading", is_in(NO_ASYNC_LOADING)),
        ("no_multi", has(Flags::NO_MULTI)),
        ("allow_busy", is_in(ALLOW_BUSY)),
    ];
    known.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect()
}

/// The names of all categories, in Redis's order.
pub(super) const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The categories of the command, in Redis's order.
pub(super) fn categories(command: Command) -> Vec<&'static str> {
    let Some(row) = command.row else { return vec!["slow"] };
    let has = |flag| row.flags.has(flag);
    let is_in = |names: &[&str]| names.contains(&row.name);
    let admin = has(Flags::ADMIN) || is_in(ADMINISTRATION);
    let belongs = |category: &str| match category {
        "keyspace" => row.group == Group::Generic || is_in(KEYSPACE),
        "read" => has(Flags::READONLY),
        "write" => has(Flags::WRITE),
        "string" => row.group == Group::String,
        "bitmap" => row.group == Group::Bitmap,
        "pubsub" => has(Flags::PUBSUB),
        "admin" => admin,
        "fast" => has(Flags::FAST),
        "slow" => !has(Flags::FAST),
        "dangerous" => admin || is_in(DANGEROUS),
        "connection" => row.group == Group::Connection || row.name == "command" || row.name.starts_with("command|"),
        "transaction" => row.group == Group::Transactions,
        _ => false,
    };
    CATEGORIES.iter().copied().filter(|category| belongs(category)).collect()
}

/// What a command does to its keys: flags of one key specification, and a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyUse {
    pub(super) flags: &'static [&'static str],
    pub(super) note: Option<&'static str>,
}

const fn uses(flags: &'static [&'static str]) -> KeyUse {
    KeyUse { flags, note: None }
}

const LOOK: KeyUse = uses(&["RO"]);
const READ: KeyUse = uses(&["RO", "access"]);
const CHANGE: KeyUse = uses(&["RW", "access", "update"]);
const SET_TIME: KeyUse = uses(&["RW", "update"]);
const OVERWRITE: KeyUse = uses(&["OW", "update"]);
const CREATE: KeyUse = uses(&["OW", "insert"]);
const TAKE: KeyUse = uses(&["RW", "access", "delete"]);
const REMOVE: KeyUse = uses(&["RM", "delete"]);
const NO_KEY: KeyUse = uses(&["not_key"]);
const VARIES: &[&str] = &["RW", "access", "update", "variable_flags"];

/// What a command does to its keys: one use, or one for the first key and one for the others.
pub(super) fn key_uses(command: Command) -> Vec<KeyUse> {
    let Some(row) = command.row else { return Vec::new() };
    let one = match row.name {
        "rename" => return vec![TAKE, OVERWRITE],
        "renamenx" => return vec![TAKE, CREATE],
        "copy" => return vec![READ, OVERWRITE],
        "bitop" => return vec![OVERWRITE, READ],
        "set" => KeyUse { flags: VARIES, note: Some("with GET the value is read as well") },
        "bitfield" => KeyUse { flags: VARIES, note: Some("with nothing but GET the value is only read") },
        "strlen" | "exists" | "type" | "touch" | "watch" | "memory|usage" => LOOK,
        name if name.starts_with("object|") => LOOK,
        "setex" | "psetex" | "mset" | "restore" => OVERWRITE,
        "setnx" | "msetnx" => CREATE,
        "getdel" => TAKE,
        "append" => uses(&["RW", "insert"]),
        "setrange" | "expire" | "pexpire" | "expireat" | "pexpireat" | "persist" => SET_TIME,
        "del" | "unlink" => REMOVE,
        "ssubscribe" | "sunsubscribe" | "spublish" => NO_KEY,
        _ if row.flags.has(Flags::WRITE) => CHANGE,
        _ => READ,
    };
    vec![one]
}

const RANDOM: &str = "nondeterministic_output";
const UNORDERED: &str = "nondeterministic_output_order";
const ALL_SHARDS: &str = "request_policy:all_shards";
const ALL_NODES: &str = "request_policy:all_nodes";
const MANY_SHARDS: &str = "request_policy:multi_shard";
const SUM: &str = "response_policy:agg_sum";
const SPECIAL: &str = "response_policy:special";
const ALL_SUCCEEDED: &str = "response_policy:all_succeeded";

/// Hints for clients of a cluster.
pub(super) fn tips(command: Command) -> &'static [&'static str] {
    match command.name {
        "mget" => &[MANY_SHARDS],
        "mset" => &[MANY_SHARDS, ALL_SUCCEEDED],
        "msetnx" => &[MANY_SHARDS, "response_policy:agg_min"],
        "del" | "unlink" | "exists" | "touch" => &[MANY_SHARDS, SUM],
        "keys" => &[ALL_SHARDS, UNORDERED],
        "scan" => &[RANDOM, "request_policy:special"],
        "randomkey" => &[ALL_SHARDS, RANDOM],
        "ttl" | "pttl" | "dump" | "time" | "lastsave" | "client|info" | "client|list" => &[RANDOM],
        "object|idletime" | "object|freq" | "object|encoding" | "object|refcount" => &[RANDOM],
        "ping" | "flushdb" | "flushall" | "memory|purge" => &[ALL_SHARDS, ALL_SUCCEEDED],
        "dbsize" => &[ALL_SHARDS, SUM],
        "info" | "memory|doctor" | "memory|stats" | "memory|malloc-stats" => &[RANDOM, ALL_SHARDS, SPECIAL],
        "command" | "command|docs" | "command|list" | "command|info" => &[UNORDERED],
        "config|set" | "slowlog|reset" | "latency|reset" => &[ALL_NODES, ALL_SUCCEEDED],
        "slowlog|get" => &[ALL_NODES, RANDOM],
        "slowlog|len" => &[ALL_NODES, SUM, RANDOM],
        "latency|histogram" | "latency|graph" | "latency|latest" | "latency|doctor" | "latency|history" => &[RANDOM, ALL_NODES, SPECIAL],
        _ => &[],
    }
}
