//! LCS: the longest common subsequence of two strings.

use super::string_range::longest;
use super::{Call, CommandError, Flags, Group, Keys, Spec};
use crate::protocol::Reply;

/// The family's rows.
pub const SPECS: &[Spec] = &[Spec {
    name: "lcs",
    arity: -3,
    flags: Flags::READONLY,
    keys: Keys::Range { first: 1, last: 2, step: 1 },
    group: Group::String,
    since: "7.0.0",
    complexity: "O(N*M) for strings of N and M bytes",
    summary: "Finds the longest common subsequence of two strings.",
    handler: lcs,
}];

/// What LCS was asked for.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    idx: bool,
    len: bool,
    with_match_len: bool,
    min_match_len: u64,
}

/// A run of bytes that stands in both strings, inclusive bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Match {
    a: (usize, usize),
    b: (usize, usize),
}

impl Match {
    fn len(&self) -> u64 {
        (self.a.1 - self.a.0 + 1) as u64
    }
}

/// For each pair of prefixes one bit: whether the longest subsequence is found by shortening the first string (not the second). That is all
/// the way back needs; lengths are kept for one row only.
struct Directions {
    bits: Vec<u64>,
    columns: usize,
    len: u32,
}

fn lcs(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let db = call.session.db;
    let (key_a, key_b) = (call.key(1), call.key(2));
    let found = [call.txn.metadata(db, &key_a)?.is_some(), call.txn.metadata(db, &key_b)?.is_some()];
    call.looked_up(key_a.bytes(), found[0]);
    call.looked_up(key_b.bytes(), found[1]);
    let options = parse(&call.args[3..])?;
    let (a, b) = (call.txn.get(db, &key_a)?, call.txn.get(db, &key_b)?);
    let a = a.as_ref().map_or(&b""[..], |o| &o.data);
    let b = b.as_ref().map_or(&b""[..], |o| &o.data);
    check_size(a, b, longest(call))?;
    if options.len {
        call.reply.integer(i64::from(length(a, b)));
        return Ok(());
    }
    let directions = Directions::compute(a, b);
    if options.idx {
        reply_with_matches(call.reply, &directions, &directions.matches(a, b), options);
    } else {
        call.reply.bulk(&directions.subsequence(a, b));
    }
    Ok(())
}

/// Refuses what Redis refuses: a table of lengths of 4 bytes that takes more than the longest string. Ours takes a 32nd part of that.
fn check_size(a: &[u8], b: &[u8], longest: u64) -> Result<(), CommandError> {
    let cells = (a.len() as u64 + 1).checked_mul(b.len() as u64 + 1);
    if cells.is_none_or(|cells| cells > longest / 4) {
        return Err(CommandError::Text("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    }
    Ok(())
}

fn parse(args: &[&[u8]]) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut rest = args.iter();
    while let Some(name) = rest.next() {
        if name.eq_ignore_ascii_case(b"IDX") {
            options.idx = true;
        } else if name.eq_ignore_ascii_case(b"LEN") {
            options.len = true;
        } else if name.eq_ignore_ascii_case(b"WITHMATCHLEN") {
            options.with_match_len = true;
        } else if name.eq_ignore_ascii_case(b"MINMATCHLEN") {
            let text = rest.next().ok_or(CommandError::Syntax)?;
            let len = super::parse_integer(text).ok_or(CommandError::NotInteger)?;
            options.min_match_len = len.max(0).unsigned_abs();
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if options.idx && options.len {
        return Err(CommandError::Text("ERR If you want both the length and indexes, please just use IDX."));
    }
    Ok(options)
}

fn reply_with_matches(reply: &mut Reply, directions: &Directions, matches: &[Match], options: Options) {
    let wanted = |m: &&Match| m.len() >= options.min_match_len;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.iter().filter(wanted).count());
    for found in matches.iter().filter(wanted) {
        reply.array(2 + usize::from(options.with_match_len));
        for (first, last) in [found.a, found.b] {
            reply.array(2);
            reply.integer(first as i64);
            reply.integer(last as i64);
        }
        if options.with_match_len {
            reply.integer(found.len() as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(i64::from(directions.len));
}

/// Fills the rows of the table of lengths; `left` is called with each pair whose bytes differ and that continues with a shorter `a`.
fn fill_rows(a: &[u8], b: &[u8], mut shorter_a: impl FnMut(usize, usize)) -> u32 {
    let mut row = vec![0u32; b.len() + 1];
    for (i, byte_a) in a.iter().enumerate() {
        let mut diagonal = 0;
        for (j, byte_b) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if byte_a == byte_b {
                diagonal + 1
            } else if above > row[j] {
                shorter_a(i, j);
                above
            } else {
                row[j]
            };
            diagonal = above;
        }
    }
    row[b.len()]
}

fn length(a: &[u8], b: &[u8]) -> u32 {
    fill_rows(a, b, |_, _| {})
}

impl Directions {
    fn compute(a: &[u8], b: &[u8]) -> Self {
        let mut bits = vec![0; (a.len() * b.len()).div_ceil(64)];
        let columns = b.len();
        let len = fill_rows(a, b, |i, j| bits[(i * columns + j) / 64] |= 1 << ((i * columns + j) % 64));
        Self { bits, columns, len }
    }

    /// Visits the positions of the subsequence's bytes in both strings, from the last to the first.
    fn walk_back(&self, a: &[u8], b: &[u8], mut visit: impl FnMut(usize, usize)) {
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                visit(i, j);
            } else {
                let cell = (i - 1) * self.columns + j - 1;
                if self.bits[cell / 64] >> (cell % 64) & 1 == 1 { i -= 1 } else { j -= 1 }
            }
        }
    }

    fn subsequence(&self, a: &[u8], b: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len as usize);
        self.walk_back(a, b, |i, _| bytes.push(a[i]));
        bytes.reverse();
        bytes
    }

    /// The runs of the subsequence, the last first.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        self.walk_back(a, b, |i, j| match matches.last_mut() {
            Some(last) if last.a.0 == i + 1 && last.b.0 == j + 1 => (last.a.0, last.b.0) = (i, j),
            _ => matches.push(Match { a: (i, i), b: (j, j) }),
        });
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subsequence_and_its_runs_are_found() {
        let (a, b) = (&b"ohmytext"[..], &b"mynewtext"[..]);
        let directions = Directions::compute(a, b);
        assert_eq!(directions.subsequence(a, b), b"mytext");
        assert_eq!(directions.matches(a, b), [Match { a: (4, 7), b: (5, 8) }, Match { a: (2, 3), b: (0, 1) }]);
        assert_eq!((directions.len, length(a, b)), (6, 6));
    }

    #[test]
    fn tables_that_redis_would_not_make_are_refused() {
        assert!(check_size(&[0; 9], &[0; 9], 400).is_ok());
        assert!(check_size(&[0; 9], &[0; 10], 400).is_err());
    }

    #[test]
    fn an_empty_string_has_nothing_in_common() {
        let directions = Directions::compute(b"", b"abc");
        assert!(directions.subsequence(b"", b"abc").is_empty() && directions.matches(b"", b"abc").is_empty());
    }
}
