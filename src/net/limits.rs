//! Limits that bind clients over time: idle ones are ended after `timeout`, and those that leave replies unread as
//! `client-output-buffer-limit` says.

use std::time::{Duration, Instant, SystemTime};

use esker_storage::types::UnixMillis;

use super::{Class, Client};
use crate::config::{ClientClass, OutputLimit};
use crate::server::Server;

/// How often clients are looked at.
const TICK: Duration = Duration::from_millis(250);

/// Looks after the limits for as long as it is polled.
pub async fn enforce(server: &Server) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = now();
        for client in server.clients.all() {
            look_at(&client, server, now);
        }
    }
}

/// The time.
pub(super) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(since.as_millis() as i64)
}

fn look_at(client: &Client, server: &Server, now: UnixMillis) {
    let limits = server.config.hot().output_limits();
    let class = client.class();
    let limit = limits.of(match class {
        Class::Normal => ClientClass::Normal,
        Class::PubSub => ClientClass::PubSub,
        Class::Replica => ClientClass::Replica,
    });
    client.set_hard_limit(usize::try_from(limit.hard).unwrap_or(usize::MAX));
    if is_over(client, limit) {
        server.stats.count_output_limited();
        tracing::warn!(client = client.id, "closed: unread replies exceed client-output-buffer-limit");
        client.kill();
    } else if class == Class::Normal && is_idle(client, server.config.hot().timeout(), now) {
        server.stats.count_timed_out();
        tracing::debug!(client = client.id, "closed: idle");
        client.kill();
    }
}

/// Whether the client holds back more than it may at all, or more than it may for so long.
fn is_over(client: &Client, limit: OutputLimit) -> bool {
    let unsent = client.unsent() as u64;
    let mut shown = client.shown();
    if limit.soft == 0 || unsent <= limit.soft {
        shown.over_soft_limit_since = None;
    } else {
        let since = *shown.over_soft_limit_since.get_or_insert_with(Instant::now);
        if since.elapsed() > Duration::from_secs(limit.soft_seconds) {
            return true;
        }
    }
    limit.hard > 0 && unsent > limit.hard
}

fn is_idle(client: &Client, timeout: u32, now: UnixMillis) -> bool {
    let shown = client.shown();
    timeout > 0 && !shown.blocked && !shown.monitor && now.0 - shown.last_interaction.0 > i64::from(timeout) * 1000
}
