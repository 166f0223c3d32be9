//! Requests, parsed where they lie in the read buffer: arrays of bulk strings, and inline commands.
//!
//! Invariants:
//! - Nothing is copied and nothing is allocated for a request whose spans fit the parser's reused list (inline commands, which need
//!   unquoting, go to a reused buffer).
//! - No byte is looked at twice for a line end or a finished argument, however the input was cut into reads.
//! - Between two calls for the same request the input keeps its start and only grows.

use memchr::memchr;

use super::inline::split_arguments;

/// The longest line: of a header and of an inline command.
const MAX_LINE: usize = 64 * 1024;
/// The most arguments before AUTH.
const UNAUTHENTICATED_ARGUMENTS: i64 = 10;
/// The longest argument before AUTH.
const UNAUTHENTICATED_BULK: i64 = 16 * 1024;

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `proto-max-bulk-len`.
    pub max_bulk: i64,
    /// False while a password is still to be given.
    pub authenticated: bool,
}

/// What a call of [`RequestParser::parse`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request of this many bytes; it may have no arguments (an empty line, `*0`), and is skipped then.
    Request(usize),
    /// More input is needed: at least this many bytes from the request's start.
    Incomplete(usize),
}

/// An argument that is still arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingArgument {
    /// Its number; 0 is the name.
    pub number: usize,
    /// Where its bytes begin in the request.
    pub start: usize,
    /// How many they are, without the line end.
    pub len: usize,
}

/// A request that cannot be understood; the connection is closed after this reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The number after `*`.
    #[error("ERR Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// Too many arguments before AUTH.
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulk,
    /// The number after `$`.
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    /// Too long an argument before AUTH.
    #[error("ERR Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulk,
    /// An argument that is no bulk string.
    #[error("ERR Protocol error: expected '$', got '{}'", char::from(*.0))]
    Expected(u8),
    /// The line after `*` does not end.
    #[error("ERR Protocol error: too big mbulk count string")]
    MultibulkLine,
    /// The line after `$` does not end.
    #[error("ERR Protocol error: too big bulk count string")]
    BulkLine,
    /// An inline command that does not end.
    #[error("ERR Protocol error: too big inline request")]
    InlineLine,
    /// An inline command's quotes.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    Quotes,
}

/// A place in the input, or in the unquoted copy of an inline command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The parser of one connection.
#[derive(Debug, Default)]
pub struct RequestParser {
    spans: Vec<Span>,
    unquoted: Vec<u8>,
    is_inline: bool,
    /// Everything before it is parsed.
    position: usize,
    /// Everything before it was searched for a line end.
    searched: usize,
    /// Arguments still to come; 0 before the header was read.
    missing: u32,
    /// The length of the argument at `position`, once its header was read.
    bulk: Option<usize>,
    /// The last argument was skipped: the request is whole, and has not been given out.
    is_skipped_to_end: bool,
}

