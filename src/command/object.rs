//! OBJECT: what clients ask about the form in which Redis would hold a value.

use esker_storage::evict::EvictionOrder;
use esker_storage::shard::Metadata;

use super::{Call, CommandError, Flags, Group, Keys, Spec, parse_integer};

const SECOND: Keys = Keys::Range { first: 2, last: 2, step: 1 };

/// The family's rows.
pub const SPECS: &[Spec] = &[
    Spec {
        name: "object|encoding",
        arity: 3,
        flags: Flags::READONLY,
        keys: SECOND,
        group: Group::Generic,
        since: "2.2.3",
        complexity: "O(1)",
        summary: "Names the encoding that Redis would choose for the value.",
        handler: encoding,
    },
    Spec {
        name: "object|refcount",
        arity: 3,
        flags: Flags::READONLY,
        keys: SECOND,
        group: Group::Generic,
        since: "2.2.3",
        complexity: "O(1)",
        summary: "Returns the reference count that Redis would show: small integers are shared.",
        handler: refcount,
    },
    Spec {
        name: "object|idletime",
        arity: 3,
        flags: Flags::READONLY,
        keys: SECOND,
        group: Group::Generic,
        since: "2.2.3",
        complexity: "O(1)",
        summary: "Returns the seconds since the last access; accesses are not tracked, so it is 0.",
        handler: idletime,
    },
    Spec {
        name: "object|freq",
        arity: 3,
        flags: Flags::READONLY,
        keys: SECOND,
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Returns how often the key was used, 0 to 3, under an LFU policy; else an error.",
        handler: freq,
    },
    Spec {
        name: "object|help",
        arity: 2,
        flags: Flags::LOADING,
        keys: Keys::None,
        group: Group::Generic,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Lists the subcommands of OBJECT.",
        handler: help,
    },
];

/// The longest text of a 64-bit integer.
const MAX_INTEGER_LEN: u64 = 20;
/// The longest string that Redis keeps beside its object header.
const MAX_EMBEDDED_LEN: u64 = 44;
/// Redis keeps one shared object for each integer below this.
const SHARED_INTEGERS: i64 = 10_000;

fn metadata(call: &Call<'_, '_>) -> Result<Option<Metadata>, CommandError> {
    Ok(call.txn.metadata(call.session.db, &call.key(2))?)
}

/// The value as an integer, when Redis would hold it as one.
fn as_integer(call: &Call<'_, '_>, metadata: &Metadata) -> Result<Option<i64>, CommandError> {
    if metadata.len > MAX_INTEGER_LEN {
        return Ok(None);
    }
    Ok(call.txn.get(call.session.db, &call.key(2))?.and_then(|object| parse_integer(&object.data)))
}

fn encoding(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    match metadata(call)? {
        None => call.reply.null(),
        Some(found) if as_integer(call, &found)?.is_some() => call.reply.bulk(b"int"),
        Some(found) if found.len <= MAX_EMBEDDED_LEN => call.reply.bulk(b"embstr"),
        Some(_) => call.reply.bulk(b"raw"),
    }
    Ok(())
}

fn refcount(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    match metadata(call)? {
        None => call.reply.null(),
        Some(found) => {
            let shared = as_integer(call, &found)?.is_some_and(|n| (0..SHARED_INTEGERS).contains(&n));
            call.reply.integer(if shared { i64::from(i32::MAX) } else { 1 });
        }
    }
    Ok(())
}

fn idletime(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    match metadata(call)? {
        None => call.reply.null(),
        Some(_) => call.reply.integer(0),
    }
    Ok(())
}

fn freq(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let found = call.txn.uses(call.session.db, &call.key(2))?;
    let counts = call.shard.eviction().is_some_and(|policy| policy.order == EvictionOrder::Lfu);
    match found {
        Some(_) if !counts => {
            return Err(CommandError::Text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between \
                 policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Some(uses) => call.reply.integer(uses.into()),
        None => call.reply.null(),
    }
    Ok(())
}

fn help(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    const LINES: &[&str] = &[
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the encoding that Redis would choose for the value of <key>.",
        "FREQ <key>",
        "    Return how often <key> was used, 0 to 3, under an LFU policy.",
        "IDLETIME <key>",
        "    Return the seconds since the last access to <key>.",
        "REFCOUNT <key>",
        "    Return the number of references to the value of <key>.",
        "HELP",
        "    Print this help.",
    ];
    call.reply.array(LINES.len());
    for line in LINES {
        call.reply.simple(line);
    }
    Ok(())
}
