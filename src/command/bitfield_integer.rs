//! The integers of BITFIELD: 1 to 64 bits signed, 1 to 63 bits unsigned, at any bit offset.

use super::parse_integer;

/// `i<bits>` or `u<bits>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IntegerType {
    signed: bool,
    bits: u32,
}

/// What happens to a value that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    /// Its lowest bits are kept.
    Wrap,
    /// The nearest value that fits is taken.
    Saturate,
    /// Nothing is written.
    Fail,
}

impl Overflow {
    /// WRAP, SAT or FAIL.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let known = [("wrap", Self::Wrap), ("sat", Self::Saturate), ("fail", Self::Fail)];
        known.iter().find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes())).map(|(_, overflow)| *overflow)
    }
}

impl IntegerType {
    /// Reads the type's name.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let (signed, digits) = match name {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return None,
        };
        let bits = u32::try_from(parse_integer(digits)?).ok()?;
        (1..=63 + u32::from(signed)).contains(&bits).then_some(Self { signed, bits })
    }

    /// Its width.
    pub(super) fn bits(self) -> u32 {
        self.bits
    }

    fn range(self) -> (i128, i128) {
        if self.signed { (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) } else { (0, (1 << self.bits) - 1) }
    }

    /// How far the integer lies from the right end of its window of 9 bytes.
    fn shift(self, offset: u64) -> u32 {
        72 - (offset % 8) as u32 - self.bits
    }

    /// The integer at bit `offset` of the string whose bytes from `offset / 8` on are in the window.
    pub(super) fn decode(self, window: &[u8; 9], offset: u64) -> i64 {
        let raw = (to_number(window) >> self.shift(offset)) as u64;
        self.wrap(i128::from(raw))
    }

    /// Puts the integer there; it must fit.
    pub(super) fn encode(self, window: &mut [u8; 9], offset: u64, value: i64) {
        let (shift, ones) = (self.shift(offset), (1u128 << self.bits) - 1);
        let number = to_number(window) & !(ones << shift) | (u128::from(value as u64) & ones) << shift;
        window.copy_from_slice(&number.to_be_bytes()[7..]);
    }

    /// The lowest bits of the value, read as this type.
    fn wrap(self, value: i128) -> i64 {
        let unused = 128 - self.bits;
        let raw = (value as u128) << unused;
        (if self.signed { raw.cast_signed() >> unused } else { (raw >> unused).cast_signed() }) as i64
    }

    /// The value made to fit; None if it does not and must not be changed.
    fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (least, greatest) = self.range();
        if (least..=greatest).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.wrap(value)),
            Overflow::Saturate => Some(value.clamp(least, greatest) as i64),
            Overflow::Fail => None,
        }
    }

    /// What SET stores. To an unsigned type a negative value is a huge one, as in Redis.
    pub(super) fn store(self, value: i64, overflow: Overflow) -> Option<i64> {
        let value = if self.signed { i128::from(value) } else { i128::from(value as u64) };
        // Redis takes the distance to the greatest value in 64 bits: what lies too far below saturates at the wrong end. Clients see that.
        let distance_wraps = self.range().1 - value > i128::from(i64::MAX);
        if self.signed && self.bits < 64 && overflow == Overflow::Saturate && distance_wraps {
            return Some(self.range().1 as i64);
        }
        self.fit(value, overflow)
    }

    /// What INCRBY stores.
    pub(super) fn add(self, old: i64, by: i64, overflow: Overflow) -> Option<i64> {
        self.fit(i128::from(old) + i128::from(by), overflow)
    }
}

fn to_number(window: &[u8; 9]) -> u128 {
    window.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn of(name: &str) -> IntegerType {
        IntegerType::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn widths_end_at_64_signed_and_63_unsigned() {
        for bad in ["i0", "i65", "u64", "u0", "x8", "", "i", "u-1", "i08", "I8"] {
            assert_eq!(IntegerType::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!((of("i64").bits(), of("u63").bits()), (64, 63));
    }

    #[test]
    fn integers_are_read_back_at_every_bit() {
        for name in ["i1", "u1", "i7", "u8", "i33", "u63", "i64"] {
            let integer = of(name);
            let (least, greatest) = integer.range();
            for (offset, value) in (0..8).flat_map(|o| [(o, least as i64), (o, greatest as i64), (o, 0)]) {
                for fill in [0, 0xff] {
                    let mut window = [fill; 9];
                    integer.encode(&mut window, offset, value);
                    assert_eq!(integer.decode(&window, offset), value, "{name} at {offset}");
                    integer.encode(&mut window, offset, if fill == 0 { 0 } else { integer.wrap(-1) });
                    assert_eq!(window, [fill; 9], "neighbours are untouched");
                }
            }
        }
    }

    #[test]
    fn values_that_do_not_fit_wrap_saturate_or_fail() {
        assert_eq!(of("u2").add(3, 1, Overflow::Wrap), Some(0));
        assert_eq!(of("u2").add(3, 1, Overflow::Saturate), Some(3));
        assert_eq!(of("u2").add(3, 1, Overflow::Fail), None);
        assert_eq!(of("u2").add(1, -2, Overflow::Saturate), Some(0));
        assert_eq!(of("i8").add(-128, -1, Overflow::Wrap), Some(127));
        assert_eq!(of("i64").add(i64::MAX, 1, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(of("i64").add(i64::MIN, -1, Overflow::Saturate), Some(i64::MIN));
        assert_eq!(of("u8").store(-1, Overflow::Saturate), Some(255));
        assert_eq!(of("u8").store(-2, Overflow::Wrap), Some(254));
        assert_eq!(of("i8").store(200, Overflow::Fail), None);
        assert_eq!(of("i8").store(-i64::MAX, Overflow::Saturate), Some(127), "as in Redis");
        assert_eq!(of("i8").store(-i64::MAX + 127, Overflow::Saturate), Some(-128));
        assert_eq!(of("i64").store(i64::MIN, Overflow::Saturate), Some(i64::MIN));
    }
}
