//! SCAN: the keys of a database, a few at a time.

use esker_storage::glob;

use super::keys::type_name;
use super::{Call, CommandError, Flags, Group, Keys, Spec};
use crate::protocol::Reply;

/// The family's rows.
pub const SPECS: &[Spec] = &[Spec {
    name: "scan",
    arity: -2,
    flags: Flags::READONLY,
    keys: Keys::All,
    group: Group::Generic,
    since: "2.8.0",
    complexity: "O(1) a call, O(N) for a whole walk over N keys",
    summary: "Returns some keys and the cursor to go on with; every key that is present throughout a walk is returned.",
    handler: scan,
}];

const DEFAULT_COUNT: usize = 10;

struct Options<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
    type_name: Option<&'a [u8]>,
}

fn scan(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let cursor = parse_cursor(call.arg(1)).ok_or(CommandError::Text("ERR invalid cursor"))?;
    let options = parse_options(call)?;

    // The number of keys stands before them and is known after them.
    let mut bulks = Reply::new(call.reply.version());
    let mut found = 0;
    let next = call.txn.scan(call.session.db, cursor, options.count, &mut |key, metadata| {
        let is_type = |name: &[u8]| name.eq_ignore_ascii_case(type_name(metadata.value_type).as_bytes());
        if options.pattern.is_none_or(|pattern| glob::matches(pattern, key, false)) && options.type_name.is_none_or(is_type) {
            bulks.bulk(key);
            found += 1;
        }
    })?;
    call.reply.array(2);
    call.reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    call.reply.array(found);
    call.reply.buffer_mut().extend_from_slice(bulks.bytes());
    Ok(())
}

fn parse_options<'a>(call: &Call<'a, '_>) -> Result<Options<'a>, CommandError> {
    let mut options = Options { count: DEFAULT_COUNT, pattern: None, type_name: None };
    for i in (2..call.args.len()).step_by(2) {
        let option = call.arg(i);
        if i + 1 == call.args.len() {
            return Err(CommandError::Syntax);
        }
        let value = call.arg(i + 1);
        if option.eq_ignore_ascii_case(b"count") {
            let count = call.integer(i + 1)?;
            options.count = usize::try_from(count).ok().filter(|&n| n > 0).ok_or(CommandError::Syntax)?;
        } else if option.eq_ignore_ascii_case(b"match") {
            options.pattern = (value != b"*").then_some(value);
        } else if option.eq_ignore_ascii_case(b"type") {
            options.type_name = Some(value);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

/// An unsigned number as C's strtoul takes it, which is Redis's rule for cursors: an optional sign, digits up to the end or a NUL; a
/// negative one counts from the top. No digits at all are 0.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = text.split(|&b| b == 0).next().unwrap_or_default();
    let (digits, negative) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] => (digits, false),
        digits => (digits, false),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut value: u64 = 0;
    for digit in digits {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::parse_cursor;

    #[test]
    fn cursors_are_taken_as_strtoul_takes_them() {
        assert_eq!(parse_cursor(b""), Some(0));
        assert_eq!(parse_cursor(b"0"), Some(0));
        assert_eq!(parse_cursor(b"+7"), Some(7));
        assert_eq!(parse_cursor(b"-1"), Some(u64::MAX));
        assert_eq!(parse_cursor(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_cursor(b"18446744073709551616"), None);
        assert_eq!(parse_cursor(b"5\0x"), Some(5));
        for bad in [&b" 1"[..], b"1 ", b"-", b"x", b"1x"] {
            assert_eq!(parse_cursor(bad), None, "{bad:?}");
        }
    }
}
