//! Requests as they go to the wire.

use std::io::Write;

use super::book::{Book, Versions, Write as Ticket};
use super::keys::Names;
use super::mix::Op;
use super::value::Values;

/// What counters' names begin with, before what all keys begin with.
const COUNTER: &str = "counter:";

/// A request without its reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) op: Op,
    pub(super) key: u64,
    /// When it was due, in nanoseconds of the run.
    pub(super) due: u64,
    /// What the book knows of it.
    pub(super) ticket: Option<Ticket>,
    /// What a read may not be older than.
    pub(super) floor: u64,
    /// What INCR must exceed.
    pub(super) counter: i64,
}

/// Makes requests.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) names: Names,
    pub(super) counters: Names,
    pub(super) values: Values,
    pub(super) ttl: Option<u64>,
    pub(super) expire: u64,
    /// What is read must not be older than what it says.
    pub(super) book: Option<Book>,
    versions: Versions,
}

impl Maker {
    pub(super) fn new(prefix: &str, tag: Option<&str>, keys: u64, values: Values, ttl: Option<u64>, book: Option<Book>) -> Self {
        Self {
            names: Names::new(prefix, tag, keys),
            counters: Names::new(&format!("{COUNTER}{prefix}"), tag, keys),
            values,
            ttl,
            expire: ttl.unwrap_or(60),
            book,
            versions: Versions::default(),
        }
    }

    /// Appends a request to `out`; `len` is that of a value.
    pub(super) fn make(&self, op: Op, key: u64, len: usize, due: u64, out: &mut Vec<u8>) -> Pending {
        let book = self.book.as_ref();
        let floor = book.map_or(0, |book| book.floor(key));
        let mut pending = Pending { op, key, due, ticket: None, floor, counter: i64::MIN };
        match op {
            Op::Set => {
                pending.ticket = book.map(|book| book.begin(key, false));
                let version = pending.ticket.map_or_else(|| self.versions.next(), |ticket| ticket.version);
                set(&self.names, &self.values, (key, version), len, self.ttl, out);
            }
            Op::Get => get(&self.names, key, out),
            Op::Del => {
                pending.ticket = book.map(|book| book.begin(key, true));
                command(b"*2\r\n$3\r\nDEL\r\n", &self.names, key, out);
            }
            Op::Incr => {
                pending.counter = book.map_or(i64::MIN, |book| book.counter(key));
                command(b"*2\r\n$4\r\nINCR\r\n", &self.counters, key, out);
            }
            Op::Expire => {
                command(b"*3\r\n$6\r\nEXPIRE\r\n", &self.names, key, out);
                number(self.expire, out);
            }
            Op::Ping => out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n"),
        }
        pending
    }
}

fn command(head: &[u8], names: &Names, key: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(head);
    length(names.len(), out);
    names.write(key, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a GET to `out`.
pub(super) fn get(names: &Names, key: u64, out: &mut Vec<u8>) {
    command(b"*2\r\n$3\r\nGET\r\n", names, key, out);
}

/// Appends a SET of a key at a version to `out`.
pub(super) fn set(names: &Names, values: &Values, (key, version): (u64, u64), len: usize, ttl: Option<u64>, out: &mut Vec<u8>) {
    out.extend_from_slice(if ttl.is_some() { b"*5\r\n" } else { b"*3\r\n" });
    command(b"$3\r\nSET\r\n", names, key, out);
    length(len, out);
    values.write(key, version, len, out);
    out.extend_from_slice(b"\r\n");
    if let Some(ttl) = ttl {
        out.extend_from_slice(b"$2\r\nEX\r\n");
        number(ttl, out);
    }
}

/// Writing to memory does not fail.
fn length(len: usize, out: &mut Vec<u8>) {
    let _ = write!(out, "${len}\r\n");
}

fn number(number: u64, out: &mut Vec<u8>) {
    let text = number.to_string();
    length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_a_server_expects() {
        let names = Names::new("k", None, 10);
        let values = Values::new(names, 1, false);
        let maker = Maker::new("k", None, 10, values, Some(90), Some(Book::new(10, None, true)));
        let text = |op| {
            let mut out = Vec::new();
            let pending = maker.make(op, 7, 2, 5, &mut out);
            assert!((pending.op, pending.key, pending.due) == (op, 7, 5));
            String::from_utf8_lossy(&out).replace("\r\n", "|")
        };
        assert_eq!(text(Op::Get), "*2|$3|GET|$13|k000000000007|");
        assert_eq!(text(Op::Del), "*2|$3|DEL|$13|k000000000007|");
        assert_eq!(text(Op::Incr), "*2|$4|INCR|$21|counter:k000000000007|");
        assert_eq!(text(Op::Expire), "*3|$6|EXPIRE|$13|k000000000007|$2|90|");
        assert_eq!(text(Op::Ping), "*1|$4|PING|");
        let set = text(Op::Set);
        assert!(set.starts_with("*5|$3|SET|$13|k000000000007|$2|") && set.ends_with("|$2|EX|$2|90|"), "{set}");
    }
}
