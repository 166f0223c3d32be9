//! ESKER.HISTORY, ESKER.GETAT and ESKER.CHANGED: what a key held, as the log tells. The log is read by a thread of the storage: the command is run
//! twice, once to ask and once, when the answer is there, to reply.

use esker_storage::history::{Answer, Changed, HistoryError, Moment, Question, Version};
use esker_storage::types::{Lsn, UnixMillis};

use super::{Call, CommandError, Flags, Group, Keys, Spec, parse_integer};

/// Versions shown without COUNT.
const SHOWN: usize = 10;
/// Most versions shown.
const MOST: i64 = 10_000;

const ROW: Spec = Spec {
    name: "esker.getat",
    arity: 3,
    flags: Flags::READONLY.and(Flags::NO_MULTI),
    keys: Keys::Range { first: 1, last: 1, step: 1 },
    group: Group::Generic,
    since: "0.1.0",
    complexity: "O(N), N segments of the log between the moment and the record",
    summary: "Returns the value that a key had after the entry of an LSN, or, with @ before it, at a Unix time in milliseconds.",
    handler: get_at,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec {
        name: "esker.history",
        arity: -2,
        complexity: "O(N), N segments of the log that are read",
        summary: "Lists what the log still holds of a key, newest first: LSN, Unix ms, what was done, length of the value, expiry in Unix ms.",
        handler: history,
        ..ROW
    },
    Spec {
        name: "esker.changed",
        arity: -3,
        keys: Keys::Range { first: 2, last: -1, step: 1 },
        complexity: "O(N), N segments of the log above the LSN",
        summary: "Tells of each key the LSN at which it was last changed, 0 if that is not above the one given.",
        handler: changed,
        ..ROW
    },
];

fn get_at(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let at = moment(call.arg(2)).ok_or(CommandError::Text("ERR an LSN, or @ and a Unix time in milliseconds, is expected"))?;
    call.txn.tells_of_all();
    let known = call.session.answer.take();
    let question = || Question::Value { db: call.session.db, key: call.arg(1).to_vec(), at };
    let Answer::Value(found) = answer(known, question)? else { return Err(mixed_up()) };
    match found {
        Some(past) => call.reply.bulk(&past.value),
        None => call.reply.null(),
    }
    Ok(())
}

fn history(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let count = match call.args {
        [_, _] => SHOWN,
        [_, _, word, count] if word.eq_ignore_ascii_case(b"count") => {
            let count = parse_integer(count).ok_or(CommandError::NotInteger)?;
            if !(1..=MOST).contains(&count) {
                return Err(CommandError::Text("ERR COUNT must be between 1 and 10000"));
            }
            count as usize
        }
        _ => return Err(CommandError::Syntax),
    };
    call.txn.tells_of_all();
    let known = call.session.answer.take();
    let question = || Question::Versions { db: call.session.db, key: call.arg(1).to_vec(), count };
    let Answer::Versions(versions) = answer(known, question)? else { return Err(mixed_up()) };
    call.reply.array(versions.len());
    versions.iter().for_each(|version| show(call, version));
    Ok(())
}

fn changed(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let since = parse_integer(call.arg(1)).filter(|lsn| *lsn >= 0).ok_or(CommandError::NotInteger)?;
    if call.args.len() - 2 > MOST as usize {
        return Err(CommandError::Text("ERR at most 10000 keys can be asked for"));
    }
    call.txn.tells_of_all();
    let known = call.session.answer.take();
    let keys = || call.args[2..].iter().map(|key| key.to_vec()).collect();
    let question = || Question::Changed { db: call.session.db, keys: keys(), since: Lsn(since as u64) };
    let Answer::Changed(changed) = answer(known, question)? else { return Err(mixed_up()) };
    call.reply.array(changed.len());
    for one in changed {
        match one {
            Changed::No => call.reply.integer(0),
            Changed::At(lsn) => call.reply.integer(lsn.0 as i64),
            Changed::Unknown => call.reply.null(),
        }
    }
    Ok(())
}

fn show(call: &mut Call<'_, '_>, version: &Version) {
    let reply = &mut *call.reply;
    reply.array(5);
    reply.integer(version.lsn.0 as i64);
    reply.integer(version.time.0);
    reply.bulk(version.change.name().as_bytes());
    match version.len {
        Some(len) => reply.integer(len as i64),
        None => reply.null(),
    }
    match version.expire_at {
        Some(at) => reply.integer(at.0),
        None => reply.null(),
    }
}

fn moment(word: &[u8]) -> Option<Moment> {
    let number = |digits| parse_integer(digits).filter(|number| *number >= 0);
    match word.strip_prefix(b"@") {
        Some(time) => number(time).map(|time| Moment::Time(UnixMillis(time))),
        None => number(word).map(|lsn| Moment::Lsn(Lsn(lsn as u64))),
    }
}

/// The answer if there is one, else the question as what keeps the command from going on.
fn answer(answer: Option<Result<Answer, HistoryError>>, question: impl FnOnce() -> Question) -> Result<Answer, CommandError> {
    match answer {
        None => Err(CommandError::LookBack(Box::new(question()))),
        Some(Ok(answer)) => Ok(answer),
        Some(Err(HistoryError::Storage(error))) => Err(error.into()),
        Some(Err(error @ HistoryError::Busy)) => Err(CommandError::Owned(format!("BUSY {error}"))),
        Some(Err(error)) => Err(CommandError::Owned(format!("ERR {error}"))),
    }
}

fn mixed_up() -> CommandError {
    CommandError::Text("ERR the answer is to another question")
}
