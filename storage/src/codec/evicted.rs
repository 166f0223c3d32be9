//! The body of an `evict` op: which ops' keys left the index, over (LSN, op number).
//!
//! ```text
//! first LSN 8 | last LSN 8 | form 1 | form 0: a bit for each LSN, lowest bit first, (last - first) / 8 + 1 bytes
//!                                   | form 1: varint count, count × varint LSN - the one before (at first: - first LSN)
//! varint count | count × (varint LSN - the one before (at first: - first LSN), varint op number)
//! ```
//!
//! The first part names ops with the number 0, the second those behind them in their entries. Of the two forms the shorter is written: a
//! segment that was never cleaned holds every LSN of its range, one that was cleaned often only a few.

use super::{DecodeError, Input, varint};
use crate::types::Lsn;

const BITMAP: u8 = 0;
const GAPS: u8 = 1;
/// First LSN, last LSN and form.
const HEAD: usize = 8 + 8 + 1;

/// An op by its entry's LSN and its number in there.
pub type OpId = (Lsn, u32);

/// What one entry evicts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evicted {
    /// In rising order, each once; not empty.
    ops: Vec<OpId>,
}

impl Evicted {
    /// The ops, which rise; none if there are none.
    #[must_use]
    pub fn new(ops: Vec<OpId>) -> Option<Self> {
        debug_assert!(ops.is_sorted_by(|a, b| a < b), "evicted ops rise");
        (!ops.is_empty()).then_some(Self { ops })
    }

    /// The ops, in rising order.
    #[must_use]
    pub fn ops(&self) -> &[OpId] {
        &self.ops
    }

    /// The first and the last LSN.
    #[must_use]
    pub fn range(&self) -> (Lsn, Lsn) {
        let of = |op: Option<&OpId>| op.map_or(Lsn(0), |(lsn, _)| *lsn);
        (of(self.ops.first()), of(self.ops.last()))
    }

    /// Whether it names this op.
    #[must_use]
    pub fn contains(&self, lsn: Lsn, number: u32) -> bool {
        self.ops.binary_search(&(lsn, number)).is_ok()
    }

    /// The op's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (first, last) = self.range();
        let mut out = Vec::new();
        out.extend(first.0.to_le_bytes());
        out.extend(last.0.to_le_bytes());
        let alone = || self.ops.iter().filter(|(_, number)| *number == 0).map(|(lsn, _)| *lsn);
        let bits = ((last.0 - first.0) / 8 + 1) as usize;
        let mut gaps = Vec::new();
        varint::push(alone().count() as u64, &mut gaps);
        let mut before = first;
        for lsn in alone() {
            varint::push(lsn.0 - before.0, &mut gaps);
            before = lsn;
        }
        if gaps.len() < bits {
            out.push(GAPS);
            out.append(&mut gaps);
        } else {
            out.push(BITMAP);
            out.resize(HEAD + bits, 0);
            for lsn in alone() {
                let bit = lsn.0 - first.0;
                out[HEAD + (bit / 8) as usize] |= 1 << (bit % 8);
            }
        }
        self.encode_behind(first, &mut out);
        out
    }

    fn encode_behind(&self, first: Lsn, out: &mut Vec<u8>) {
        let behind = || self.ops.iter().filter(|(_, number)| *number > 0);
        varint::push(behind().count() as u64, out);
        let mut before = first;
        for (lsn, number) in behind() {
            varint::push(lsn.0 - before.0, out);
            varint::push(u64::from(*number), out);
            before = *lsn;
        }
    }

    /// Decodes a body.
    ///
    /// # Errors
    /// It is cut off, goes on behind its end, or names ops outside its range or in no order.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(body);
        let (first, last) = (Lsn(input.u64()?), Lsn(input.u64()?));
        let span = last.0.checked_sub(first.0).ok_or(DecodeError::Field("range of LSNs"))?;
        let mut ops = match input.u8()? {
            BITMAP => decode_bitmap(&mut input, first, span)?,
            GAPS => decode_gaps(&mut input, first)?,
            _ => return Err(DecodeError::Field("form of evicted ops")),
        };
        let mut before = first.0;
        for _ in 0..input.varint64()? {
            before = before.checked_add(input.varint64()?).ok_or(DecodeError::Length)?;
            ops.push((Lsn(before), input.varint32()?));
        }
        ops.sort_unstable();
        let evicted = Self { ops };
        let sound = input.is_empty() && evicted.ops.is_sorted_by(|a, b| a < b) && evicted.range() == (first, last);
        if sound && !evicted.ops.is_empty() { Ok(evicted) } else { Err(DecodeError::Field("evicted ops")) }
    }
}

