//! The directives of Redis 7.0 that mean nothing here: accepted, checked, shown by CONFIG GET, so that an existing redis.conf starts.

use super::special::{frequency, oom_scores, renaming, save_points};
use super::{Directive, Kind};

const ACL: &str = "no ACL: requirepass is the only password";
const AOF: &str = "the log is segmented and cleaned by itself";
const CLUSTER: &str = "no cluster yet";
const DEFRAGMENT: &str = "no allocator to defragment";
const ENCODING: &str = "values have one encoding";
const EVICTION: &str = "eviction goes by segments";
const ITSELF: &str = "Esker does this by itself";
const LAZY: &str = "deleting never blocks";
const MODULES: &str = "no modules";
const RDB: &str = "no RDB file: the log is always on and checkpoints are automatic";
const REPLICAS: &str = "what replicas get is the log itself";
const SCRIPTS: &str = "no scripting yet";
const SERVICE: &str = "left to the service manager";
const TCP_ONLY: &str = "TCP only";
const TLS: &str = "no TLS yet";
const TRACKING: &str = "no client-side caching yet";

const fn row(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Directive {
    Directive::accepted(name, kind, default, why)
}

const fn whole(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

/// The rows.
#[rustfmt::skip] // a row a line reads as a table
pub const ACCEPTED: &[Directive] = &[
    // Network and process.
    row("tls-port", Kind::PORT, "0", TLS),
    row("tls-cert-file", Kind::Text, "", TLS),
    row("tls-key-file", Kind::Text, "", TLS),
    row("tls-key-file-pass", Kind::Text, "", TLS),
    row("tls-client-cert-file", Kind::Text, "", TLS),
    row("tls-client-key-file", Kind::Text, "", TLS),
    row("tls-client-key-file-pass", Kind::Text, "", TLS),
    row("tls-dh-params-file", Kind::Text, "", TLS),
    row("tls-ca-cert-file", Kind::Text, "", TLS),
    row("tls-ca-cert-dir", Kind::Text, "", TLS),
    row("tls-auth-clients", Kind::Enum(&["no", "yes", "optional"]), "yes", TLS),
    row("tls-replication", Kind::Bool, "no", TLS),
    row("tls-cluster", Kind::Bool, "no", TLS),
    row("tls-protocols", Kind::Text, "", TLS),
    row("tls-ciphers", Kind::Text, "", TLS),
    row("tls-ciphersuites", Kind::Text, "", TLS),
    row("tls-prefer-server-ciphers", Kind::Bool, "no", TLS),
    row("tls-session-caching", Kind::Bool, "yes", TLS),
    row("tls-session-cache-size", Kind::SMALL, "20480", TLS),
    row("tls-session-cache-timeout", Kind::SMALL, "300", TLS),
    row("bind-source-addr", Kind::Text, "", SERVICE),
    row("unixsocket", Kind::Text, "", TCP_ONLY).fixed(),
    row("unixsocketperm", Kind::Octal, "0", TCP_ONLY).fixed(),
    row("socket-mark-id", whole(0, u32::MAX as i64), "0", SERVICE).fixed(),
    row("io-threads-do-reads", Kind::Bool, "no", "workers read, execute and write").fixed(),
    row("daemonize", Kind::Bool, "no", "runs in the foreground; left to the service manager").fixed(),
    row("supervised", Kind::Enum(&["upstart", "systemd", "auto", "no"]), "no", SERVICE).fixed(),
    row("always-show-logo", Kind::Bool, "no", "no logo").fixed(),
    row("set-proc-title", Kind::Bool, "yes", "the process keeps its title").fixed(),
    row("proc-title-template", Kind::Text, "{title} {listen-addr} {server-mode}", "the process keeps its title"),
    row("syslog-enabled", Kind::Bool, "no", SERVICE).fixed(),
    row("syslog-ident", Kind::Text, "redis", SERVICE).fixed(),
    row("syslog-facility", Kind::Enum(&["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"]), "local0", SERVICE).fixed(),
    row("crash-log-enabled", Kind::Bool, "yes", "a panic aborts with its message"),
    row("crash-memcheck-enabled", Kind::Bool, "yes", "a panic aborts with its message"),
    row("oom-score-adj", Kind::Enum(&["no", "yes", "relative", "absolute"]), "no", SERVICE),
    row("oom-score-adj-values", Kind::Special(oom_scores), "0 200 800", SERVICE),
    row("disable-thp", Kind::Bool, "yes", "mappings do not use huge pages").fixed(),
    row("server_cpulist", Kind::Text, "", SERVICE).fixed(),
    row("bio_cpulist", Kind::Text, "", SERVICE).fixed(),
    row("aof_rewrite_cpulist", Kind::Text, "", SERVICE).fixed(),
    row("bgsave_cpulist", Kind::Text, "", SERVICE).fixed(),
    row("ignore-warnings", Kind::Text, "", "no such warnings"),
    row("shutdown-timeout", Kind::SMALL, "10", "a stop does not wait for replicas"),
    row("hz", Kind::Special(frequency), "10", ITSELF),
    row("dynamic-hz", Kind::Bool, "yes", ITSELF),
    row("jemalloc-bg-thread", Kind::Bool, "yes", "another allocator"),
    row("enable-protected-configs", Kind::Enum(&["no", "yes", "local"]), "no", "no protected settings").fixed(),
    row("enable-module-command", Kind::Enum(&["no", "yes", "local"]), "no", MODULES).fixed(),
    row("activerehashing", Kind::Bool, "yes", "the index grows in small steps"),
    row("locale-collate", Kind::Text, "", "no command compares text by language"),
    row("gopher-enabled", Kind::Bool, "no", "no such protocol"),
    // Files of Redis.
    row("save", Kind::Special(save_points), "", RDB),
    row("stop-writes-on-bgsave-error", Kind::Bool, "yes", RDB),
    row("rdbcompression", Kind::Bool, "yes", RDB),
    row("rdbchecksum", Kind::Bool, "yes", RDB).fixed(),
    row("sanitize-dump-payload", Kind::Enum(&["no", "yes", "clients"]), "no", "payloads are always checked"),
    row("dbfilename", Kind::Text, "dump.rdb", RDB).fixed(),
    row("rdb-del-sync-files", Kind::Bool, "no", RDB),
    row("rdb-save-incremental-fsync", Kind::Bool, "yes", RDB),
    row("appendfilename", Kind::Text, "appendonly.aof", AOF).fixed(),
    row("appenddirname", Kind::Text, "appendonlydir", AOF).fixed(),
    row("no-appendfsync-on-rewrite", Kind::Bool, "no", AOF),
    row("auto-aof-rewrite-percentage", Kind::SMALL, "100", AOF),
    row("auto-aof-rewrite-min-size", Kind::BYTES, "67108864", AOF),
    row("aof-load-truncated", Kind::Bool, "yes", "a torn tail is cut and saved"),
    row("aof-use-rdb-preamble", Kind::Bool, "yes", AOF),
    row("aof-timestamp-enabled", Kind::Bool, "no", "every entry has its time"),
    row("aof-rewrite-incremental-fsync", Kind::Bool, "yes", AOF),
    row("aof-disable-auto-gc", Kind::Bool, "no", AOF),
    // Replication.
    row("repl-diskless-sync", Kind::Bool, "yes", REPLICAS),
    row("repl-diskless-sync-delay", Kind::SMALL, "5", REPLICAS),
    row("repl-diskless-sync-max-replicas", Kind::SMALL, "0", REPLICAS),
    row("repl-diskless-load", Kind::Enum(&["disabled", "on-empty-db", "swapdb"]), "disabled", REPLICAS),
    row("repl-backlog-size", Kind::Memory { min: 1, max: i64::MAX as u64 }, "1048576", REPLICAS),
    row("propagation-error-behavior", Kind::Enum(&["ignore", "panic", "panic-on-replicas"]), "ignore", REPLICAS),
    row("replica-ignore-disk-write-errors", Kind::Bool, "no", REPLICAS),
    row("replica-ignore-maxmemory", Kind::Bool, "yes", REPLICAS).alias("slave-ignore-maxmemory"),
    row("replica-lazy-flush", Kind::Bool, "no", LAZY).alias("slave-lazy-flush"),
    row("close-on-replica-write", Kind::Bool, "yes", REPLICAS),
    // Users and client-side caching.
    row("aclfile", Kind::Text, "", ACL).fixed(),
    row("acllog-max-len", Kind::COUNT, "128", ACL),
    row("acl-pubsub-default", Kind::Enum(&["allchannels", "resetchannels"]), "resetchannels", ACL),
    row("user", Kind::Words, "", ACL).repeated(),
    row("rename-command", Kind::Special(renaming), "", "commands keep their names").repeated(),
    row("tracking-table-max-keys", Kind::COUNT, "1000000", TRACKING),
    // Memory.
    row("maxmemory-samples", whole(1, i32::MAX as i64), "5", EVICTION),
    row("maxmemory-eviction-tenacity", whole(0, 100), "10", EVICTION),
    row("maxmemory-clients", Kind::MemoryOrPercent, "0", EVICTION),
    row("active-expire-effort", whole(1, 10), "1", ITSELF),
    row("lfu-log-factor", Kind::SMALL, "10", EVICTION),
    row("lfu-decay-time", Kind::SMALL, "1", EVICTION),
    row("lazyfree-lazy-eviction", Kind::Bool, "no", LAZY),
    row("lazyfree-lazy-expire", Kind::Bool, "no", LAZY),
    row("lazyfree-lazy-server-del", Kind::Bool, "no", LAZY),
    row("lazyfree-lazy-user-del", Kind::Bool, "no", LAZY),
    row("lazyfree-lazy-user-flush", Kind::Bool, "no", LAZY),
    row("activedefrag", Kind::Bool, "no", DEFRAGMENT),
    row("active-defrag-ignore-bytes", Kind::Memory { min: 1, max: i64::MAX as u64 }, "104857600", DEFRAGMENT),
    row("active-defrag-threshold-lower", whole(0, 1000), "10", DEFRAGMENT),
    row("active-defrag-threshold-upper", whole(0, 1000), "100", DEFRAGMENT),
    row("active-defrag-cycle-min", whole(1, 99), "1", DEFRAGMENT),
    row("active-defrag-cycle-max", whole(1, 99), "25", DEFRAGMENT),
    row("active-defrag-max-scan-fields", whole(1, i64::MAX), "1000", DEFRAGMENT),
    // Encodings of values.
    row("hash-max-listpack-entries", Kind::COUNT, "512", ENCODING).alias("hash-max-ziplist-entries"),
    row("hash-max-listpack-value", Kind::BYTES, "64", ENCODING).alias("hash-max-ziplist-value"),
    row("list-max-listpack-size", whole(i32::MIN as i64, i32::MAX as i64), "-2", ENCODING).alias("list-max-ziplist-size"),
    row("list-compress-depth", Kind::SMALL, "0", ENCODING),
    row("set-max-intset-entries", Kind::COUNT, "512", ENCODING),
    row("zset-max-listpack-entries", Kind::COUNT, "128", ENCODING).alias("zset-max-ziplist-entries"),
    row("zset-max-listpack-value", Kind::BYTES, "64", ENCODING).alias("zset-max-ziplist-value"),
    row("hll-sparse-max-bytes", Kind::BYTES, "3000", ENCODING),
    row("stream-node-max-bytes", Kind::BYTES, "4096", ENCODING),
    row("stream-node-max-entries", Kind::COUNT, "100", ENCODING),
    row("set-max-listpack-entries", Kind::COUNT, "128", ENCODING),
    row("set-max-listpack-value", Kind::BYTES, "64", ENCODING),
    // Scripts and modules.
    row("busy-reply-threshold", Kind::COUNT, "5000", SCRIPTS).alias("lua-time-limit"),
    row("loadmodule", Kind::Words, "", MODULES).repeated(),
    // Cluster.
    row("cluster-enabled", Kind::Bool, "no", CLUSTER).fixed(),
    row("cluster-config-file", Kind::Text, "nodes.conf", CLUSTER).fixed(),
    row("cluster-node-timeout", Kind::COUNT, "15000", CLUSTER),
    row("cluster-port", Kind::PORT, "0", CLUSTER).fixed(),
    row("cluster-replica-validity-factor", Kind::SMALL, "10", CLUSTER).alias("cluster-slave-validity-factor"),
    row("cluster-migration-barrier", Kind::SMALL, "1", CLUSTER),
    row("cluster-allow-replica-migration", Kind::Bool, "yes", CLUSTER),
    row("cluster-require-full-coverage", Kind::Bool, "yes", CLUSTER),
    row("cluster-replica-no-failover", Kind::Bool, "no", CLUSTER).alias("cluster-slave-no-failover"),
    row("cluster-allow-reads-when-down", Kind::Bool, "no", CLUSTER),
    row("cluster-allow-pubsubshard-when-down", Kind::Bool, "yes", CLUSTER),
    row("cluster-link-sendbuf-limit", Kind::BYTES, "0", CLUSTER),
    row("cluster-announce-ip", Kind::Text, "", CLUSTER),
    row("cluster-announce-hostname", Kind::Text, "", CLUSTER),
    row("cluster-announce-port", Kind::PORT, "0", CLUSTER),
    row("cluster-announce-tls-port", Kind::PORT, "0", CLUSTER),
    row("cluster-announce-bus-port", Kind::PORT, "0", CLUSTER),
    row("cluster-preferred-endpoint-type", Kind::Enum(&["ip", "hostname", "unknown-endpoint"]), "ip", CLUSTER),
    row("cluster-announce-human-nodename", Kind::Text, "", CLUSTER),
];
