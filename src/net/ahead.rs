//! A look ahead in a pipeline: the places in memory where the keys of the next requests lie are asked for before the first of them runs,
//! so that a batch waits for memory about once and not once a request.
//!
//! Only a hint: a request in another form than plain arrays of short headers ends the look, and it is parsed in full later anyway.

use esker_storage::shard::{Expected, Shard};
use smallvec::SmallVec;

use super::connection::Connection;

/// How many requests are looked at together: about as many as the processor has loads under way.
pub(super) const REQUESTS: usize = 16;

impl Connection {
    /// Asks for the memory of the keys of the next requests.
    #[inline]
    pub(super) fn look_ahead(&self, shard: &Shard, input: &[u8]) {
        let mut expected = SmallVec::<[Expected<'_>; REQUESTS]>::new();
        let mut rest = input;
        for _ in 0..REQUESTS {
            let Some((request, after)) = first_key(rest) else { break };
            // Most commands that only read take the key alone.
            expected.extend(request.map(|(key, arguments)| Expected { key: shard.key(key), write: arguments > 2 }));
            rest = after;
        }
        shard.look_ahead(self.session.db, &expected);
    }
}

/// The key of a request with the number of arguments, if it has a second argument, and what follows the request.
pub(super) type Looked<'a> = (Option<(&'a [u8], usize)>, &'a [u8]);

/// The second argument of the request at the start of `input` (nearly every command's first key) with the number of arguments, and what
/// follows the request. None: the request is cut, or in a form that is not looked at.
#[inline]
pub(super) fn first_key(input: &[u8]) -> Option<Looked<'_>> {
    const ARGUMENTS: usize = 8;
    let (count, mut rest) = header(input, b'*')?;
    if count > ARGUMENTS {
        return None;
    }
    let mut key = None;
    for i in 0..count {
        let (len, body) = header(rest, b'$')?;
        let (argument, after) = body.split_at_checked(len)?;
        if i == 1 {
            key = Some((argument, count));
        }
        rest = after.get(2..)?;
    }
    Some((key, rest))
}

/// The number of up to three digits in the line at the start of `input`, and what follows the line.
#[inline]
fn header(input: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
    let (number, rest) = match input {
        [first, a, b'\r', b'\n', rest @ ..] if *first == kind => (digit(*a), rest),
        [first, a, b, b'\r', b'\n', rest @ ..] if *first == kind => (digit(*a) * 10 + digit(*b), rest),
        [first, a, b, c, b'\r', b'\n', rest @ ..] if *first == kind => (digit(*a) * 100 + digit(*b) * 10 + digit(*c), rest),
        _ => return None,
    };
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::first_key;

    #[test]
    fn the_second_argument_is_found_and_the_request_passed() {
        let two = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n*1\r\n$4\r\nPING\r\n";
        assert_eq!(first_key(two), Some((Some((&b"key"[..], 2)), &b"*1\r\n$4\r\nPING\r\n"[..])));
        assert_eq!(first_key(b"*1\r\n$4\r\nPING\r\n"), Some((None, &b""[..])));
        let long = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$120\r\n", &[b'x'; 120][..], b"\r\n+"].concat();
        assert_eq!(first_key(&long), Some((Some((&b"k"[..], 3)), &b"+"[..])));
    }

    #[test]
    fn what_is_cut_or_unusual_ends_the_look() {
        let whole = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
        for cut in 0..whole.len() {
            assert_eq!(first_key(&whole[..cut]), None, "{cut}");
        }
        for unusual in [
            &b"GET key\r\n"[..],
            b"*x\r\n",
            b"*-1\r\n",
            b"*9\r\n",
            b"*2\r\n:3\r\n",
            b"*2\r\n$-1\r\n\r\n",
            b"*2\r\n$9999\r\n",
            b"*2\r\n$99\r\nx",
        ] {
            assert_eq!(first_key(unusual), None, "{unusual:?}");
        }
    }
}
