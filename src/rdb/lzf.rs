//! LZF decompression, for strings that Redis compressed.
//!
//! A control byte below 32 is followed by that many bytes plus one, as they are. Any other starts a copy from what was already
//! written: 3 bits of length (7: one more byte of length follows) and 13 bits of distance.

/// A copy of the longest length takes 3 bytes of input, so nothing expands further than this.
const MAX_EXPANSION: usize = 88;

/// Decompresses to exactly `len` bytes; `None` if the input does not give that.
pub(super) fn decompress(mut input: &[u8], len: usize) -> Option<Vec<u8>> {
    // The length comes from outside: it must not make us reserve what the input cannot fill.
    if len > input.len().saturating_mul(MAX_EXPANSION) {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    while let Some((&control, rest)) = input.split_first() {
        input = if control < 32 { literal(usize::from(control) + 1, rest, &mut out)? } else { copy(control, rest, &mut out)? };
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

fn literal<'a>(len: usize, input: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (bytes, rest) = input.split_at_checked(len)?;
    out.extend_from_slice(bytes);
    Some(rest)
}

fn copy<'a>(control: u8, mut input: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut len = usize::from(control >> 5) + 2;
    if control >> 5 == 7 {
        let (&more, rest) = input.split_first()?;
        len += usize::from(more);
        input = rest;
    }
    let (&low, rest) = input.split_first()?;
    let distance = (usize::from(control & 0x1F) << 8 | usize::from(low)) + 1;
    let start = out.len().checked_sub(distance)?;
    if distance >= len {
        out.extend_from_within(start..start + len);
    } else {
        // The copy overlaps what it writes: byte by byte repeats the pattern.
        for i in start..start + len {
            out.push(out[i]);
        }
    }
    Some(rest)
}
