//! What the server tells about itself: counters, the slow log, latency, MONITOR, INFO.

mod figures;
mod histogram;
pub mod info;
mod latency;
mod latency_report;
pub mod logging;
mod monitor;
mod pidfile;
mod process;
mod rates;
mod slowlog;
mod stats;

pub use figures::{CheckpointFigures, LogFigures, RecoveryFigures, StorageFigures};
pub use histogram::{Counts, Histogram};
pub use latency::{Event, Latency, Sample};
pub use latency_report::{doctor, graph};
pub use monitor::Monitors;
pub use pidfile::PidFile;
pub use process::{CpuTimes, Memory, anonymous_memory, cgroup_memory_limit, cpu_times, memory, memory_limit, physical_memory};
pub use rates::Rates;
pub use slowlog::{Entry, SlowLog};
pub use stats::{Stats, WorkerStats};

use crate::server::Server;

/// How often samples are taken.
const TICK: std::time::Duration = std::time::Duration::from_millis(100);

/// Ticks between two looks at background work and the memory peak.
const TICKS_A_SECOND: u64 = 10;

/// Takes samples for as long as it is polled.
pub async fn watch(server: &Server) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut background = Background::default();
    for tick in 0_u64.. {
        ticks.tick().await;
        sample(server);
        server.look_at_replication();
        if tick.is_multiple_of(TICKS_A_SECOND) {
            server.stats.note_memory(memory().anonymous + server.shard().index().bytes_used());
            background.watch(server);
        }
    }
}

/// Takes the samples behind `instantaneous_*`.
fn sample(server: &Server) {
    let totals = [server.counters.processed(), server.stats.received(), server.stats.sent()];
    server.stats.rates.sample(std::time::Instant::now(), totals);
}

/// Background work that was already seen by the latency monitor.
#[derive(Debug, Default)]
struct Background {
    syncs: u64,
    checkpoints: u64,
}

impl Background {
    /// Tells the latency monitor of a sync or checkpoint that took long. Of several in a second the last counts.
    fn watch(&mut self, server: &Server) {
        let threshold = server.config.hot().latency_millis();
        let shard = server.shard();
        let (log, checkpoints) = (shard.log().figures(), shard.checkpoint_status());
        let done = [
            ("fsync", log.syncs != self.syncs, log.last_sync_micros / 1000),
            ("checkpoint", checkpoints.count != self.checkpoints, checkpoints.last_millis),
        ];
        (self.syncs, self.checkpoints) = (log.syncs, checkpoints.count);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        for (event, is_new, millis) in done {
            if is_new && threshold > 0 && millis >= threshold {
                server.latency.add(event, now.as_secs() as i64, millis);
            }
        }
    }
}
