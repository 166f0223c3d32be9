//! The section about the data: persistence.

use esker_storage::clean::CleaningFigures;
use esker_storage::evict::EvictionFigures;
use esker_storage::scrub::ScrubFigures;

use super::{Lines, Source};
use crate::observe::{CheckpointFigures, LogFigures, RecoveryFigures, StorageFigures};

/// Bad segments that are listed one by one; the log names all.
const SHOWN_BAD: usize = 16;

pub(super) fn persistence(source: &Source<'_>, out: &mut Lines) {
    let figures = source.figures();
    out.zeros(&["loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    out.put("current_fork_perc", "0.00");
    out.zeros(&["current_save_keys_processed", "current_save_keys_total"]);
    as_snapshots(source, &figures.checkpoint, out);
    as_append_only_file(figures, out);
    out.zeros(&["module_fork_in_progress", "module_fork_last_cow_size"]);
    recovery(&figures.recovery, out);
    let before = source.server.node.get().and_then(|node| node.recovery.as_ref());
    out.put("recovery_kind_before", before.map_or("", |recovery| recovery.kind));
    log(&figures.log, out);
    checkpoint(&figures.checkpoint, out);
    cleaning(&figures.cleaning, out);
    eviction(&figures.eviction, out);
    scrub(&figures.scrub, out);
}

/// What Redis tells of its snapshots, told of checkpoints.
fn as_snapshots(source: &Source<'_>, checkpoint: &CheckpointFigures, out: &mut Lines) {
    let seconds = |known: bool| if known { (checkpoint.last_millis / 1000).to_string() } else { "-1".to_owned() };
    out.put("rdb_changes_since_last_save", checkpoint.changes_since);
    out.put("rdb_bgsave_in_progress", u8::from(checkpoint.in_progress));
    out.put("rdb_last_save_time", source.server.last_save());
    out.put("rdb_last_bgsave_status", if checkpoint.last_failed { "err" } else { "ok" });
    out.put("rdb_last_bgsave_time_sec", seconds(checkpoint.count > 0));
    out.put("rdb_current_bgsave_time_sec", if checkpoint.in_progress { 0 } else { -1 });
    out.put("rdb_saves", checkpoint.count);
    out.zeros(&["rdb_last_cow_size", "rdb_last_load_keys_expired"]);
    out.put("rdb_last_load_keys_loaded", source.figures().recovery.keys);
}

/// What Redis tells of its append-only file, told of the log.
fn as_append_only_file(figures: &StorageFigures, out: &mut Lines) {
    let (log, (rewriting, rewrites)) = (&figures.log, figures.cleaning_pass);
    out.put("aof_enabled", 1);
    out.put("aof_rewrite_in_progress", u8::from(rewriting));
    out.zeros(&["aof_rewrite_scheduled"]);
    out.put("aof_last_rewrite_time_sec", -1);
    out.put("aof_current_rewrite_time_sec", -1);
    out.put("aof_last_bgrewrite_status", "ok");
    out.put("aof_rewrites", rewrites);
    out.zeros(&["aof_rewrites_consecutive_failures"]);
    out.put("aof_last_write_status", if log.poisoned.is_empty() && !log.disk_full { "ok" } else { "err" });
    out.zeros(&["aof_last_cow_size"]);
    out.put("aof_current_size", log.bytes);
    out.put("aof_base_size", log.bytes);
    out.zeros(&["aof_pending_rewrite", "aof_buffer_length", "aof_pending_bio_fsync", "aof_delayed_fsync"]);
}

fn recovery(recovery: &RecoveryFigures, out: &mut Lines) {
    out.put("recovery_kind", recovery.kind);
    out.put("recovery_reason", &recovery.reason);
    out.put("recovery_ms", recovery.millis);
    out.put("recovery_keys", recovery.keys);
    out.put("recovery_keys_from_checkpoint", recovery.keys_from_checkpoint);
    out.put("recovery_entries_replayed", recovery.entries_replayed);
    out.put("recovery_bytes_replayed", recovery.bytes_replayed);
    out.put("recovery_bytes_cut", recovery.bytes_cut);
    out.put("recovery_index_repairs", recovery.index_repairs);
    out.put("recovery_value_segments_removed", recovery.value_segments_removed);
}

fn log(log: &LogFigures, out: &mut Lines) {
    out.put("log_written_lsn", log.written_lsn);
    out.put("log_flushed_lsn", log.flushed_lsn);
    out.put("log_epoch", log.epoch);
    out.put("log_history", &log.history);
    out.put("log_segments", log.segments);
    out.put("log_bytes", log.bytes);
    out.put("log_live_bytes", log.live_bytes);
    out.put("log_syncs", log.syncs);
    out.put("log_last_sync_usec", log.last_sync_micros);
    out.put("log_status", if log.poisoned.is_empty() { "ok" } else { "poisoned" });
    out.put("log_error", &log.poisoned);
    out.put("log_disk_full", u8::from(log.disk_full));
    out.put("log_refused_writes", log.refused_writes);
}

fn checkpoint(checkpoint: &CheckpointFigures, out: &mut Lines) {
    out.put("checkpoint_lsn", checkpoint.lsn);
    out.put("checkpoint_in_progress", u8::from(checkpoint.in_progress));
    out.put("checkpoint_last_ms", checkpoint.last_millis);
}

fn eviction(eviction: &EvictionFigures, out: &mut Lines) {
    out.put("evict_data_bytes", eviction.used_bytes);
    out.put("evict_passes", eviction.passes);
    out.put("evict_entries", eviction.entries);
    out.put("evict_evicted_bytes", eviction.bytes);
    out.put("evict_kept_keys", eviction.kept);
    out.put("evict_ghost_hits", eviction.ghosts);
    out.put("evict_read_bytes", eviction.read_bytes);
    out.put("evict_failed_passes", eviction.failed);
    out.put("evict_usec", eviction.micros);
}

fn cleaning(cleaning: &CleaningFigures, out: &mut Lines) {
    out.put("clean_log_bytes", cleaning.log_bytes);
    out.put("clean_live_bytes", cleaning.live_bytes);
    out.put("clean_dead_bytes", cleaning.log_bytes.saturating_sub(cleaning.live_bytes));
    out.put("clean_debt_bytes", cleaning.debt_bytes);
    out.put("clean_retired_bytes", cleaning.retired_bytes);
    out.put("clean_reclaimed_bytes", cleaning.reclaimed_bytes);
    out.put("clean_read_bytes", cleaning.read_bytes);
    out.put("clean_written_bytes", cleaning.written_bytes);
    out.put("clean_jobs", cleaning.jobs);
    out.put("clean_failed_jobs", cleaning.failed);
    out.put("clean_usec", cleaning.micros);
    out.put("history_bytes", cleaning.history_bytes);
    out.put("history_from_lsn", cleaning.history_from);
    out.put("history_gave_way", cleaning.history_gave_way);
    out.put("disk_used_bytes", cleaning.used_bytes);
}

fn scrub(scrub: &ScrubFigures, out: &mut Lines) {
    out.put("scrub_in_progress", u8::from(scrub.running));
    out.put("scrub_passes", scrub.passes);
    out.put("scrub_read_bytes", scrub.read_bytes);
    out.put("scrub_last_pass_time", scrub.last_pass.0 / 1000);
    out.put("scrub_last_pass_sec", if scrub.passes == 0 { -1 } else { (scrub.last_pass_millis / 1000) as i64 });
    out.put("scrub_bad_segments", scrub.bad.len());
    for (number, bad) in scrub.bad.iter().take(SHOWN_BAD).enumerate() {
        let file = bad.path.file_name().unwrap_or_default().to_string_lossy();
        out.put(format_args!("scrub_bad_segment_{number}"), format_args!("file={file},offset={},lsn={}", bad.offset, bad.lsn));
    }
}
