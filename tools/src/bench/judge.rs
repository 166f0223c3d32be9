//! Whether a reply is right.

use super::book::{Book, Ended};
use super::mix::Op;
use super::reply::Reply;
use super::request::{Maker, Pending};
use super::stats::{Figures, Wrong};
use super::value::Fault;

/// Takes a reply into account; whether its latency counts. Errors are counted apart: they are often faster than what they refuse.
pub(super) fn judge(maker: &Maker, pending: &Pending, reply: Reply<'_>, figures: &mut Figures) -> bool {
    if let Reply::Error(text) = reply {
        figures.error(text);
        end(maker, pending, Ended::Unknown);
        return false;
    }
    end(maker, pending, Ended::Acknowledged);
    match (pending.op, reply) {
        (Op::Get, Reply::Bulk(value)) => {
            figures.hits += 1;
            got(maker, pending, value, figures);
        }
        (Op::Get, Reply::Null) => {
            figures.misses += 1;
            missed(maker, pending, figures);
        }
        (Op::Expire, Reply::Integer(0)) => missed(maker, pending, figures),
        (Op::Incr, Reply::Integer(value)) => {
            if value <= pending.counter {
                figures.wrong(Wrong::Counter, || {
                    format!("{} returned {value} after {} had been acknowledged", what(maker, pending), pending.counter)
                });
            }
            if let Some(book) = &maker.book {
                book.counted(pending.key, value);
            }
        }
        (Op::Set, Reply::Simple(b"OK")) | (Op::Ping, Reply::Simple(b"PONG")) | (Op::Del | Op::Expire, Reply::Integer(0..=1)) => {}
        (_, reply) => figures.wrong(Wrong::Unexpected, || format!("{} was answered with {reply:?}", what(maker, pending))),
    }
    true
}

/// Tells the book how a write ended.
pub(super) fn end(maker: &Maker, pending: &Pending, ended: Ended) {
    if let (Some(book), Some(ticket)) = (&maker.book, pending.ticket) {
        book.end(pending.key, ticket, pending.op == Op::Del, ended);
    }
}

fn got(maker: &Maker, pending: &Pending, value: &[u8], figures: &mut Figures) {
    let Pending { key, floor, .. } = *pending;
    match maker.values.check(key, value) {
        Ok(version) => {
            if maker.book.as_ref().is_some_and(|book| !book.allows(key, floor, version)) {
                figures.wrong(Wrong::Stale, || {
                    format!(
                        "{} returned version {version}, older than {floor}, which was acknowledged before it was sent",
                        what(maker, pending)
                    )
                });
            }
        }
        Err(Fault::OtherKey(other)) => figures
            .wrong(Wrong::OtherKey, || format!("{} returned a value of {}", what(maker, pending), maker.names.name(other).escape_ascii())),
        Err(Fault::Corrupt) => figures.wrong(Wrong::Corrupt, || {
            let shown = value[..value.len().min(40)].escape_ascii();
            format!("{} returned {} bytes that were never written: \"{shown}\"…", what(maker, pending), value.len())
        }),
    }
}

fn missed(maker: &Maker, pending: &Pending, figures: &mut Figures) {
    let missed = |book: &Book| !book.allows_miss(pending.key, pending.floor);
    if maker.book.as_ref().is_some_and(missed) {
        figures.wrong(Wrong::Missing, || {
            format!("{} found nothing, though version {} was acknowledged before it was sent", what(maker, pending), pending.floor)
        });
    }
}

/// The request in words.
fn what(maker: &Maker, pending: &Pending) -> String {
    let names = if pending.op == Op::Incr { &maker.counters } else { &maker.names };
    format!("{} {}", pending.op.name().to_uppercase(), names.name(pending.key).escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::super::keys::Names;
    use super::super::value::Values;
    use super::*;

    fn maker() -> Maker {
        let values = Values::new(Names::new("k", None, 10), 1, true);
        Maker::new("k", None, 10, values, None, Some(Book::new(10, None, true)))
    }

    /// Sends a request; with a SET, also the value that it wrote.
    fn send(maker: &Maker, op: Op) -> (Pending, Vec<u8>) {
        let mut out = Vec::new();
        let pending = maker.make(op, 3, 30, 0, &mut out);
        (pending, if op == Op::Set { out[out.len() - 32..out.len() - 2].to_vec() } else { Vec::new() })
    }

    fn wrongs(maker: &Maker, pending: &Pending, reply: Reply<'_>) -> Vec<Wrong> {
        let mut figures = Figures::default();
        judge(maker, pending, reply, &mut figures);
        assert_eq!(figures.examples.len() as u64, figures.wrong_answers());
        Wrong::ALL.into_iter().filter(|wrong| figures.wrong_of(*wrong) > 0).collect()
    }

    #[test]
    fn each_kind_of_wrong_answer_is_told() {
        let maker = maker();
        let (set, old) = send(&maker, Op::Set);
        assert_eq!(wrongs(&maker, &set, Reply::Simple(b"OK")), []);
        let (set, new) = send(&maker, Op::Set);
        assert_eq!(wrongs(&maker, &set, Reply::Simple(b"OK")), []);
        let get = send(&maker, Op::Get).0;
        assert_eq!(wrongs(&maker, &get, Reply::Bulk(&new)), []);
        assert_eq!(wrongs(&maker, &get, Reply::Bulk(&old)), [Wrong::Stale]);
        assert_eq!(wrongs(&maker, &get, Reply::Null), [Wrong::Missing]);
        assert_eq!(wrongs(&maker, &get, Reply::Bulk(&new[1..])), [Wrong::Corrupt]);
        assert_eq!(wrongs(&maker, &get, Reply::Integer(1)), [Wrong::Unexpected]);
        assert_eq!(wrongs(&maker, &Pending { key: 4, floor: 0, ..get }, Reply::Bulk(&new)), [Wrong::OtherKey]);
        assert_eq!(wrongs(&maker, &send(&maker, Op::Expire).0, Reply::Integer(0)), [Wrong::Missing]);
        assert_eq!(wrongs(&maker, &set, Reply::Null), [Wrong::Unexpected]);
    }

    #[test]
    fn counters_must_rise() {
        let maker = maker();
        let overlapping = send(&maker, Op::Incr).0;
        assert_eq!(wrongs(&maker, &send(&maker, Op::Incr).0, Reply::Integer(8)), []);
        assert_eq!(wrongs(&maker, &overlapping, Reply::Integer(7)), []);
        assert_eq!(wrongs(&maker, &send(&maker, Op::Incr).0, Reply::Integer(8)), [Wrong::Counter]);
    }

    #[test]
    fn a_refused_write_may_have_happened() {
        let maker = maker();
        let (set, value) = send(&maker, Op::Set);
        assert_eq!(wrongs(&maker, &set, Reply::Error(b"OOM")), []);
        let get = send(&maker, Op::Get).0;
        assert_eq!(wrongs(&maker, &get, Reply::Null), []);
        assert_eq!(wrongs(&maker, &get, Reply::Bulk(&value)), []);
    }
}
