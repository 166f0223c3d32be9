//! The section about replication: Redis's fields, then Esker's own.

use super::{Lines, Source};
use crate::config::{Config, ReplicationMode};
use crate::replication::status::{Link, LinkState, Replica, ReplicaState, Status};
use crate::replication::time::Millis;

pub(super) fn replication(source: &Source<'_>, out: &mut Lines) {
    let (server, now) = (source.server, source.server.clock());
    let shard = server.shard();
    let (written, log) = (shard.written_lsn(), shard.log().figures());
    let status = server.replication();
    out.put("role", if status.link().is_some() { "slave" } else { "master" });
    if let Some(link) = status.link() {
        primary(link, written.0, &server.config, now, out);
    }
    out.put("connected_slaves", status.replicas.len());
    if let Some((_, lag)) = server.config.hot().replicas_to_write() {
        out.put("min_slaves_good_slaves", status.good_replicas(now, lag));
    }
    for (number, replica) in status.replicas.values().enumerate() {
        out.put(format_args!("slave{number}"), as_slave(replica, now));
    }
    out.put("master_failover_state", status.failover.name());
    // Forty digits as clients expect them, of which the history has 32.
    out.put("master_replid", format_args!("{:0<40}", log.history.to_string()));
    out.put("master_replid2", "0".repeat(40));
    out.put("master_repl_offset", written);
    out.put("second_repl_offset", -1);
    out.put("repl_backlog_active", 1);
    out.put("repl_backlog_size", log.bytes);
    out.put("repl_backlog_first_byte_offset", 1);
    out.put("repl_backlog_histlen", written);
    of_our_own(source, &status, now, out);
}

/// What a replica tells of its primary.
fn primary(link: &Link, written: u64, config: &Config, now: Millis, out: &mut Lines) {
    let seconds = |time: Option<Millis>| time.map_or(-1, |time| (time.0 / 1000) as i64);
    out.put("master_host", &link.host);
    out.put("master_port", link.port);
    out.put("master_link_status", if link.is_up() { "up" } else { "down" });
    out.put("master_last_io_seconds_ago", seconds(link.last_io.filter(|_| link.is_up()).map(|last| now - last)));
    out.put("master_sync_in_progress", u8::from(link.state() == LinkState::Sync));
    out.put("slave_read_repl_offset", link.received.0.max(written));
    out.put("slave_repl_offset", written);
    if link.state() == LinkState::Sync {
        let progress = link.progress.unwrap_or_default();
        out.put("master_sync_total_bytes", progress.total);
        out.put("master_sync_read_bytes", progress.arrived);
        out.put("master_sync_left_bytes", progress.total.saturating_sub(progress.arrived));
        out.put("master_sync_perc", format_args!("{:.2}", progress.percent()));
        out.put("master_sync_last_io_seconds_ago", (now - progress.last_io).0 / 1000);
    }
    if !link.is_up() {
        out.put("master_link_down_since_seconds", seconds(link.down_for(now)));
    }
    out.put("slave_priority", config.replica_priority());
    out.put("slave_read_only", u8::from(config.hot().replica_read_only()));
    out.put("replica_announced", u8::from(config.replica_announced()));
}

fn as_slave(replica: &Replica, now: Millis) -> String {
    let Replica { address, port, state, received, .. } = replica;
    let lag = if *state == ReplicaState::Online { replica.silence(now) } else { 0 };
    format!("ip={address},port={port},state={},offset={received},lag={lag}", state.name())
}

fn of_our_own(source: &Source<'_>, status: &Status, now: Millis, out: &mut Lines) {
    let shard = source.server.shard();
    let written = shard.written_lsn();
    let mode = source.server.config.hot().replication_mode();
    out.put("replication_mode", mode.name());
    if mode == ReplicationMode::Sync && status.link().is_none() {
        let members: Vec<String> = source.server.links.promise().members().iter().map(|node| format!("{:016x}", node.0)).collect();
        out.put("in_sync_replicas", members.join(","));
    }
    for (number, replica) in status.replicas.values().enumerate() {
        let Replica { sent, received, flushed, applied, .. } = replica;
        let lag = status.trail.lag(now, written, *received);
        let lsns = format_args!("lsn_sent={sent},lsn_written={received},lsn_flushed={flushed},lsn_applied={applied}");
        let (entries, bytes, millis) = (lag.entries, lag.bytes, lag.millis);
        out.put(format_args!("replica{number}"), format_args!("{lsns},lag_entries={entries},lag_bytes={bytes},lag_ms={millis}"));
    }
    // -1: nobody else has a copy, so all of it.
    let window = status.loss_window(now, written);
    let shown = |figure: Option<u64>| figure.map_or_else(|| "-1".to_owned(), |figure| figure.to_string());
    out.put("loss_window_entries", shown(window.map(|lag| lag.entries)));
    out.put("loss_window_bytes", shown(window.map(|lag| lag.bytes)));
    out.put("loss_window_ms", shown(window.map(|lag| lag.millis)));
    out.put("may_lack_promised", u8::from(status.may_lack));
    out.put("divergent_files", status.divergent_files);
}
