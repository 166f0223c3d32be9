//! ESKER.DIGEST: digests of slots, by which copies are compared. Expired keys are swept first, by a thread that may wait for the medium:
//! the command only reads its arguments, and the connection replies when the digests are there.

use esker_storage::shard::SlotDigests;
use esker_storage::types::{DATABASES, Db, SLOTS};

use super::{Call, CommandError, Effect, Flags, Group, Keys, Spec, parse_integer};
use crate::protocol::Reply;
use crate::replication::token::Token;

/// The family's rows.
pub const SPECS: &[Spec] = &[Spec {
    name: "esker.digest",
    arity: -1,
    flags: Flags::ADMIN.and(Flags::NO_MULTI),
    keys: Keys::None,
    group: Group::Server,
    since: "0.1.0",
    complexity: "O(N), N slots, and a sweep over keys with an expiry",
    summary: "Returns digests of the slots that have keys, all at one LSN: of all databases together or of one.",
    handler: digest,
}];

/// Which digests are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestOf {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// The database; none: all together.
    pub db: Option<Db>,
}

fn digest(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let mut wanted = DigestOf { first: 0, last: SLOTS - 1, db: None };
    let mut args = &call.args[1..];
    while let Some((word, rest)) = args.split_first() {
        args = match rest {
            [first, last, rest @ ..] if word.eq_ignore_ascii_case(b"slots") => {
                (wanted.first, wanted.last) = (slot(first)?, slot(last)?);
                rest
            }
            [db, rest @ ..] if word.eq_ignore_ascii_case(b"db") => {
                let db = parse_integer(db).and_then(|db| u8::try_from(db).ok()).filter(|db| *db < DATABASES);
                wanted.db = Some(Db(db.ok_or(CommandError::Text("ERR DB index is out of range"))?));
                rest
            }
            _ => return Err(CommandError::Syntax),
        };
    }
    if wanted.first > wanted.last {
        return Err(CommandError::Text("ERR the first slot is behind the last"));
    }
    call.effects.push(Effect::Digest(wanted));
    Ok(())
}

fn slot(text: &[u8]) -> Result<u16, CommandError> {
    let slot = parse_integer(text).and_then(|slot| u16::try_from(slot).ok()).filter(|slot| *slot < SLOTS);
    slot.ok_or(CommandError::Text("ERR Invalid or out of range slot"))
}

/// Writes the reply: token, what is expired by the log's word in Unix ms, whether all of that is out, slots and digests.
pub fn reply(token: Token, found: &SlotDigests, reply: &mut Reply) {
    reply.array(4);
    reply.bulk(token.to_string().as_bytes());
    reply.integer(found.expired_up_to.0);
    reply.integer(i64::from(found.exact));
    reply.array(2 * found.slots.len());
    for (slot, digest) in &found.slots {
        reply.integer(slot.0.into());
        reply.bulk(format!("{digest:032x}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::Client;

    #[test]
    fn slots_and_a_database_can_be_chosen() {
        let mut client = Client::new();
        client.run("ESKER.DIGEST");
        assert_eq!(client.effects, [Effect::Digest(DigestOf { first: 0, last: 16383, db: None })]);
        client.run("ESKER.DIGEST db 3 slots 5 9");
        assert_eq!(client.effects, [Effect::Digest(DigestOf { first: 5, last: 9, db: Some(Db(3)) })]);
        for (request, error) in [
            ("ESKER.DIGEST SLOTS 1", "-ERR syntax error|"),
            ("ESKER.DIGEST SLOTS 1 16384", "-ERR Invalid or out of range slot|"),
            ("ESKER.DIGEST SLOTS 3 2", "-ERR the first slot is behind the last|"),
            ("ESKER.DIGEST DB 16", "-ERR DB index is out of range|"),
        ] {
            assert_eq!(client.run(request), error);
        }
    }
}
