//! Sections that count: stats, keyspace.

use super::{Lines, Source};
use crate::pubsub::Kind;

pub(super) fn stats(source: &Source<'_>, out: &mut Lines) {
    let (server, stats) = (source.server, &source.server.stats);
    let [commands, received, sent] = stats.rates.per_second();
    let kilobytes = |bytes: f64| format!("{:.2}", bytes / 1024.0);
    let storage = source.figures();
    out.put("total_connections_received", stats.connections());
    out.put("total_commands_processed", server.counters.processed());
    out.put("instantaneous_ops_per_sec", commands.round() as u64);
    out.put("total_net_input_bytes", stats.received());
    out.put("total_net_output_bytes", stats.sent());
    out.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    out.put("instantaneous_input_kbps", kilobytes(received));
    out.put("instantaneous_output_kbps", kilobytes(sent));
    out.put("instantaneous_input_repl_kbps", "0.00");
    out.put("instantaneous_output_repl_kbps", "0.00");
    out.put("rejected_connections", stats.rejected());
    let syncs = {
        let status = source.server.replication();
        (status.full_syncs, status.partial_syncs, status.differences, status.repairs)
    };
    out.put("sync_full", syncs.0);
    out.put("sync_partial_ok", syncs.1);
    out.put("sync_differences", syncs.2);
    out.put("sync_repairs", syncs.3);
    out.zeros(&["sync_partial_err"]);
    out.put("expired_keys", storage.expiry.removed);
    out.put("expired_stale_perc", format_args!("{:.2}", storage.expiry.stale_percent));
    out.put("expired_time_cap_reached_count", storage.expiry.time_cap_reached);
    out.put("expire_cycle_cpu_milliseconds", storage.expiry.micros / 1000);
    out.put("expiry_sweeps", storage.expiry.rounds);
    out.put("evicted_keys", storage.eviction.keys);
    out.zeros(&["evicted_clients"]);
    out.zeros(&["total_eviction_exceeded_time", "current_eviction_exceeded_time"]);
    out.put("keyspace_hits", server.counters.hits());
    out.put("keyspace_misses", server.counters.misses());
    let cold = &storage.cold;
    out.put("cold_reads", cold.done);
    out.put("cold_reads_failed", cold.failed);
    out.put("cold_reads_queued", cold.queued);
    out.put("cold_read_usec", cold.mean_micros());
    out.put("cold_read_usec_p50", cold.percentile_micros(0.5));
    out.put("cold_read_usec_p99", cold.percentile_micros(0.99));
    out.put("cold_hits_in_memory", storage.memory.copies_hits);
    pubsub(source, out);
    out.zeros(&["latest_fork_usec", "total_forks", "migrate_cached_sockets", "slave_expires_tracked_keys"]);
    out.zeros(&["active_defrag_hits", "active_defrag_misses", "active_defrag_key_hits", "active_defrag_key_misses"]);
    out.zeros(&["total_active_defrag_time", "current_active_defrag_time", "tracking_total_keys", "tracking_total_items"]);
    out.zeros(&["tracking_total_prefixes", "unexpected_error_replies"]);
    out.put("total_error_replies", server.counters.errors().values().sum::<u64>());
    out.zeros(&["dump_payload_sanitizations"]);
    out.put("total_reads_processed", stats.reads());
    out.put("total_writes_processed", stats.writes());
    out.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed", "reply_buffer_shrinks", "reply_buffer_expands"]);
    out.put("client_output_buffer_limit_disconnections", stats.output_limited());
    out.put("client_query_buffer_limit_disconnections", stats.query_limited());
    out.put("client_timeout_disconnections", stats.timed_out());
}

fn pubsub(source: &Source<'_>, out: &mut Lines) {
    let hub = &source.server.hub;
    out.put("pubsub_channels", hub.count(Kind::Channel));
    out.put("pubsub_patterns", hub.count(Kind::Pattern));
    out.put("pubsubshard_channels", hub.count(Kind::Shard));
}

pub(super) fn keyspace(source: &Source<'_>, out: &mut Lines) {
    let average_ttl = source.server.shard().expiry_figures().average_ttl;
    for (db, keys) in source.databases.iter().enumerate().filter(|(_, keys)| keys.keys > 0) {
        let ttl = if keys.expires > 0 { average_ttl.get(db).copied().unwrap_or(0) } else { 0 };
        out.put(format_args!("db{db}"), format_args!("keys={},expires={},avg_ttl={ttl}", keys.keys, keys.expires));
    }
}
