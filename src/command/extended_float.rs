//! The arithmetic of INCRBYFLOAT: 80-bit extended floats, read and printed as Redis does on x86-64, so that results are the same on every
//! machine.

use rustc_apfloat::Float;
use rustc_apfloat::ieee::X87DoubleExtended;

/// Longer texts are no numbers to Redis.
const TEXT_BELOW: usize = 5 * 1024;
/// Exponents beyond this are clamped: more than the float's range and the longest text's digits together.
const EXPONENT_AT_MOST: i64 = 30_000;
/// Digits after the point that are printed.
const FRACTION_DIGITS: u32 = 17;

const MANTISSA_BITS: i32 = 64;
const EXPONENT_BIAS: i32 = 16_383;

/// An 80-bit extended float; not a NaN.
pub(super) type Extended = X87DoubleExtended;

/// Reads what C's `strtold` takes, whole and without white space before it: decimal, hexadecimal, infinity; None for everything else and
/// for what overflows or vanishes.
pub(super) fn parse(text: &[u8]) -> Option<Extended> {
    if text.is_empty() || text.len() >= TEXT_BELOW {
        return None;
    }
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let magnitude = if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        Extended::INFINITY
    } else {
        let literal = normalize(unsigned)?;
        let value = literal.parse::<Extended>().ok()?;
        let vanished = value.is_zero() && !literal_is_zero(&literal);
        if vanished || !value.is_finite() {
            return None;
        }
        value
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// The sum; None if it is infinite or no number.
pub(super) fn add(a: Extended, b: Extended) -> Option<Extended> {
    let sum = (a + b).value;
    sum.is_finite().then_some(sum)
}

/// Checks an unsigned literal and brings it into the one form that the parser takes: an exponent in range, always there.
fn normalize(text: &[u8]) -> Option<String> {
    let (prefix, digits_and_exponent, marks, is_digit): (_, _, _, fn(&u8) -> bool) = match text {
        [b'0', b'x' | b'X', rest @ ..] => ("0x", rest, b"pP", u8::is_ascii_hexdigit),
        _ => ("", text, b"eE", u8::is_ascii_digit),
    };
    let split = digits_and_exponent.iter().position(|c| marks.contains(c));
    let (digits, exponent) = match split {
        Some(at) => (&digits_and_exponent[..at], parse_exponent(&digits_and_exponent[at + 1..])?),
        None => (digits_and_exponent, 0),
    };
    let points = digits.iter().filter(|&&c| c == b'.').count();
    let numerals = digits.iter().filter(|c| is_digit(c)).count();
    if points > 1 || numerals == 0 || points + numerals != digits.len() {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    Some(format!("{prefix}{digits}{}{exponent}", char::from(marks[0])))
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |n: i64, d| (n * 10 + i64::from(d - b'0')).min(EXPONENT_AT_MOST));
    Some(if negative { -value } else { value })
}

fn literal_is_zero(literal: &str) -> bool {
    let (digits, marks) = literal.strip_prefix("0x").map_or((literal, ['e', 'E']), |hex| (hex, ['p', 'P']));
    digits.split(marks).next().is_some_and(|mantissa| mantissa.bytes().all(|c| matches!(c, b'0' | b'.')))
}

/// Prints a finite float with up to 17 digits after the point, correctly rounded, without zeros at the end.
pub(super) fn format(value: Extended) -> String {
    let bits = value.to_bits();
    let mantissa = bits as u64;
    let biased = ((bits >> MANTISSA_BITS) & 0x7fff) as i32;
    // Subnormals have the exponent of the smallest normal floats.
    let exponent = biased.max(1) - EXPONENT_BIAS - (MANTISSA_BITS - 1);
    let text = if exponent >= 0 { integer_text(mantissa, exponent as u32) } else { fraction_text(mantissa, exponent.unsigned_abs()) };
    if value.is_negative() && text != "0" { format!("-{text}") } else { text }
}

/// `mantissa / 2^shift`, rounded half to even at the last digit.
fn fraction_text(mantissa: u64, shift: u32) -> String {
    let one = 10u128.pow(FRACTION_DIGITS);
    let scaled = u128::from(mantissa) * one;
    // Below 2^-127 the scaled value is less than half a unit: 64 bits of mantissa and 57 of the scale.
    let units = if shift >= 127 { 0 } else { round_shift(scaled, shift) };
    let fraction = format!("{:017}", units % one);
    let fraction = fraction.trim_end_matches('0');
    let whole = units / one;
    if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") }
}

fn round_shift(value: u128, shift: u32) -> u128 {
    let (quotient, rest, half) = (value >> shift, value & ((1 << shift) - 1), 1 << (shift - 1));
    quotient + u128::from(rest > half || rest == half && quotient & 1 == 1)
}

/// `mantissa * 2^shift`, all digits.
fn integer_text(mantissa: u64, shift: u32) -> String {
    const LIMB: u64 = 1_000_000_000;
    // Least significant limb first; each doubling step shifts by as many bits as fit beside a limb in 64.
    let mut limbs: Vec<u64> = vec![mantissa % LIMB, mantissa / LIMB % LIMB, mantissa / LIMB / LIMB];
    let mut left = shift;
    while left > 0 {
        let step = left.min(32);
        let mut carry = 0;
        for limb in &mut limbs {
            let value = (*limb << step) + carry;
            (*limb, carry) = (value % LIMB, value / LIMB);
        }
        while carry > 0 {
            limbs.push(carry % LIMB);
            carry /= LIMB;
        }
        left -= step;
    }
    while limbs.len() > 1 && limbs.last() == Some(&0) {
        limbs.pop();
    }
    let mut text = limbs.pop().unwrap_or(0).to_string();
    for limb in limbs.iter().rev() {
        text.push_str(&format!("{limb:09}"));
    }
    text
}

#[cfg(test)]
#[path = "extended_float_tests.rs"]
mod tests;
