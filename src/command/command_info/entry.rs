//! What COMMAND INFO says of one command: ten elements.

use super::Command;
use super::facts::{self, KeyUse};
use crate::command::Keys;
use crate::protocol::Reply;

/// Where keys are, as a specification tells it: the first, and how to go on from there.
struct Place {
    index: i32,
    /// Relative to the first; negative: from the end.
    last: i32,
    step: i32,
}

pub(super) fn write(command: Command, reply: &mut Reply) {
    let row = command.row;
    let (first, last, step) = match (command.name, row.map(|row| row.keys)) {
        // Shard channels are told of like keys; no stripe is locked for them.
        ("ssubscribe" | "sunsubscribe", _) => (1, -1, 1),
        ("spublish", _) => (1, 1, 1),
        (_, Some(Keys::Range { first, last, step })) => (first, last, step),
        _ => (0, 0, 0),
    };
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    // A container wants the subcommand.
    reply.integer(row.map_or(-2, |row| i64::from(row.arity)));
    names(&facts::flags(command), "", reply);
    for number in [first, last, step] {
        reply.integer(i64::from(number));
    }
    names(&facts::categories(command), "@", reply);
    let tips = facts::tips(command);
    reply.set(tips.len());
    for tip in tips {
        reply.bulk(tip.as_bytes());
    }
    let places = places(first, last, step, facts::key_uses(command));
    reply.set(places.len());
    for (place, key_use) in &places {
        specification(place, key_use, reply);
    }
    let subcommands: Vec<Command> = command.subcommands().collect();
    // In RESP3 an empty list of subcommands is an empty set, as in Redis.
    if subcommands.is_empty() {
        reply.set(0)
    } else {
        reply.array(subcommands.len())
    }
    for subcommand in subcommands {
        write(subcommand, reply);
    }
}

pub(super) fn names(names: &[&str], before: &str, reply: &mut Reply) {
    reply.set(names.len());
    for name in names {
        reply.simple(&format!("{before}{name}"));
    }
}

/// A place for each use: all keys, or the first one and the rest.
fn places(first: i32, last: i32, step: i32, uses: Vec<KeyUse>) -> Vec<(Place, KeyUse)> {
    if first == 0 {
        return Vec::new();
    }
    let relative = |from: i32| if last < 0 { last } else { last - from };
    match uses.as_slice() {
        [one] => vec![(Place { index: first, last: relative(first), step }, *one)],
        [one, rest] => {
            let next = first + step;
            vec![(Place { index: first, last: 0, step }, *one), (Place { index: next, last: relative(next), step }, *rest)]
        }
        _ => Vec::new(),
    }
}

fn specification(place: &Place, key_use: &KeyUse, reply: &mut Reply) {
    reply.map(3 + usize::from(key_use.note.is_some()));
    if let Some(note) = key_use.note {
        reply.bulk(b"notes");
        reply.bulk(note.as_bytes());
    }
    reply.bulk(b"flags");
    names(key_use.flags, "", reply);
    reply.bulk(b"begin_search");
    step_of("index", &[("index", place.index)], reply);
    reply.bulk(b"find_keys");
    step_of("range", &[("lastkey", place.last), ("keystep", place.step), ("limit", 0)], reply);
}

fn step_of(kind: &str, numbers: &[(&str, i32)], reply: &mut Reply) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(i64::from(*number));
    }
}
