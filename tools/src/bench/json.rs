//! Figures for programs.

use serde_json::{Map, Value, json};

use super::args::Load;
use super::mix::Op;
use super::report::{IntervalLine, Measured, QUANTILES};
use super::stats::{Latencies, Wrong};

/// All options that matter and all that was measured.
pub(super) fn object(load: &Load, filled: Option<&Measured>, measured: Option<&Measured>) -> Value {
    json!({
        "options": {
            "host": load.server.host, "port": load.server.port, "db": load.server.db, "rate": load.rate, "clients": load.clients, "pipeline": load.pipeline,
            "threads": load.threads, "seconds": load.nanos().map(|nanos| nanos as f64 / 1e9), "requests": load.requests,
            "warmup": load.warmup, "keys": load.keys, "distribution": load.distribution.to_string(),
            "value_bytes": [load.value_bytes.from, load.value_bytes.to], "mix": load.mix.to_string(), "ttl": load.ttl,
            "key_prefix": load.key_prefix, "hash_tag": load.hash_tag, "seed": load.seed, "fill": load.fill, "verify": load.verify,
            "unchecked": load.unchecked, "reconnect": load.reconnect,
        },
        "fill": filled.map(|filled| run(load, filled)),
        "run": measured.map(|measured| run(load, measured)),
    })
}

fn run(load: &Load, measured: &Measured) -> Value {
    let figures = &measured.figures;
    let by_op = Op::ALL.into_iter().filter_map(|op| Some((op.name().to_owned(), latencies(figures.of_op(op)?))));
    let wrong = Wrong::ALL.into_iter().map(|wrong| (wrong.id().to_owned(), figures.wrong_of(wrong).into()));
    json!({
        "seconds": measured.seconds,
        "requests": figures.answered(),
        "requests_per_second": measured.rate(),
        "latency": latencies(&figures.all()),
        "by_command": by_op.collect::<Map<_, _>>(),
        "not_sent": latencies(&figures.unsent),
        "generator_late": latencies(&figures.late),
        "generator_busy": measured.busy(),
        "hits": figures.hits,
        "misses": figures.misses,
        "sent_bytes": figures.sent_bytes,
        "received_bytes": figures.received_bytes,
        "error_replies": figures.error_replies(),
        "errors": figures.errors,
        "lost_requests": figures.lost,
        "disconnections": figures.disconnections,
        "disconnected": figures.disconnected,
        "reconnections": figures.reconnections,
        "wrong_answers": figures.wrong_answers(),
        "wrong": wrong.collect::<Map<_, _>>(),
        "examples": figures.examples,
        "right": measured.is_right(load),
        "intervals": measured.intervals.iter().map(interval).collect::<Vec<_>>(),
    })
}

fn interval(line: &IntervalLine) -> Value {
    json!({"at": line.at, "seconds": line.seconds, "latency": latencies(&line.interval.latencies), "errors": line.interval.errors})
}

fn latencies(latencies: &Latencies) -> Value {
    let mut object = Map::new();
    object.insert("requests".to_owned(), latencies.count().into());
    if latencies.count() > 0 {
        object.insert("mean_ms".to_owned(), latencies.mean_millis().into());
        for (name, quantile) in QUANTILES {
            object.insert(format!("{name}_ms"), latencies.millis(quantile).into());
        }
        object.insert("max_ms".to_owned(), latencies.max_millis().into());
    }
    Value::Object(object)
}
