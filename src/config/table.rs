//! The directives that mean something here.

use super::retention::retention;
use super::special::{appendonly, bind, event_classes, output_limits, percentiles, primary, segment_size};
use super::{Directive, Kind};

const fn used(name: &'static str, kind: Kind, default: &'static str, what: &'static str) -> Directive {
    Directive::used(name, kind, default, what)
}

/// The names of the log levels, from the most to the least talkative.
pub const LOG_LEVELS: &[&str] = &["debug", "verbose", "notice", "warning"];
/// When the log is synced.
pub const FSYNC_MODES: &[&str] = &["everysec", "always", "no"];
/// What a signal makes of a shutdown.
pub const SHUTDOWN_MODES: &[&str] = &["default", "save", "nosave", "now", "force"];
/// When a write is acknowledged.
pub const REPLICATION_MODES: &[&str] = &["async", "semi-sync", "sync"];
/// Which keys go when there is no room.
pub const EVICTION_POLICIES: &[&str] = &[
    "noeviction",
    "allkeys-s3fifo",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];
/// The default of `io-threads`, replaced by the number of cores.
pub const CORES: &str = "cores";

/// The rows. `Used` says in a sentence what the directive does, for docs/operations.md.
pub const USED: &[Directive] = &[
    used("port", Kind::PORT, "6379", "TCP port to listen on; 0: none.").fixed(),
    used("bind", Kind::Special(bind), "* -::*", "Addresses to listen on; `-` before one: no error if this machine lacks it.").fixed(),
    used("tcp-backlog", Kind::SMALL, "511", "Length of the kernel's queue of connections not yet accepted.").fixed(),
    used("tcp-keepalive", Kind::SMALL, "300", "Seconds between TCP keepalive probes on new connections; 0: none."),
    used("timeout", Kind::SMALL, "0", "Seconds after which an idle client is disconnected; 0: never."),
    used("maxclients", Kind::Integer { min: 1, max: u32::MAX as i64 }, "10000", "Connections accepted at once."),
    used("protected-mode", Kind::Bool, "yes", "Without a password, answer loopback connections only."),
    used("requirepass", Kind::Text, "", "Password that clients must give with AUTH; empty: none."),
    used("io-threads", Kind::Integer { min: 1, max: 128 }, CORES, "Worker threads; by default one a core.").fixed(),
    used("databases", Kind::Integer { min: 1, max: 16 }, "16", "Number of databases that SELECT takes.").fixed(),
    used("dir", Kind::Text, "./esker-data", "Data directory; made if it does not exist.").fixed(),
    used("appendonly", Kind::Special(appendonly), "yes", "The log is always on: `no` is accepted, logged, and changes nothing."),
    used("appendfsync", Kind::Enum(FSYNC_MODES), "everysec", "When the log is synced: before each reply, every second, or by the kernel."),
    used("loglevel", Kind::Enum(LOG_LEVELS), "notice", "The least important messages that are logged."),
    used("logfile", Kind::Text, "", "File that messages are appended to; empty: standard output.").fixed(),
    used("pidfile", Kind::Text, "", "File that holds the process id while the server runs; empty: none.").fixed(),
    used(
        "proto-max-bulk-len",
        Kind::Memory { min: 1 << 20, max: i64::MAX as u64 },
        "536870912",
        "Longest argument of a request, and longest value.",
    ),
    used(
        "client-query-buffer-limit",
        Kind::Memory { min: 1 << 20, max: i64::MAX as u64 },
        "1073741824",
        "Bytes of one request that a client may have under way.",
    ),
    used(
        "client-output-buffer-limit",
        Kind::Special(output_limits),
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        "Per class (normal, replica, pubsub): bytes of unread replies that close a client at once, and bytes that do after so many seconds; 0: no limit.",
    ),
    used("notify-keyspace-events", Kind::Special(event_classes), "", "Classes of keyspace events that are published, as Redis's letters."),
    used(
        "slowlog-log-slower-than",
        Kind::Integer { min: -1, max: i64::MAX },
        "10000",
        "Microseconds from which a command enters the slow log; 0: all; -1: none.",
    ),
    used("slowlog-max-len", Kind::COUNT, "128", "Entries that the slow log keeps."),
    used("latency-monitor-threshold", Kind::COUNT, "0", "Milliseconds from which an event enters the latency history; 0: off."),
    used("latency-tracking", Kind::Bool, "yes", "Keep a histogram of times for each command (INFO latencystats, LATENCY HISTOGRAM)."),
    used("latency-tracking-info-percentiles", Kind::Special(percentiles), "50 99 99.9", "Percentiles that INFO latencystats shows."),
    used(
        "shutdown-on-sigint",
        Kind::Enum(SHUTDOWN_MODES),
        "default",
        "How SIGINT stops the server: `now` or `nosave` leaves out the checkpoint.",
    ),
    used(
        "shutdown-on-sigterm",
        Kind::Enum(SHUTDOWN_MODES),
        "default",
        "How SIGTERM stops the server: `now` or `nosave` leaves out the checkpoint.",
    ),
    used(
        "enable-debug-command",
        Kind::Enum(&["no", "yes", "local"]),
        "yes",
        "Who may use DEBUG, of which only harmless parts exist: nobody, everybody, or loopback connections.",
    )
    .fixed(),
    used(
        "memory-limit",
        Kind::MemoryOrPercent,
        "80%",
        "Memory for the server itself, the index and what of the log is kept in memory: bytes, or a share of the cgroup's or machine's memory. Segments have the size that suits its value at the start.",
    ),
    used(
        "expiry-sweep-time",
        Kind::Integer { min: 1, max: 86_400 },
        "600",
        "Seconds in which the sweep for expired keys visits every key with an expiry at least once.",
    ),
    used(
        "history-retention",
        Kind::Special(retention),
        "0",
        "How much of the past cleaning leaves alone for ESKER.GETAT and `esker-log`: bytes of log (512mb) or a time (10m); 0: none. It gives way when the disk gets short.",
    ),
    used(
        "scrub-period",
        Kind::Integer { min: 0, max: 366 * 86_400 },
        "604800",
        "Seconds in which scrub reads all sealed segments and large values once and checks them; 0: it does not. Little data takes less, as at least 1 MiB/s is read.",
    ),
    used(
        "scrub-rate",
        Kind::BYTES,
        "33554432",
        "Bytes a second that scrub reads at most, even if it then takes longer than its period; 0: no limit.",
    ),
    used(
        "maxmemory",
        Kind::BYTES,
        "0",
        "Bytes of live data: keys, values and 64 bytes for each key; 0: no limit. Segments have the size that suits its value at the start.",
    ),
    used(
        "maxmemory-policy",
        Kind::Enum(EVICTION_POLICIES),
        "noeviction",
        "Which keys go when maxmemory, or three quarters of maxdisk, is reached; `noeviction`: none, writes are refused.",
    ),
    used(
        "maxdisk",
        Kind::BYTES,
        "0",
        "Bytes of disk that the data directory may take; 0: no limit. Segments have the size that suits its value at the start.",
    ),
    used(
        "replicaof",
        Kind::Special(primary),
        "",
        "Host and port of the primary that this server is a replica of; `no one`: it is none. REPLICAOF changes it while the server runs.",
    )
    .fixed()
    .alias("slaveof"),
    used("masterauth", Kind::Text, "", "Password that a replica gives its primary; empty: none."),
    used("masteruser", Kind::Text, "", "User that a replica gives its primary with the password; empty: `default`."),
    used("replica-read-only", Kind::Bool, "yes", "Whether a replica refuses the writes of clients.").alias("slave-read-only"),
    used(
        "replica-serve-stale-data",
        Kind::Bool,
        "yes",
        "Whether a replica without a link to its primary answers commands that need data, from what it has.",
    )
    .alias("slave-serve-stale-data"),
    used("replica-priority", Kind::SMALL, "100", "Of several replicas the one with the lowest is promoted first; 0: this one never.")
        .alias("slave-priority"),
    used("replica-announced", Kind::Bool, "yes", "Whether INFO tells Sentinel to list this replica."),
    used("replica-announce-ip", Kind::Text, "", "Address that a replica gives its primary as its own; empty: the one it is seen at.")
        .alias("slave-announce-ip"),
    used("replica-announce-port", Kind::PORT, "0", "Port that a replica gives its primary as its own; 0: the one it listens on.")
        .alias("slave-announce-port"),
    used("repl-timeout", Kind::Integer { min: 1, max: i32::MAX as i64 }, "60", "Seconds without a word after which a link is given up."),
    used(
        "repl-ping-replica-period",
        Kind::Integer { min: 1, max: i32::MAX as i64 },
        "10",
        "Seconds after which a primary that has nothing to send says so.",
    )
    .alias("repl-ping-slave-period"),
    used("repl-disable-tcp-nodelay", Kind::Bool, "no", "Whether the kernel may gather small pieces on links: fewer packets, more lag."),
    used("repl-backlog-ttl", Kind::COUNT, "3600", "Seconds for which the log that a replica lacks is kept after it has left; 0: for ever."),
    used("repl-bandwidth", Kind::BYTES, "0", "Bytes a second that a primary sends of snapshots, all replicas together; 0: no limit."),
    used(
        "min-replicas-to-write",
        Kind::SMALL,
        "0",
        "Replicas that must be connected, with a lag of at most min-replicas-max-lag, or writes are refused; 0: none.",
    )
    .alias("min-slaves-to-write"),
    used(
        "min-replicas-max-lag",
        Kind::SMALL,
        "10",
        "Seconds since a replica was last heard of after which it does not count; 0: min-replicas-to-write is off.",
    )
    .alias("min-slaves-max-lag"),
    used(
        "replication-mode",
        Kind::Enum(REPLICATION_MODES),
        "async",
        "When a write is acknowledged: when it is in this server's log, when it is in that of min-replicas-to-ack replicas too, or when it is durable on every in-sync replica.",
    ),
    used(
        "min-replicas-to-ack",
        Kind::Integer { min: 1, max: i32::MAX as i64 },
        "1",
        "Replicas in whose log a write must be under `semi-sync`.",
    ),
    used(
        "ack-timeout",
        Kind::Integer { min: 1, max: i32::MAX as i64 },
        "1000",
        "Milliseconds that a write waits for replicas under `semi-sync` and `sync`.",
    ),
    used(
        "min-in-sync",
        Kind::Integer { min: 1, max: i32::MAX as i64 },
        "2",
        "Servers, the primary included, on which a write must be durable under `sync`.",
    ),
    used("segment-size", Kind::Special(segment_size), "0", "Size of a log segment; 0: what suits maxdisk and maxmemory.").fixed().hidden(),
];
