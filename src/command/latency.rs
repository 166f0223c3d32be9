//! LATENCY.

use super::table::CommandId;
use super::{Call, CommandError, Flags, Group, Keys, Spec, rows};
use crate::observe::{doctor, graph};

const ROW: Spec = Spec {
    name: "latency|doctor",
    arity: 2,
    flags: Flags::ADMIN.and(Flags::LOADING),
    keys: Keys::None,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(1)",
    summary: "Tells in words what took long, and where to look.",
    handler: report,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "latency|graph", arity: 3, summary: "Draws the times of an event.", handler: draw, ..ROW },
    Spec {
        name: "latency|histogram",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N), N commands",
        summary: "Returns the distribution of the times of commands, all or those named.",
        handler: histogram,
        ..ROW
    },
    Spec { name: "latency|history", arity: 3, summary: "Returns when an event took long, and how long.", handler: history, ..ROW },
    Spec { name: "latency|latest", summary: "Returns for each event when it last took long, and how long.", handler: latest, ..ROW },
    Spec { name: "latency|reset", arity: -2, summary: "Forgets the times of events, all or those named.", handler: reset, ..ROW },
];

fn seconds(call: &Call<'_, '_>) -> i64 {
    call.txn.now().0 / 1000
}

fn report(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let text = doctor(&call.server.latency.events(), call.server.config.hot().latency_millis());
    call.reply.verbatim(&text);
    Ok(())
}

fn draw(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let name = String::from_utf8_lossy(call.arg(2));
    let event = call.server.latency.event(call.arg(2));
    let event = event.ok_or_else(|| CommandError::Owned(format!("ERR No samples available for event '{name}'")))?;
    call.reply.verbatim(&graph(&name, &event, seconds(call)));
    Ok(())
}

fn history(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let samples = call.server.latency.event(call.arg(2)).unwrap_or_default().samples;
    call.reply.array(samples.len());
    for sample in samples {
        call.reply.array(2);
        call.reply.integer(sample.unix_seconds);
        call.reply.integer(sample.millis as i64);
    }
    Ok(())
}

fn latest(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let events = call.server.latency.events();
    call.reply.array(events.len());
    for (name, event) in events {
        let last = event.samples.back().copied();
        call.reply.array(4);
        call.reply.bulk(name.as_bytes());
        call.reply.integer(last.map_or(0, |s| s.unix_seconds));
        call.reply.integer(last.map_or(0, |s| s.millis as i64));
        call.reply.integer(event.worst_millis as i64);
    }
    Ok(())
}

fn reset(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.integer(call.server.latency.reset(&call.args[2..]) as i64);
    Ok(())
}

fn histogram(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let wanted = &call.args[2..];
    // A container's name stands for all of its subcommands.
    let names = |name: &str, word: &[u8]| {
        let word = word.to_ascii_lowercase();
        name.as_bytes() == word || name.split_once('|').is_some_and(|(container, _)| container.as_bytes() == word)
    };
    let tracked = call.server.config.hot().latency_tracking();
    let found: Vec<(CommandId, &Spec)> = rows()
        .filter(|_| tracked)
        .filter(|(_, spec)| wanted.is_empty() || wanted.iter().any(|word| names(spec.name, word)))
        .filter(|(id, _)| call.server.counters.times(*id).total() > 0)
        .collect();
    call.reply.map(found.len());
    for (id, spec) in found {
        let times = call.server.counters.times(id);
        let steps = times.doubling();
        call.reply.bulk(spec.name.as_bytes());
        call.reply.map(2);
        call.reply.bulk(b"calls");
        call.reply.integer(times.total() as i64);
        call.reply.bulk(b"histogram_usec");
        call.reply.map(steps.len());
        for (micros, count) in steps {
            call.reply.integer(micros as i64);
            call.reply.integer(count as i64);
        }
    }
    Ok(())
}