impl RequestParser {
    /// Parses the request at the start of `input`. After [`Parsed::Incomplete`], call it again with the same bytes and more after them;
    /// after [`Parsed::Request`], with the input that follows.
    ///
    /// # Errors
    /// The input is no request; the connection must be closed.
    #[inline]
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        if self.missing == 0 {
            if std::mem::take(&mut self.is_skipped_to_end) {
                return Ok(self.finished());
            }
            self.spans.clear();
            self.position = 0;
            self.is_inline = false;
            match input.first() {
                None => return Ok(Parsed::Incomplete(1)),
                Some(b'*') => {}
                Some(_) => return self.inline(input),
            }
            if let Some((count @ 1..=10, after)) = short_number(input, 0) {
                self.missing = count as u32;
                self.position = after;
            } else if let Some(parsed) = self.array_header(input, limits)? {
                return Ok(parsed);
            }
        }
        self.arguments(input, limits)
    }

    /// The header line `*n`; a result if the request is over or cut.
    fn array_header(&mut self, input: &[u8], limits: &Limits) -> Result<Option<Parsed>, ProtocolError> {
        let Some(end) = self.line_end(input, ProtocolError::MultibulkLine)? else {
            return Ok(Some(Parsed::Incomplete(input.len() + 1)));
        };
        let count = decimal(&input[1..end]).filter(|n| *n <= i64::from(i32::MAX)).ok_or(ProtocolError::MultibulkLength)?;
        if count > UNAUTHENTICATED_ARGUMENTS && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulk);
        }
        self.position = end + 2;
        if count <= 0 {
            return Ok(Some(self.finished()));
        }
        self.missing = count as u32;
        Ok(None)
    }

    #[inline]
    fn arguments(&mut self, input: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        while self.missing > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => match self.bulk_header(input, limits)? {
                    Some(len) => len,
                    None => return Ok(Parsed::Incomplete(input.len() + 1)),
                },
            };
            let start = self.position;
            if input.len() - start < len + 2 {
                self.bulk = Some(len);
                return Ok(Parsed::Incomplete(start + len + 2));
            }
            self.spans.push(Span { start, end: start + len });
            self.position = start + len + 2;
            self.bulk = None;
            self.missing -= 1;
        }
        Ok(self.finished())
    }

    /// The header line `$n` at `position`; None if it has not arrived.
    #[inline]
    fn bulk_header(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        if input.get(self.position) == Some(&b'$')
            && let Some((len, after)) = short_number(input, self.position)
            && len as i64 <= limits.max_bulk
        {
            self.position = after;
            return Ok(Some(len));
        }
        self.long_bulk_header(input, limits)
    }

    #[cold]
    fn long_bulk_header(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let Some(end) = self.line_end(input, ProtocolError::BulkLine)? else { return Ok(None) };
        if input[self.position] != b'$' {
            return Err(ProtocolError::Expected(input[self.position]));
        }
        let len = decimal(&input[self.position + 1..end]).filter(|n| (0..=limits.max_bulk).contains(n)).ok_or(ProtocolError::BulkLength)?;
        if len > UNAUTHENTICATED_BULK && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulk);
        }
        self.position = end + 2;
        usize::try_from(len).map(Some).map_err(|_| ProtocolError::BulkLength)
    }

    /// Where the line at `position` ends, if the byte after its `\r` has arrived too.
    fn line_end(&mut self, input: &[u8], too_long: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        let from = self.searched.max(self.position);
        match memchr(b'\r', &input[from..]) {
            Some(at) if from + at + 1 < input.len() => Ok(Some(from + at)),
            Some(at) => {
                self.searched = from + at;
                Ok(None)
            }
            None if input.len() - self.position > MAX_LINE => Err(too_long),
            None => {
                self.searched = input.len();
                Ok(None)
            }
        }
    }

    #[cold]
    fn inline(&mut self, input: &[u8]) -> Result<Parsed, ProtocolError> {
        let Some(at) = memchr(b'\n', &input[self.searched..]) else {
            if input.len() > MAX_LINE {
                return Err(ProtocolError::InlineLine);
            }
            self.searched = input.len();
            return Ok(Parsed::Incomplete(input.len() + 1));
        };
        let end = self.searched + at;
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        self.is_inline = true;
        self.unquoted.clear();
        split_arguments(line, &mut self.unquoted, &mut self.spans).ok_or(ProtocolError::Quotes)?;
        self.position = end + 1;
        Ok(self.finished())
    }

    #[inline]
    fn finished(&mut self) -> Parsed {
        self.searched = 0;
        Parsed::Request(self.position)
    }

    /// The argument of a cut request whose header has arrived and whose bytes have not.
    #[must_use]
    pub fn pending_argument(&self) -> Option<PendingArgument> {
        self.bulk.map(|len| PendingArgument { number: self.spans.len(), start: self.position, len })
    }

    /// Goes on behind the pending argument, which was taken out of the input with its line end: it counts as empty.
    pub fn skip_pending(&mut self) {
        if self.bulk.take().is_some() {
            self.spans.push(Span { start: self.position, end: self.position });
            self.searched = self.position;
            self.missing -= 1;
            self.is_skipped_to_end = self.missing == 0;
        }
    }

    /// A finished argument of a request that is not yet whole.
    #[must_use]
    pub fn argument<'a>(&self, input: &'a [u8], number: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(number).filter(|_| !self.is_inline)?;
        input.get(span.start..span.end)
    }

    /// Adds the arguments of the request that was just parsed to `list`.
    #[inline]
    pub fn arguments_of<'a>(&'a self, input: &'a [u8], list: &mut Vec<&'a [u8]>) {
        let source = if self.is_inline { &self.unquoted } else { input };
        list.extend(self.spans.iter().map(|span| &source[span.start..span.end]));
    }

    /// Gives memory back that a large request took.
    pub fn shrink(&mut self) {
        self.spans.shrink_to(16);
        self.unquoted.shrink_to(256);
    }

    /// Bytes of memory that it holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.unquoted.capacity()
    }
}

/// The number of a header line of up to three digits, whose kind stands at `at`, and where the next line starts. None: take the long way.
#[inline]
fn short_number(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
    match *input.get(at + 1..)? {
        [a, b'\r', _, ..] if a.is_ascii_digit() => Some((digit(a), at + 4)),
        [a @ b'1'..=b'9', b, b'\r', _, ..] if b.is_ascii_digit() => Some((digit(a) * 10 + digit(b), at + 5)),
        [a @ b'1'..=b'9', b, c, b'\r', _, ..] if b.is_ascii_digit() && c.is_ascii_digit() => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), at + 6))
        }
        _ => None,
    }
}

/// A decimal as Redis's headers take it: an optional `-`, no leading zeros, within 64 bits.
fn decimal(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
