//! What the storage tells INFO.

use esker_storage::recovery::RestartKind;
use esker_storage::shard::Shard;

use crate::observe::{CheckpointFigures, LogFigures, RecoveryFigures, StorageFigures};
use crate::server::Server;

impl Server {
    /// What the storage tells of itself.
    #[must_use]
    pub fn storage_figures(&self) -> StorageFigures {
        let shard = &*self.shard();
        let status = shard.checkpoint_status();
        StorageFigures {
            node: shard.node(),
            recovery: recovery_figures(shard),
            log: log_figures(shard),
            checkpoint: CheckpointFigures {
                lsn: status.lsn.0,
                in_progress: status.running,
                last_unix_seconds: status.last_done.0 as u64 / 1000,
                last_millis: status.last_millis,
                last_failed: !status.last_ok,
                count: status.count,
                changes_since: shard.written_lsn().0.saturating_sub(status.lsn.0),
            },
            cleaning: shard.cleaning_figures(),
            cleaning_pass: shard.cleaning_passes(),
            index_bytes: shard.index().bytes_used(),
            expiry: shard.expiry_figures(),
            eviction: shard.eviction_figures(),
            scrub: shard.scrub_figures(),
            memory: shard.memory_figures(),
            cold: shard.cold_reads(),
        }
    }
}

fn recovery_figures(shard: &Shard) -> RecoveryFigures {
    let report = shard.recovery_report();
    RecoveryFigures {
        kind: report.kind.name(),
        reason: if let RestartKind::PowerLoss { reason } = &report.kind { reason.clone() } else { String::new() },
        millis: report.duration.as_millis() as u64,
        keys: report.keys,
        keys_from_checkpoint: report.keys_from_checkpoint,
        entries_replayed: report.entries_replayed,
        bytes_replayed: report.bytes_replayed,
        bytes_cut: report.bytes_cut,
        index_repairs: u64::from(report.index_repairs),
        value_segments_removed: report.values_removed,
    }
}

fn log_figures(shard: &Shard) -> LogFigures {
    let log = shard.log().figures();
    LogFigures {
        written_lsn: log.written.0,
        flushed_lsn: log.flushed.0,
        epoch: u64::from(log.epoch.0),
        history: log.history.to_string(),
        segments: log.segments,
        bytes: log.bytes,
        live_bytes: shard.live_bytes(),
        syncs: log.syncs,
        last_sync_micros: log.last_sync_micros,
        poisoned: log.poisoned,
        disk_full: log.disk_full,
        refused_writes: log.refused_writes,
    }
}
