//! Counting and finding bits: BITCOUNT, BITPOS. The string is read in chunks.

use esker_storage::shard::{Key, Transaction};
use esker_storage::types::Db;

use super::string_range::resolve_range;
use super::{Call, CommandError, Flags, Group, Keys, Spec};

/// Bytes read at a time.
const CHUNK: u64 = 256 * 1024;

/// A row that the others of the family differ from.
const ROW: Spec = Spec {
    name: "bitcount",
    arity: -2,
    flags: Flags::READONLY,
    keys: Keys::Range { first: 1, last: 1, step: 1 },
    group: Group::Bitmap,
    since: "2.6.0",
    complexity: "O(N) for N bytes in the range",
    summary: "Counts the set bits of a string or of a part of it.",
    handler: bitcount,
};

/// The family's rows.
pub const SPECS: &[Spec] = &[
    ROW,
    Spec { name: "bitpos", arity: -3, since: "2.8.7", summary: "Finds the first set or clear bit of a string.", handler: bitpos, ..ROW },
];

/// A half-open range of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BitRange {
    first: u64,
    beyond: u64,
}

impl BitRange {
    /// What inclusive bounds, in bytes or bits, mean in a string of `len` bytes; None if it is empty.
    fn resolve(start: i64, end: i64, in_bits: bool, len: u64) -> Option<Self> {
        let bits_a_unit = if in_bits { 1 } else { 8 };
        let (first, beyond) = resolve_range(start, end, len * 8 / bits_a_unit)?;
        Some(Self { first: first * bits_a_unit, beyond: beyond * bits_a_unit })
    }

    /// Visits the range's bytes in order, bits outside the range set to `padding`, with the offset of each piece's first byte. Stops when
    /// the visitor returns something.
    fn visit<R>(
        self,
        (txn, db, key): (&Transaction<'_>, Db, &Key<'_>),
        padding: bool,
        mut visit: impl FnMut(u64, &[u8]) -> Option<R>,
    ) -> Result<Option<R>, CommandError> {
        let (first_byte, last_byte) = (self.first / 8, (self.beyond - 1) / 8);
        let mut at = first_byte;
        while at <= last_byte {
            let len = CHUNK.min(last_byte + 1 - at);
            let Some(bytes) = txn.get_range(db, key, at, len)?.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
            let read = bytes.len() as u64;
            let holds_edge = at == first_byte && !self.first.is_multiple_of(8) || at + read > last_byte && !self.beyond.is_multiple_of(8);
            let found = if holds_edge { visit(at, &self.mask_edges(at, bytes.into_owned(), padding)) } else { visit(at, &bytes) };
            if found.is_some() {
                return Ok(found);
            }
            at += read;
        }
        Ok(None)
    }

    /// Sets the bits of the piece's first and last byte that lie outside the range to `padding`.
    fn mask_edges(self, at: u64, mut bytes: Vec<u8>, padding: bool) -> Vec<u8> {
        let mut outside = |byte: u64, mask: u8| {
            if let Some(b) = byte.checked_sub(at).and_then(|i| bytes.get_mut(i as usize)) {
                *b = if padding { *b | mask } else { *b & !mask };
            }
        };
        outside(self.first / 8, !(0xff >> (self.first % 8)));
        if !self.beyond.is_multiple_of(8) {
            outside(self.beyond / 8, 0xff >> (self.beyond % 8));
        }
        bytes
    }
}

