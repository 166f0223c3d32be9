//! A load on the primary, at a rate or as fast as it goes, and what it costs every part.

use std::io::sink;
use std::time::Instant;

use super::super::BenchError;
use super::super::args::Load;
use super::super::load::{main_plan, maker, measure};
use super::super::mix::Op;
use super::super::report::{Measured, QUANTILES};
use super::super::request::Maker;
use super::args::Replication;
use super::client::target;
use super::cluster::Cluster;
use super::lag;
use super::limit::Shares;
use super::proxy::Delivered;
use super::sample::Sample;
use super::usage::{Machine, Usage};

/// What everybody has used at one time.
struct Snapshot {
    at: Instant,
    /// The primary first.
    nodes: Vec<Usage>,
    links: Vec<Delivered>,
    myself: Usage,
    machine: Machine,
}

impl Snapshot {
    fn take(cluster: &Cluster) -> Self {
        Self {
            at: Instant::now(),
            nodes: cluster.nodes().map(|node| node.usage()).collect(),
            links: cluster.delivered(),
            myself: Usage::of(std::process::id()),
            machine: Machine::now(),
        }
    }
}

/// Puts the load on, and waits until the replicas have all of it.
pub(super) fn run(options: &Replication, cluster: &Cluster, rate: Option<f64>) -> Result<Sample, BenchError> {
    let mut load = options.load(cluster.primary.port, options.keys);
    load.rate = rate;
    load.verify = options.mix.has(Op::Get);
    let (target, maker) = (target(cluster.primary.port), maker(&load));
    if options.warmup > 0.0 {
        let short = Load { seconds: Some(options.warmup), ..load.clone() };
        measure(main_plan(&short, &target, &maker), &short, &mut sink(), None)?;
    }
    let mut primary = cluster.primary.connect()?;
    cluster.wait_in_sync(&mut primary, |_| {})?;
    let before = Snapshot::take(cluster);
    let (measured, lags) = lag::watch(&cluster.primary, || measure(main_plan(&load, &target, &maker), &load, &mut sink(), None))?;
    let measured = measured?;
    let loaded = Snapshot::take(cluster);
    cluster.wait_in_sync(&mut primary, |_| {})?;
    let drained = Snapshot::take(cluster);

    let mut sample = Sample::default();
    sample.put("drain_ms", (drained.at - loaded.at).as_secs_f64() * 1e3);
    put_client(&measured, &load, &mut sample);
    put_costs(&measured, user_bytes(&measured, &load, &maker), (&before, &drained), cluster, &mut sample);
    lag::put(&lags, &mut sample);
    sample.lag = lags;
    let shares = shares(&measured, (&before, &loaded), cluster);
    for (name, share) in &shares.parts {
        sample.put(format!("share_{}", name.replace(' ', "_")), *share);
    }
    sample.put("share_machine", shares.machine);
    sample.put("share_others", shares.others);
    sample.put("share_iowait", shares.iowait);
    sample.limit = Some(shares.limit(if rate.is_some() { "the rate" } else { "round trips" }));
    Ok(sample)
}

fn put_client(measured: &Measured, load: &Load, sample: &mut Sample) {
    let (figures, all) = (&measured.figures, measured.figures.all());
    sample.put("requests", figures.answered() as f64);
    sample.put("requests_per_second", measured.rate());
    for (name, quantile) in QUANTILES {
        sample.put(format!("{name}_ms"), all.millis(quantile));
    }
    sample.put("max_ms", all.max_millis());
    sample.put("not_sent", figures.unsent.count() as f64);
    sample.put("generator_late_p99_ms", if figures.late.count() > 0 { figures.late.millis(0.99) } else { 0.0 });
    sample.put("error_replies", figures.error_replies() as f64);
    sample.put("lost_requests", figures.lost as f64);
    sample.put("wrong_answers", figures.wrong_answers() as f64);
    if !measured.is_right(load) {
        let (errors, lost, wrong) = (figures.error_replies(), figures.lost, figures.wrong_answers());
        let first = figures.errors.keys().chain(figures.disconnected.keys()).chain(&figures.examples).next();
        let first = first.map_or("", String::as_str);
        sample.troubles.push(format!("{errors} error replies, {lost} lost requests, {wrong} wrong answers, the first: {first}"));
    }
}

