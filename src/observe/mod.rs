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
pub use process::{CpuTimes, Memory, cgroup_memory_limit, cpu_times, memory, memory_limit, physical_memory};
pub use rates::Rates;
pub use slowlog::{Entry, SlowLog};
pub use stats::{Stats, WorkerStats};

use crate::server::Server;

/// How often samples are taken.
const TICK: std::time::Duration = std::time::Duration::from_millis(100);

/// Takes samples for as long as it is polled.
pub async fn watch(server: &Server) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sample(server);
    }
}

/// Takes the samples behind `instantaneous_*` and the memory peak.
fn sample(server: &Server) {
    let totals = [server.counters.processed(), server.stats.received(), server.stats.sent()];
    server.stats.rates.sample(std::time::Instant::now(), totals);
    server.stats.note_memory(memory().anonymous + server.storage_figures().index_bytes);
}
