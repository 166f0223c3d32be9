//! CONFIG.

use crate::config::ChangeError;

use super::{Call, CommandError, Flags, Group, Keys, Spec};

const ROW: Spec = Spec {
    name: "config|get",
    arity: -3,
    flags: Flags::ADMIN.and(Flags::LOADING),
    keys: Keys::None,
    group: Group::Server,
    since: "2.0.0",
    complexity: "O(N), N directives",
    summary: "Returns the directives whose names match the patterns, with their values.",
    handler: get,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "config|set", arity: -4, summary: "Sets directives: all of them, or none if one is refused.", handler: set, ..ROW },
    Spec {
        name: "config|resetstat",
        arity: 2,
        complexity: "O(1)",
        summary: "Sets the counters that INFO shows to zero.",
        handler: resetstat,
        ..ROW
    },
    Spec {
        name: "config|rewrite",
        arity: 2,
        since: "2.8.0",
        complexity: "O(1)",
        summary: "Writes the values in force into the configuration file.",
        handler: rewrite,
        ..ROW
    },
];

fn get(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let found = call.server.config.matching(&call.args[2..]);
    call.reply.map(found.len());
    for (name, value) in found {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn set(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let words = &call.args[2..];
    if !words.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let text = |word: &&[u8]| String::from_utf8(word.to_vec()).map_err(|_| CommandError::Text("ERR the value is not valid UTF-8"));
    let words = words.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let pairs: Vec<(&str, &str)> = words.chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    if let Some((name, reason)) = call.server.refuses(&pairs) {
        let refused = ChangeError::Refused { name: name.to_owned(), reason };
        return Err(CommandError::Owned(refused.to_string()));
    }
    call.server.config.set(&pairs).map_err(|error| CommandError::Owned(error.to_string()))?;
    call.server.config_changed();
    call.reply.ok();
    Ok(())
}

fn resetstat(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.server.counters.reset();
    call.server.stats.reset();
    call.shard.reset_expiry_figures();
    call.shard.reset_eviction_figures();
    call.reply.ok();
    Ok(())
}

fn rewrite(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    call.server.config.rewrite().map_err(|error| CommandError::Owned(error.to_string()))?;
    call.reply.ok();
    Ok(())
}