/// Bytes of keys and values that were written.
fn user_bytes(measured: &Measured, load: &Load, maker: &Maker) -> f64 {
    let sets = measured.figures.of_op(Op::Set).map_or(0, |latencies| latencies.count());
    let value = load.value_bytes.from.midpoint(load.value_bytes.to);
    sets as f64 * (maker.names.len() + value) as f64
}

fn put_costs(measured: &Measured, user_bytes: f64, (before, after): (&Snapshot, &Snapshot), cluster: &Cluster, sample: &mut Sample) {
    let requests = (measured.figures.answered() as f64).max(1.0);
    let a_user_byte = |bytes: f64| bytes / user_bytes.max(1.0);
    sample.put("user_bytes", user_bytes);
    for (node, (before, after)) in cluster.nodes().zip(before.nodes.iter().zip(&after.nodes)) {
        let name = node.name.replace(' ', "_");
        sample.put(format!("cpu_us_per_request_{name}"), after.cpu_since(before) * 1e6 / requests);
        sample.put(format!("disk_bytes_per_user_byte_{name}"), a_user_byte((after.disk - before.disk) as f64));
    }
    let (mut to_replicas, mut to_primary) = (0, 0);
    for (before, after) in before.links.iter().zip(&after.links) {
        to_replicas += after.to_replica - before.to_replica;
        to_primary += after.to_primary - before.to_primary;
    }
    if !after.links.is_empty() {
        sample.put("wire_bytes_to_replicas", to_replicas as f64);
        sample.put("wire_bytes_to_primary", to_primary as f64);
        sample.put("wire_bytes_per_user_byte", a_user_byte((to_replicas + to_primary) as f64));
    }
    // The generator's threads have ended: those that are left carry the links.
    let proxies = after.myself.cpu_since(&before.myself);
    sample.put("cpu_us_per_request_client", measured.figures.cpu_nanos as f64 / 1e3 / requests);
    sample.put("cpu_us_per_request_proxies", proxies * 1e6 / requests);
}

fn shares(measured: &Measured, (before, after): (&Snapshot, &Snapshot), cluster: &Cluster) -> Shares {
    let seconds = (after.at - before.at).as_secs_f64().max(1e-9);
    let nodes = || cluster.nodes().zip(before.nodes.iter().zip(&after.nodes));
    let mut parts: Vec<(String, f64)> =
        nodes().map(|(node, (before, after))| (node.name.clone(), after.busiest_since(before) / seconds)).collect();
    parts.push(("client".to_owned(), measured.busy()));
    parts.push(("proxy".to_owned(), after.myself.busiest_since(&before.myself) / seconds));
    if let Some(rate) = cluster.shape().rate {
        for (number, (before, after)) in before.links.iter().zip(&after.links).enumerate() {
            let bytes = (after.to_replica - before.to_replica).max(after.to_primary - before.to_primary);
            parts.push((format!("link {}", number + 1), bytes as f64 / seconds / rate));
        }
    }
    let machine = after.machine.since(before.machine);
    let share = if machine.all > 0.0 { 1.0 - (machine.idle + machine.iowait) / machine.all } else { 0.0 };
    let ours: f64 = nodes().map(|(_, (before, after))| after.cpu_since(before)).sum();
    let ours = ours + after.myself.cpu_since(&before.myself) + measured.figures.cpu_nanos as f64 / 1e9;
    let others = if machine.all > 0.0 { (share - ours / machine.all).max(0.0) } else { 0.0 };
    Shares { parts, machine: share, others, iowait: machine.iowait / seconds }
}