/// BYTE or BIT.
fn unit_is_bit(text: &[u8]) -> Result<bool, CommandError> {
    if text.eq_ignore_ascii_case(b"bit") {
        Ok(true)
    } else if text.eq_ignore_ascii_case(b"byte") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

fn bitcount(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (key, db) = (call.key(1), call.session.db);
    let metadata = call.txn.metadata(db, &key)?;
    call.looked_up(key.bytes(), metadata.is_some());
    // Without the key Redis does not look at the range, however wrong.
    let Some(metadata) = metadata else {
        call.reply.integer(0);
        return Ok(());
    };
    let range = match call.args.len() {
        2 => BitRange::resolve(0, -1, false, metadata.len),
        4 | 5 => {
            let (start, end) = (call.integer(2)?, call.integer(3)?);
            // An inverted range is 0 before the unit is looked at.
            if start < 0 && end < 0 && start > end {
                None
            } else {
                let in_bits = call.args.len() == 5 && unit_is_bit(call.arg(4))?;
                BitRange::resolve(start, end, in_bits, metadata.len)
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    let mut count = 0;
    if let Some(range) = range {
        range.visit((call.txn, db, &key), false, |_, bytes| {
            count += count_ones(bytes);
            None::<()>
        })?;
    }
    call.reply.integer(count as i64);
    Ok(())
}

fn count_ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    in_words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

fn bitpos(call: &mut Call<'_, '_>) -> Result<(), CommandError> {
    let (key, db) = (call.key(1), call.session.db);
    let bit = match call.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::Text("ERR The bit argument must be 1 or 0.")),
    };
    let metadata = call.txn.metadata(db, &key)?;
    call.looked_up(key.bytes(), metadata.is_some());
    // Without the key the string is an endless row of zeros, and Redis does not look at the range, however wrong.
    let Some(metadata) = metadata else {
        call.reply.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    let position = match bitpos_range(call, metadata.len)? {
        None => None,
        Some(range) => {
            let found = range.visit((call.txn, db, &key), !bit, |at, bytes| Some(at * 8 + find(bytes, bit)?))?;
            // A string is followed by zeros, unless an end was given.
            found.or((!bit && call.args.len() < 5).then_some(range.beyond))
        }
    };
    call.reply.integer(position.map_or(-1, |p| p as i64));
    Ok(())
}

fn bitpos_range(call: &Call<'_, '_>, len: u64) -> Result<Option<BitRange>, CommandError> {
    let count = call.args.len();
    if count > 6 {
        return Err(CommandError::Syntax);
    }
    let start = if count > 3 { call.integer(3)? } else { 0 };
    let in_bits = count == 6 && unit_is_bit(call.arg(5))?;
    let end = if count > 4 { call.integer(4)? } else { -1 };
    // Unlike GETRANGE, BITPOS has no rule of its own for inverted negative bounds: both are clipped to 0 first.
    let from_front = |bound: i64, units: u64| if bound < 0 { units.saturating_sub(bound.unsigned_abs()) as i64 } else { bound };
    let units = if in_bits { len * 8 } else { len };
    Ok(BitRange::resolve(from_front(start, units), from_front(end, units), in_bits, len))
}

/// The first bit of this value.
fn find(bytes: &[u8], bit: bool) -> Option<u64> {
    let uninteresting = if bit { 0 } else { 0xff };
    let (words, rest) = bytes.as_chunks::<8>();
    let skipped = words.iter().take_while(|word| **word == [uninteresting; 8]).count() * 8;
    let tail = if skipped == words.len() * 8 { rest } else { &bytes[skipped..] };
    let at = tail.iter().position(|byte| *byte != uninteresting)?;
    let byte = if bit { tail[at] } else { !tail[at] };
    Some((skipped + at) as u64 * 8 + u64::from(byte.leading_zeros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bit_is_found_in_words_and_beyond_them() {
        let mut bytes = vec![0; 21];
        assert_eq!(find(&bytes, true), None);
        bytes[20] = 1;
        assert_eq!(find(&bytes, true), Some(167));
        bytes[9] = 0x40;
        assert_eq!(find(&bytes, true), Some(73));
        assert_eq!(find(&bytes, false), Some(0));
        assert_eq!(find(&[0xff; 30], false), None);
    }

    #[test]
    fn bits_outside_the_range_are_masked() {
        let range = BitRange { first: 3, beyond: 13 };
        assert_eq!(range.mask_edges(0, vec![0xff, 0xff], false), [0x1f, 0xf8]);
        assert_eq!(range.mask_edges(0, vec![0, 0], true), [0xe0, 0x07]);
        assert_eq!(BitRange { first: 2, beyond: 5 }.mask_edges(0, vec![0xff], false), [0x38]);
        assert_eq!(count_ones(&[0xff; 19]), 152);
    }

    #[test]
    fn ranges_in_bits_and_bytes_meet() {
        assert_eq!(BitRange::resolve(1, 1, false, 4), BitRange::resolve(8, 15, true, 4));
        assert_eq!(BitRange::resolve(0, -1, true, 4), Some(BitRange { first: 0, beyond: 32 }));
        assert_eq!(BitRange::resolve(0, -1, false, 0), None);
    }
}
