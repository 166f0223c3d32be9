//! MEMORY.

use super::{Call, CommandError, Flags, Group, Keys, Spec};
use crate::observe::info::human;
use crate::observe::memory;

const ROW: Spec = Spec {
    name: "memory|usage",
    arity: -3,
    flags: Flags::READONLY,
    keys: Keys::Range { first: 2, last: 2, step: 1 },
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(1)",
    summary: "Returns the bytes that a key takes: its record in the log and its place in the index.",
    handler: usage,
};

const WITHOUT_KEY: Spec = Spec { arity: 2, flags: Flags(0), keys: Keys::None, ..ROW };

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "memory|stats", summary: "Returns figures on the server's memory.", handler: stats, ..WITHOUT_KEY },
    Spec { name: "memory|doctor", summary: "Tells in words how the server's memory is doing.", handler: doctor, ..WITHOUT_KEY },
    Spec { name: "memory|malloc-stats", summary: "Returns what the allocator tells of itself.", handler: malloc_stats, ..WITHOUT_KEY },
    Spec { name: "memory|purge", summary: "Does nothing: the allocator gives memory back by itself.", handler: purge, ..WITHOUT_KEY },
];

/// Header of an entry with one record; see docs/on-disk-format.md.
const FRAMING_BYTES: i64 = 48;
/// What a key takes in the index at most.
const INDEX_BYTES: i64 = 24;

fn usage(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    match call.args {
        [_, _, _] => {}
        [_, _, _, option, count] if option.eq_ignore_ascii_case(b"samples") => {
            if super::parse_integer(count).ok_or(CommandError::NotInteger)? < 0 {
                return Err(CommandError::Syntax);
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    let key = call.key(2);
    match call.txn.metadata(call.session.db, &key)? {
        Some(found) => call.reply.integer(found.len as i64 + key.bytes().len() as i64 + FRAMING_BYTES + INDEX_BYTES),
        None => call.reply.null(),
    }
    Ok(())
}

/// A figure of MEMORY STATS.
enum Figure {
    Count(u64),
    Ratio(f64),
}

fn stats(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    use Figure::{Count, Ratio};
    let process = memory();
    let index = call.shard.index().bytes_used();
    let used = process.anonymous + index;
    let startup = call.server.stats.startup_memory();
    let of_used = |bytes: u64| if used == 0 { 0.0 } else { bytes as f64 / used as f64 };
    let peak = call.server.stats.peak_memory().max(used);
    let fields = [
        ("peak.allocated", Count(peak)),
        ("total.allocated", Count(used)),
        ("startup.allocated", Count(startup)),
        ("replication.backlog", Count(0)),
        ("clients.slaves", Count(0)),
        ("clients.normal", Count(0)),
        ("cluster.links", Count(0)),
        ("aof.buffer", Count(0)),
        ("lua.caches", Count(0)),
        ("functions.caches", Count(0)),
        ("overhead.total", Count(process.anonymous)),
        ("index.bytes", Count(index)),
        ("dataset.bytes", Count(index)),
        ("dataset.percentage", Ratio(of_used(index) * 100.0)),
        ("peak.percentage", Ratio(used as f64 * 100.0 / peak.max(1) as f64)),
        ("allocator.allocated", Count(process.anonymous)),
        ("allocator.active", Count(process.anonymous)),
        ("allocator.resident", Count(process.anonymous)),
        ("allocator-fragmentation.ratio", Ratio(1.0)),
        ("allocator-fragmentation.bytes", Count(0)),
        ("allocator-rss.ratio", Ratio(1.0)),
        ("allocator-rss.bytes", Count(0)),
        ("rss-overhead.ratio", Ratio(process.resident as f64 / process.anonymous.max(1) as f64)),
        ("rss-overhead.bytes", Count(process.resident.saturating_sub(process.anonymous))),
        ("fragmentation", Ratio(of_used(process.resident))),
        ("fragmentation.bytes", Count(process.resident.saturating_sub(used))),
    ];
    call.reply.map(fields.len());
    for (name, figure) in fields {
        call.reply.bulk(name.as_bytes());
        match figure {
            Count(n) => call.reply.integer(n as i64),
            Ratio(x) => call.reply.double(x),
        }
    }
    Ok(())
}

fn doctor(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let process = memory();
    let used = process.anonymous + call.shard.index().bytes_used();
    let limit = call.server.config.memory_limit();
    let verdict = if used > limit {
        "more than memory-limit allows: give the server more memory, or store less"
    } else if used > limit / 10 * 9 {
        "nearly all that memory-limit allows"
    } else {
        "well within memory-limit"
    };
    let text = format!(
        "The server uses {} of its own and for the index, of {} that memory-limit allows: {verdict}. Values stay in the log; {} of its \
         files are in memory as well, which the kernel takes back when it needs to.\n",
        human(used),
        human(limit),
        human(process.file)
    );
    call.reply.verbatim(&text);
    Ok(())
}

fn malloc_stats(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.verbatim("The C library's allocator is in use, which keeps no statistics for programs to read.\n");
    Ok(())
}

fn purge(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.reply.ok();
    Ok(())
}
