//! `esker-ctl verify`: do copies hold the same?
//!
//! Invariants: digests are compared only if both are of one LSN and of one word of the log about what has expired.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::error::{ClientError, CtlError};
use super::{Outcome, Verify};
use crate::client::{Client, Value};

/// Differing slots that are named.
const NAMED: usize = 100;
/// Milliseconds for which writes are held back at most.
const HOLD_MILLIS: &str = "10000";

/// What ESKER.DIGEST answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Digests {
    token: String,
    expired_up_to: i64,
    exact: bool,
    slots: BTreeMap<i64, String>,
}

pub(super) fn run(args: &Verify, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let mut outcome = Outcome::Right;
    for replica in &args.replica {
        let patience = Duration::from_secs(args.timeout + 10);
        let connect = |address: &str| Client::connect(address, args.user.as_deref(), args.password.as_deref(), patience);
        let (mut primary, mut replica) = (connect(&args.primary)?, connect(replica)?);
        let (one, other) = meet(args, &mut primary, &mut replica)?;
        if tell(&one, &other, replica.address(), out)? == Outcome::Wrong {
            outcome = Outcome::Wrong;
        }
    }
    Ok(outcome)
}

/// Digests of both at one LSN.
fn meet(args: &Verify, primary: &mut Client, replica: &mut Client) -> Result<(Digests, Digests), CtlError> {
    for _ in 0..args.attempts {
        if args.hold_writes {
            primary.ask(&["CLIENT", "PAUSE", HOLD_MILLIS, "WRITE"])?;
        }
        let found = attempt(args, primary, replica);
        if args.hold_writes {
            primary.ask(&["CLIENT", "UNPAUSE"])?;
        }
        let (one, other) = found?;
        let comparable = one.exact && other.exact;
        if comparable && one.token == other.token && one.expired_up_to == other.expired_up_to {
            return Ok((one, other));
        }
    }
    Err(CtlError::NeverMet { address: replica.address().to_owned(), attempts: args.attempts })
}

fn attempt(args: &Verify, primary: &mut Client, replica: &mut Client) -> Result<(Digests, Digests), CtlError> {
    let one = digests(args, primary)?;
    let reached = replica.ask(&["WAITLSN", &one.token, &(args.timeout * 1000).max(1).to_string()])?;
    if reached != Value::Integer(1) {
        let reply = format!("it did not come to {} in {} s", one.token, args.timeout);
        return Err(ClientError::Refused { address: replica.address().to_owned(), reply }.into());
    }
    Ok((one, digests(args, replica)?))
}

fn digests(args: &Verify, client: &mut Client) -> Result<Digests, CtlError> {
    let (first, last) = (args.first_slot.to_string(), args.last_slot.to_string());
    let db = args.db.map(|db| db.to_string());
    let mut words = vec!["ESKER.DIGEST", "SLOTS", &first, &last];
    if let Some(db) = &db {
        words.extend(["DB", db]);
    }
    let answer = client.ask(&words)?;
    parse(&answer).ok_or_else(|| client.unexpected(&answer).into())
}

fn parse(answer: &Value) -> Option<Digests> {
    let Value::Array(parts) = answer else { return None };
    let [token @ Value::Text(_), Value::Integer(expired_up_to), Value::Integer(exact), Value::Array(slots)] = &parts[..] else {
        return None;
    };
    let pair = |pair: &[Value]| match pair {
        [Value::Integer(slot), digest] => Some((*slot, digest.text()?)),
        _ => None,
    };
    let slots = slots.chunks(2).map(pair).collect::<Option<_>>()?;
    Some(Digests { token: token.text()?, expired_up_to: *expired_up_to, exact: *exact == 1, slots })
}

/// Slots of which both do not say the same; a slot without keys is in neither.
fn differing(one: &Digests, other: &Digests) -> Vec<i64> {
    let all: std::collections::BTreeSet<i64> = one.slots.keys().chain(other.slots.keys()).copied().collect();
    all.into_iter().filter(|slot| one.slots.get(slot) != other.slots.get(slot)).collect()
}

fn tell(one: &Digests, other: &Digests, replica: &str, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let wrong = differing(one, other);
    if wrong.is_empty() {
        writeln!(out, "{replica}: equal at {}, {} slots with keys", one.token, one.slots.len())?;
        return Ok(Outcome::Right);
    }
    let named: Vec<String> = wrong.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if wrong.len() > NAMED { " …" } else { "" };
    writeln!(out, "{replica}: {} slots differ at {}: {}{more}", wrong.len(), one.token, named.join(" "))?;
    Ok(Outcome::Wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn answer(slots: &[(i64, &str)]) -> Value {
        let slots = slots.iter().flat_map(|(slot, digest)| [Value::Integer(*slot), Value::Text(digest.as_bytes().to_vec())]).collect();
        Value::Array(vec![Value::Text(b"0:1:9".to_vec()), Value::Integer(5), Value::Integer(1), Value::Array(slots)])
    }

    #[test]
    fn slots_that_differ_or_are_missing_on_either_side_are_named() {
        let one = parse(&answer(&[(1, "a"), (2, "b"), (9, "c")])).unwrap();
        let other = parse(&answer(&[(2, "x"), (9, "c"), (12, "d")])).unwrap();
        let mut out = Vec::new();
        assert_eq!(tell(&one, &other, "h:1", &mut out).unwrap(), Outcome::Wrong);
        assert_eq!(String::from_utf8(out).unwrap(), "h:1: 3 slots differ at 0:1:9: 1 2 12\n");
        let mut out = Vec::new();
        assert_eq!(tell(&one, &one, "h:1", &mut out).unwrap(), Outcome::Right);
        assert_eq!(String::from_utf8(out).unwrap(), "h:1: equal at 0:1:9, 3 slots with keys\n");
    }

    #[test]
    fn what_is_no_digest_is_not_taken_for_one() {
        assert_eq!(parse(&Value::Null), None);
        assert_eq!(parse(&Value::Array(vec![Value::Integer(1)])), None);
    }
}
