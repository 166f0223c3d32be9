//! Replies as they come from the wire.

/// A reply, of which only what the load needs is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    /// `+…`
    Simple(&'a [u8]),
    /// `-…`
    Error(&'a [u8]),
    /// `:…`
    Integer(i64),
    /// `$…`
    Bulk(&'a [u8]),
    /// A null of either version of the protocol.
    Null,
    /// Anything else that is well-formed.
    Other,
}

/// Bytes that are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The reply at the front of `bytes` and its length; none if it has not arrived whole.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let Some(kind) = bytes.first() else { return Ok(None) };
    if !b"+-:$*%~>_#,(=!|".contains(kind) {
        return Err(Malformed);
    }
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = bytes.get(1..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed)?;
    let after = end + 1;
    Ok(Some(match kind {
        b'+' => (Reply::Simple(line), after),
        b'-' => (Reply::Error(line), after),
        b':' => (Reply::Integer(number(line)?), after),
        b'_' => (Reply::Null, after),
        b'$' | b'=' | b'!' => return bulk(*kind, bytes, number(line)?, after),
        b'*' | b'~' | b'>' => return aggregate(bytes, number(line)?, after),
        b'%' | b'|' => return aggregate(bytes, number(line)?.saturating_mul(2), after),
        _ => (Reply::Other, after),
    }))
}

fn number(line: &[u8]) -> Result<i64, Malformed> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
}

fn bulk(kind: u8, bytes: &[u8], len: i64, after: usize) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let Ok(len) = usize::try_from(len) else { return Ok(Some((Reply::Null, after))) };
    let end = after.checked_add(len).and_then(|end| end.checked_add(2)).ok_or(Malformed)?;
    if bytes.len() < end {
        return Ok(None);
    }
    if &bytes[end - 2..end] != b"\r\n" {
        return Err(Malformed);
    }
    let body = &bytes[after..end - 2];
    Ok(Some((if kind == b'!' { Reply::Error(body) } else { Reply::Bulk(body) }, end)))
}

fn aggregate(bytes: &[u8], parts: i64, mut at: usize) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    if parts < 0 {
        return Ok(Some((Reply::Null, at)));
    }
    for _ in 0..parts {
        let Some((_, len)) = parse(&bytes[at..])? else { return Ok(None) };
        at += len;
    }
    Ok(Some((Reply::Other, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        let cases: [(&[u8], Reply<'_>); 9] = [
            (b"+OK\r\n", Reply::Simple(b"OK")),
            (b"-ERR no\r\n", Reply::Error(b"ERR no")),
            (b":-7\r\n", Reply::Integer(-7)),
            (b"$5\r\na\r\nbc\r\n", Reply::Bulk(b"a\r\nbc")),
            (b"$0\r\n\r\n", Reply::Bulk(b"")),
            (b"$-1\r\n", Reply::Null),
            (b"_\r\n", Reply::Null),
            (b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", Reply::Other),
            (b"%1\r\n+a\r\n:1\r\n", Reply::Other),
        ];
        for (bytes, reply) in cases {
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{}", bytes[..cut].escape_ascii());
            }
            let followed = [bytes, b"+next"].concat();
            assert_eq!(parse(&followed), Ok(Some((reply, bytes.len()))), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_reply_is_told() {
        for bytes in [&b"HTTP/1.1 400\r\n"[..], b"$x\r\n", b"$1\r\nabc\r\n", b":\r\n", b"+OK\n"] {
            assert_eq!(parse(bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
    }
}
