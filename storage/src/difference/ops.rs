//! A set of ops by LSN and number.
//!
//! ```text
//! varint length | ops with number 0: a set of LSNs in the roaring format (github.com/RoaringBitmap/RoaringFormatSpec, 64 bits)
//! varint count | count × (varint LSN - the one before | varint count | count × varint number - the one before)
//! ```
//!
//! Nearly all entries have one op: of these the set takes a bit an LSN where they are dense, and two bytes where they are rare.

use std::collections::BTreeMap;

use roaring::{RoaringBitmap, RoaringTreemap};

use crate::codec::{DecodeError, Input, varint};
use crate::types::Lsn;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OpSet {
    /// LSNs of ops with the number 0.
    first: RoaringTreemap,
    /// The numbers of others.
    behind: BTreeMap<u64, RoaringBitmap>,
}

impl OpSet {
    /// Adds an op.
    pub fn insert(&mut self, lsn: Lsn, number: u32) {
        if number == 0 {
            self.first.insert(lsn.0);
        } else {
            self.behind.entry(lsn.0).or_default().insert(number);
        }
    }

    /// Takes an op out.
    pub fn remove(&mut self, lsn: Lsn, number: u32) {
        if number == 0 {
            self.first.remove(lsn.0);
        } else if let Some(numbers) = self.behind.get_mut(&lsn.0) {
            numbers.remove(number);
            if numbers.is_empty() {
                self.behind.remove(&lsn.0);
            }
        }
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn contains(&self, lsn: Lsn, number: u32) -> bool {
        if number == 0 { self.first.contains(lsn.0) } else { self.behind.get(&lsn.0).is_some_and(|numbers| numbers.contains(number)) }
    }

    /// Takes out all that are in another set.
    pub fn subtract(&mut self, other: &Self) {
        self.first -= &other.first;
        for (lsn, numbers) in &other.behind {
            numbers.iter().for_each(|number| self.remove(Lsn(*lsn), number));
        }
    }

    /// Adds all that are in another set.
    pub fn unite(&mut self, other: &Self) {
        self.first |= &other.first;
        for (lsn, numbers) in &other.behind {
            *self.behind.entry(*lsn).or_default() |= numbers;
        }
    }

    /// The number of ops.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.first.len() + self.behind.values().map(RoaringBitmap::len).sum::<u64>()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.behind.is_empty()
    }

    /// The LSNs of ops in it from `from` on: the next one.
    #[must_use]
    pub fn next_lsn(&self, from: Lsn) -> Option<Lsn> {
        let mut alone = self.first.iter();
        alone.advance_to(from.0);
        let behind = self.behind.range(from.0..).next().map(|(lsn, _)| *lsn);
        alone.next().into_iter().chain(behind).min().map(Lsn)
    }

    /// The set's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::push(self.first.serialized_size() as u64, &mut out);
        self.first.serialize_into(&mut out).expect("memory takes all that is written");
        varint::push(self.behind.len() as u64, &mut out);
        let mut before = 0;
        for (lsn, numbers) in &self.behind {
            varint::push(lsn - before, &mut out);
            varint::push(numbers.len(), &mut out);
            let mut last = 0;
            for number in numbers {
                varint::push(u64::from(number - last), &mut out);
                last = number;
            }
            before = *lsn;
        }
        out
    }

    /// Checks and decodes a set.
    ///
    /// # Errors
    /// It is cut off, goes on behind its end, or is not as [`encode`](Self::encode) writes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let len = usize::try_from(input.varint64()?).map_err(|_| DecodeError::Length)?;
        let first = RoaringTreemap::deserialize_from(input.take(len)?).map_err(|_| DecodeError::Field("set of LSNs"))?;
        let (mut behind, mut before) = (BTreeMap::new(), 0_u64);
        for _ in 0..input.varint64()? {
            before = before.checked_add(input.varint64()?).ok_or(DecodeError::Length)?;
            let (mut numbers, mut last) = (RoaringBitmap::new(), 0_u32);
            for _ in 0..input.varint64()? {
                last = last.checked_add(input.varint32()?).ok_or(DecodeError::Length)?;
                numbers.insert(last);
            }
            behind.insert(before, numbers);
        }
        let set = Self { first, behind };
        // One spelling only: sets that are equal have equal bytes.
        if input.is_empty() && set.encode() == bytes { Ok(set) } else { Err(DecodeError::Field("set of ops")) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    fn set(ops: &[(u64, u32)]) -> OpSet {
        let mut set = OpSet::default();
        ops.iter().for_each(|(lsn, number)| set.insert(Lsn(*lsn), *number));
        set
    }

    #[test]
    fn a_set_round_trips() {
        let dense: Vec<_> = (1000..90_000).map(|lsn| (lsn, 0)).collect();
        let some: Vec<_> = (0..300).map(|n| (n * n * n + 7, (n % 4) as u32 * 50)).collect();
        for ops in [&[][..], &[(5, 0)], &[(5, 3)], &[(0, 0), (0, 1), (0, 70_000), (9, 1), (u64::MAX, 0)], &dense, &some] {
            let set = set(ops);
            let bytes = set.encode();
            assert_eq!(OpSet::decode(&bytes), Ok(set.clone()));
            assert_eq!(set.len(), ops.len() as u64);
            assert!(ops.iter().all(|(lsn, number)| set.contains(Lsn(*lsn), *number)));
            assert!(!set.contains(Lsn(6), 0) && !set.contains(Lsn(5), 9));
            for len in (0..bytes.len()).step_by(1 + bytes.len() / 50) {
                assert!(OpSet::decode(&bytes[..len]).is_err(), "{len} of {}", bytes.len());
            }
            assert!(OpSet::decode(&[bytes, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn what_is_taken_out_is_gone() {
        let mut set = set(&[(1, 0), (1, 2), (9, 0)]);
        assert_eq!((set.next_lsn(Lsn(0)), set.next_lsn(Lsn(2)), set.next_lsn(Lsn(10))), (Some(Lsn(1)), Some(Lsn(9)), None));
        set.remove(Lsn(1), 0);
        assert_eq!(set.next_lsn(Lsn(0)), Some(Lsn(1)));
        set.remove(Lsn(1), 2);
        set.remove(Lsn(9), 0);
        assert!(set.is_empty());
        assert_eq!(set, OpSet::default());
    }

    #[test]
    fn sets_are_united_and_subtracted() {
        let (one, other) = (set(&[(1, 0), (1, 2), (9, 0), (9, 1)]), set(&[(1, 2), (9, 0), (20, 3)]));
        let mut both = one.clone();
        both.unite(&other);
        assert_eq!(both, set(&[(1, 0), (1, 2), (9, 0), (9, 1), (20, 3)]));
        both.subtract(&other);
        assert_eq!(both, set(&[(1, 0), (9, 1)]));
    }

    #[test]
    fn every_lsn_of_a_range_takes_a_bit() {
        let dense: Vec<_> = (0..1 << 20).filter(|n| n % 3 > 0).map(|lsn| (lsn, 0)).collect();
        assert!(set(&dense).encode().len() < (1 << 20) / 8 + 1000);
    }
}
