//! The values that are read on hot paths: atomics, refreshed after each change. Readers need no order between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::RwLock;

use super::output_limit::OutputLimits;
use super::{Values, table};
use crate::pubsub::class;

/// When the log is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FsyncMode {
    /// Every second.
    EverySecond = 0,
    /// Before each reply.
    Always = 1,
    /// When the kernel likes.
    No = 2,
}

/// How important a message must be to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogLevel {
    /// Everything.
    Debug = 0,
    /// What rarely helps.
    Verbose = 1,
    /// What an operator wants to know.
    Notice = 2,
    /// What an operator must know.
    Warning = 3,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ReplicationMode {
    /// When it is in the primary's log.
    Async = 0,
    /// When it is in the log of some replicas too.
    SemiSync = 1,
    /// When it is durable on every in-sync replica.
    Sync = 2,
}

impl ReplicationMode {
    /// Its name, as in the option.
    #[must_use]
    pub fn name(self) -> &'static str {
        table::REPLICATION_MODES[self as usize]
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Hot {
    timeout: AtomicU32,
    tcp_keepalive: AtomicU32,
    max_clients: AtomicU32,
    fsync: AtomicU8,
    log_level: AtomicU8,
    event_classes: AtomicU32,
    slowlog_micros: AtomicI64,
    slowlog_len: AtomicU64,
    latency_millis: AtomicU64,
    latency_tracking: AtomicBool,
    max_bulk_len: AtomicU64,
    query_limit: AtomicU64,
    protected: AtomicBool,
    replica_read_only: AtomicBool,
    serve_stale_data: AtomicBool,
    min_replicas_to_write: AtomicU32,
    min_replicas_max_lag: AtomicU32,
    replication_mode: AtomicU8,
    min_replicas_to_ack: AtomicU32,
    ack_timeout: AtomicU32,
    min_in_sync: AtomicU32,
    has_password: AtomicBool,
    password: RwLock<Option<Arc<[u8]>>>,
    output_limits: RwLock<OutputLimits>,
}

fn place(names: &[&str], name: &str) -> u8 {
    names.iter().position(|n| *n == name).unwrap_or(0) as u8
}

impl Hot {
    pub(super) fn refresh(&self, values: &Values) {
        self.timeout.store(values.integer("timeout") as u32, Relaxed);
        self.tcp_keepalive.store(values.integer("tcp-keepalive") as u32, Relaxed);
        self.max_clients.store(values.integer("maxclients") as u32, Relaxed);
        self.fsync.store(place(table::FSYNC_MODES, values.text("appendfsync")), Relaxed);
        self.log_level.store(place(table::LOG_LEVELS, values.text("loglevel")), Relaxed);
        self.event_classes.store(class::parse(values.text("notify-keyspace-events")).unwrap_or(0), Relaxed);
        self.slowlog_micros.store(values.integer("slowlog-log-slower-than"), Relaxed);
        self.slowlog_len.store(values.bytes("slowlog-max-len"), Relaxed);
        self.latency_millis.store(values.bytes("latency-monitor-threshold"), Relaxed);
        self.latency_tracking.store(values.yes("latency-tracking"), Relaxed);
        self.max_bulk_len.store(values.bytes("proto-max-bulk-len"), Relaxed);
        self.query_limit.store(values.bytes("client-query-buffer-limit"), Relaxed);
        self.protected.store(values.yes("protected-mode"), Relaxed);
        self.replica_read_only.store(values.yes("replica-read-only"), Relaxed);
        self.serve_stale_data.store(values.yes("replica-serve-stale-data"), Relaxed);
        self.min_replicas_to_write.store(values.integer("min-replicas-to-write") as u32, Relaxed);
        self.min_replicas_max_lag.store(values.integer("min-replicas-max-lag") as u32, Relaxed);
        self.replication_mode.store(place(table::REPLICATION_MODES, values.text("replication-mode")), Relaxed);
        self.min_replicas_to_ack.store(values.integer("min-replicas-to-ack") as u32, Relaxed);
        self.ack_timeout.store(values.integer("ack-timeout") as u32, Relaxed);
        self.min_in_sync.store(values.integer("min-in-sync") as u32, Relaxed);
        let password = values.text("requirepass");
        *self.password.write() = (!password.is_empty()).then(|| password.as_bytes().into());
        self.has_password.store(!password.is_empty(), Relaxed);
        *self.output_limits.write() = OutputLimits::parse(values.text("client-output-buffer-limit")).unwrap_or_default();
    }

    /// Seconds after which an idle client is disconnected; 0: never.
    #[must_use]
    pub fn timeout(&self) -> u32 {
        self.timeout.load(Relaxed)
    }

