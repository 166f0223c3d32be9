//! A replica that was away, and one that has nothing: how long until they have all, and over how many bytes.

use std::io::sink;
use std::time::Instant;

use super::super::BenchError;
use super::super::load::{fill_plan, maker, measure};
use super::super::report::Measured;
use super::args::Replication;
use super::client::{Client, target};
use super::cluster::Cluster;
use super::info;
use super::sample::Sample;
use super::usage::anonymous_memory;

/// Which part of the keys is written while the replica is away.
const AWAY: u64 = 10;

/// Writes so many keys, one after the other and each once.
pub(super) fn fill(options: &Replication, cluster: &Cluster, keys: u64) -> Result<Measured, BenchError> {
    let load = options.load(cluster.primary.port, keys);
    let (target, maker) = (target(cluster.primary.port), maker(&load));
    let filled = measure(fill_plan(&load, &target, &maker), &load, &mut sink(), None)?;
    if !filled.is_right(&load) || filled.figures.answered() < keys {
        let first = filled.figures.errors.keys().chain(filled.figures.disconnected.keys()).next().map_or("", String::as_str);
        return Err(cluster.primary.error(&format!("of {keys} writes {} were acknowledged: {first}", filled.figures.answered())));
    }
    Ok(filled)
}

/// The catch-up's figures and the full sync's; of a cluster with one replica in service.
pub(super) fn run(options: &Replication, cluster: &mut Cluster) -> Result<(Sample, Sample), BenchError> {
    fill(options, cluster, options.sync_keys)?;
    let mut primary = cluster.primary.connect()?;
    cluster.wait_in_sync(&mut primary, |_| {})?;
    let before = log_bytes(&mut primary)?;
    cluster.replicas[0].node.terminate()?;
    fill(options, cluster, (options.sync_keys / AWAY).max(1))?;
    let missing = log_bytes(&mut primary)? - before;
    let mut catch_up = timed(cluster, &mut primary, 0, |cluster| cluster.replicas[0].node.restart())?;
    catch_up.put("missing_log_bytes", missing);
    catch_up.put("wire_bytes_per_missing_byte", catch_up.figures["wire_bytes_to_replica"] / missing.max(1.0));
    let mut full_sync = timed(cluster, &mut primary, 1, Cluster::add_replica)?;
    full_sync.put("log_bytes", log_bytes(&mut primary)?);
    full_sync.put("keys_per_second", options.sync_keys as f64 / full_sync.figures["seconds"]);
    Ok((catch_up, full_sync))
}

fn log_bytes(primary: &mut Client) -> Result<f64, BenchError> {
    Ok(info::number(&primary.ask(&["INFO", "persistence"])?, "log_bytes") as f64)
}

/// Lets a replica join, and measures until all have all. Its start is part of the time.
fn timed(
    cluster: &mut Cluster,
    primary: &mut Client,
    replica: usize,
    join: impl FnOnce(&mut Cluster) -> Result<(), BenchError>,
) -> Result<Sample, BenchError> {
    let delivered = |cluster: &Cluster| cluster.delivered().get(replica).copied().unwrap_or_default();
    let (pid, link_before) = (cluster.primary.pid(), delivered(cluster));
    let (used_before, memory_before) = (cluster.primary.usage(), anonymous_memory(pid));
    let began = Instant::now();
    join(cluster)?;
    let mut memory = memory_before;
    cluster.wait_in_sync(primary, |_| memory = memory.max(anonymous_memory(pid)))?;
    let seconds = began.elapsed().as_secs_f64();
    let link = delivered(cluster);
    let to_replica = (link.to_replica - link_before.to_replica) as f64;
    let mut sample = Sample::default();
    sample.put("seconds", seconds);
    sample.put("wire_bytes_to_replica", to_replica);
    sample.put("wire_bytes_to_primary", (link.to_primary - link_before.to_primary) as f64);
    sample.put("megabytes_per_second", to_replica / 1e6 / seconds);
    sample.put("primary_cpu_seconds", cluster.primary.usage().cpu_since(&used_before));
    sample.put("primary_anonymous_memory_growth_mib", (memory - memory_before) as f64 / f64::from(1 << 20));
    Ok(sample)
}
