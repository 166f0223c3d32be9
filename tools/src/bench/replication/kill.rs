//! The primary is lost under load: how many writes that it had acknowledged does the best replica lack?
//!
//! Every write is to a key of its own, so that each that is gone is seen. The links are cut when the primary is killed, with what they carry, as
//! when its machine loses power.

use std::io::sink;
use std::thread;
use std::time::{Duration, Instant};

use super::super::BenchError;
use super::super::args::Load;
use super::super::keys::Distribution;
use super::super::load::{main_plan, maker, measure};
use super::super::mix::{Mix, Op};
use super::super::schedule::Limits;
use super::super::stats::{Figures, Wrong};
use super::super::worker::Plan;
use super::args::Replication;
use super::client::{Client, target};
use super::cluster::Cluster;
use super::info;
use super::sample::Sample;

/// Keys that there are to be written.
const KEYS: u64 = 2_000_000;
/// How long all may take to be read.
const READING: Duration = Duration::from_secs(60);
/// A replica that has not applied anything for so long has applied all that it got.
const QUIET: Duration = Duration::from_millis(200);

/// Kills the primary after `after`, promotes the replica that is ahead, and reads all that was acknowledged.
pub(super) fn run(options: &Replication, mut cluster: Cluster, after: Duration) -> Result<Sample, BenchError> {
    let mut load = options.load(cluster.primary.port, KEYS);
    load.mix = Mix::only(Op::Set);
    load.distribution = Distribution::Sequential;
    "kill:".clone_into(&mut load.key_prefix);
    (load.verify, load.seconds, load.requests) = (true, None, Some(KEYS));
    let (primary_target, maker) = (target(cluster.primary.port), maker(&load));
    let written = thread::scope(|scope| {
        let (primary, replicas) = (&mut cluster.primary, &cluster.replicas);
        scope.spawn(move || {
            thread::sleep(after);
            // Not after it is gone: freeing its memory takes milliseconds, in which the links would deliver what they carry.
            primary.kill(|| replicas.iter().for_each(|replica| replica.link.cut()));
        });
        measure(main_plan(&load, &primary_target, &maker), &load, &mut sink(), None)
    })?;
    let sent = written.figures.answered() + written.figures.lost + written.figures.error_replies();
    let (port, millis) = promote(&cluster)?;

    let read = Load { mix: Mix::only(Op::Get), ..options.load(port, KEYS) };
    let replica_target = target(port);
    let plan = Plan {
        distribution: Distribution::Sequential,
        pipeline: 64,
        limits: Limits::new(0, Some(READING.as_nanos() as u64), Some(sent)),
        ..main_plan(&read, &replica_target, &maker)
    };
    let found = measure(plan, &read, &mut sink(), None)?;
    Ok(sample(&written.figures, &found.figures, millis))
}

/// Promotes the replica that has the most: its port, and how many milliseconds it took to answer.
fn promote(cluster: &Cluster) -> Result<(u16, f64), BenchError> {
    let mut best: Option<(i64, u16, Client)> = None;
    for replica in &cluster.replicas {
        let mut client = replica.node.connect()?;
        let applied = quiet(&mut client)?;
        if best.as_ref().is_none_or(|(most, ..)| applied > *most) {
            best = Some((applied, replica.node.port, client));
        }
    }
    let Some((_, port, mut client)) = best else {
        return Err(cluster.primary.error("it was killed and has no replica"));
    };
    let began = Instant::now();
    client.ask(&["REPLICAOF", "NO", "ONE"])?;
    let millis = began.elapsed().as_secs_f64() * 1e3;
    // It has no replicas of its own that could acknowledge, and its reads do not wait for them.
    client.ask(&["CONFIG", "SET", "replication-mode", "async"])?;
    Ok((port, millis))
}

/// Waits until a replica does not apply anything more: up to where it has.
fn quiet(client: &mut Client) -> Result<i64, BenchError> {
    let (mut applied, mut since) = (-1, Instant::now());
    while since.elapsed() < QUIET {
        let info = client.ask(&["INFO", "replication"])?;
        let now = info::number(&info, "slave_repl_offset");
        if now != applied {
            (applied, since) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(applied)
}

fn sample(written: &Figures, found: &Figures, millis: f64) -> Sample {
    let mut sample = Sample::default();
    let lost = found.wrong_of(Wrong::Missing) + found.wrong_of(Wrong::Stale);
    let unread = found.error_replies() + found.lost + found.unsent.count();
    sample.put("acknowledged", written.of_op(Op::Set).map_or(0, |latencies| latencies.count()) as f64);
    sample.put("unanswered", written.lost as f64);
    sample.put("acknowledged_lost", lost as f64);
    sample.put("promotion_ms", millis);
    sample.put("unread", unread as f64);
    sample.put("wrong_values", (found.wrong_answers() - lost) as f64);
    if unread > 0 || found.wrong_answers() > lost {
        let first = found.errors.keys().chain(&found.examples).next().map_or("", String::as_str);
        sample.troubles.push(format!("{unread} keys were not read, {} values wrong: {first}", found.wrong_answers() - lost));
    }
    for (text, count) in &written.errors {
        sample.troubles.push(format!("{count} error replies before the kill: {text}"));
    }
    sample
}