    /// Seconds between TCP keepalive probes; 0: none.
    #[must_use]
    pub fn tcp_keepalive(&self) -> u32 {
        self.tcp_keepalive.load(Relaxed)
    }

    /// Connections accepted at once.
    #[must_use]
    pub fn max_clients(&self) -> u32 {
        self.max_clients.load(Relaxed)
    }

    /// When the log is synced.
    #[must_use]
    pub fn fsync(&self) -> FsyncMode {
        match self.fsync.load(Relaxed) {
            1 => FsyncMode::Always,
            2 => FsyncMode::No,
            _ => FsyncMode::EverySecond,
        }
    }

    /// The least important messages that are logged.
    #[must_use]
    pub fn log_level(&self) -> LogLevel {
        match self.log_level.load(Relaxed) {
            0 => LogLevel::Debug,
            1 => LogLevel::Verbose,
            2 => LogLevel::Notice,
            _ => LogLevel::Warning,
        }
    }

    /// The classes of keyspace events that are published; see [`class`].
    #[must_use]
    pub fn event_classes(&self) -> u32 {
        self.event_classes.load(Relaxed)
    }

    /// Microseconds from which a command enters the slow log; negative: none does.
    #[must_use]
    pub fn slowlog_micros(&self) -> i64 {
        self.slowlog_micros.load(Relaxed)
    }

    /// Entries that the slow log keeps.
    #[must_use]
    pub fn slowlog_len(&self) -> usize {
        usize::try_from(self.slowlog_len.load(Relaxed)).unwrap_or(usize::MAX)
    }

    /// Milliseconds from which an event enters the latency history; 0: off.
    #[must_use]
    pub fn latency_millis(&self) -> u64 {
        self.latency_millis.load(Relaxed)
    }

    /// Whether each command's times are kept in a histogram.
    #[must_use]
    pub fn latency_tracking(&self) -> bool {
        self.latency_tracking.load(Relaxed)
    }

    /// Longest argument of a request.
    #[must_use]
    pub fn max_bulk_len(&self) -> usize {
        usize::try_from(self.max_bulk_len.load(Relaxed)).unwrap_or(usize::MAX)
    }

    /// Bytes of one request that a client may have under way.
    #[must_use]
    pub fn query_limit(&self) -> usize {
        usize::try_from(self.query_limit.load(Relaxed)).unwrap_or(usize::MAX)
    }

    /// Whether only loopback connections are answered while there is no password.
    #[must_use]
    pub fn protected(&self) -> bool {
        self.protected.load(Relaxed)
    }

    /// Whether a replica refuses the writes of clients.
    #[must_use]
    pub fn replica_read_only(&self) -> bool {
        self.replica_read_only.load(Relaxed)
    }

    /// Whether a replica without a link to its primary answers from what it has.
    #[must_use]
    pub fn serve_stale_data(&self) -> bool {
        self.serve_stale_data.load(Relaxed)
    }

    /// Replicas that must be connected for writes, and the seconds since each was heard of; none: it does not matter.
    #[must_use]
    pub fn replicas_to_write(&self) -> Option<(u32, u32)> {
        let (count, lag) = (self.min_replicas_to_write.load(Relaxed), self.min_replicas_max_lag.load(Relaxed));
        (count > 0 && lag > 0).then_some((count, lag))
    }

    /// When a write is acknowledged.
    #[must_use]
    pub fn replication_mode(&self) -> ReplicationMode {
        match self.replication_mode.load(Relaxed) {
            1 => ReplicationMode::SemiSync,
            2 => ReplicationMode::Sync,
            _ => ReplicationMode::Async,
        }
    }

    /// Replicas in whose log a write must be under semi-sync.
    #[must_use]
    pub fn min_replicas_to_ack(&self) -> u32 {
        self.min_replicas_to_ack.load(Relaxed)
    }

    /// How long a write waits for replicas.
    #[must_use]
    pub fn ack_timeout(&self) -> Duration {
        Duration::from_millis(self.ack_timeout.load(Relaxed).into())
    }

    /// Servers on which a write must be durable under sync, the primary included.
    #[must_use]
    pub fn min_in_sync(&self) -> u32 {
        self.min_in_sync.load(Relaxed)
    }

    /// Whether clients must give a password; cheap.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.has_password.load(Relaxed)
    }

    /// The password that clients must give.
    #[must_use]
    pub fn password(&self) -> Option<Arc<[u8]>> {
        self.password.read().clone()
    }

    /// The limits of unread replies.
    #[must_use]
    pub fn output_limits(&self) -> OutputLimits {
        *self.output_limits.read()
    }
}