fn decode_bitmap(input: &mut Input<'_>, first: Lsn, span: u64) -> Result<Vec<OpId>, DecodeError> {
    let len = usize::try_from(span / 8 + 1).map_err(|_| DecodeError::Length)?;
    let mut ops = Vec::new();
    for (at, byte) in input.take(len)?.iter().enumerate() {
        let mut bits = *byte;
        while bits != 0 {
            let bit = 8 * at as u64 + u64::from(bits.trailing_zeros());
            ops.push((Lsn(first.0.checked_add(bit).ok_or(DecodeError::Length)?), 0));
            bits &= bits - 1;
        }
    }
    Ok(ops)
}

fn decode_gaps(input: &mut Input<'_>, first: Lsn) -> Result<Vec<OpId>, DecodeError> {
    let mut ops = Vec::new();
    let mut before = first.0;
    for _ in 0..input.varint64()? {
        before = before.checked_add(input.varint64()?).ok_or(DecodeError::Length)?;
        ops.push((Lsn(before), 0));
    }
    Ok(ops)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    fn evicted(ops: &[(u64, u32)]) -> Evicted {
        Evicted::new(ops.iter().map(|(lsn, number)| (Lsn(*lsn), *number)).collect()).unwrap()
    }

    #[test]
    fn what_is_evicted_round_trips() {
        let every: Vec<_> = (1000..9000).map(|lsn| (lsn, 0)).collect();
        let some: Vec<_> = (0..100).map(|n| (n * n * n * 1000 + 7, (n % 3) as u32)).collect();
        for ops in [&[(5, 0)][..], &[(5, 3)], &[(0, 0), (0, 1), (0, 2), (9, 1), (u64::MAX, 0)], &every, &some] {
            let evicted = evicted(ops);
            let body = evicted.encode();
            assert_eq!(Evicted::decode(&body), Ok(evicted.clone()));
            assert!(ops.iter().all(|(lsn, number)| evicted.contains(Lsn(*lsn), *number)));
            assert!(!evicted.contains(Lsn(6), 0) || ops.contains(&(6, 0)));
            for len in 0..body.len() {
                assert!(Evicted::decode(&body[..len]).is_err(), "{len} of {}", body.len());
            }
            assert!(Evicted::decode(&[body, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn every_lsn_of_a_range_takes_a_bit_and_few_take_a_byte_or_two_each() {
        let every: Vec<_> = (1_000_000..1_080_000).map(|lsn| (lsn, 0)).collect();
        assert_eq!(evicted(&every).encode().len(), HEAD + 10_000 + 1);
        let few: Vec<_> = (0..1000).map(|n| (n * 120, 0)).collect();
        assert!(evicted(&few).encode().len() < 1100);
    }

    #[test]
    fn impossible_bodies_are_refused() {
        let head = |first: u64, last: u64, form: u8| [&first.to_le_bytes()[..], &last.to_le_bytes(), &[form]].concat();
        for body in [
            head(2, 1, BITMAP),
            head(1, 1, 2),
            [head(1, 8, BITMAP), vec![0b1, 0]].concat(),
            [head(1, 1, BITMAP), vec![0b10, 0]].concat(),
            [head(0, u64::MAX, BITMAP), vec![1, 0]].concat(),
            [head(1, 1, GAPS), vec![0, 0]].concat(),
            [head(1, 1, GAPS), vec![2, 0, 0, 0]].concat(),
            [head(1, 1, GAPS), vec![0, 2, 0, 1, 0, 1]].concat(),
            [head(1, 1, GAPS), vec![0xff, 0xff, 0xff, 0xff, 0x0f]].concat(),
        ] {
            assert!(Evicted::decode(&body).is_err(), "{body:?}");
        }
    }
}
