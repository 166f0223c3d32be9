#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn sum(a: &str, b: &str) -> Option<String> {
    add(parse(a.as_bytes())?, parse(b.as_bytes())?).map(format)
}

#[test]
fn sums_are_those_of_redis_on_x86() {
    for (a, b, expected) in [
        ("0", "0.1", "0.1"),
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("0.1", "0.2", "0.3"),
        ("3", "1.000000000000000005", "4.00000000000000001"),
        ("1", "-1", "0"),
        ("-0.00000000000000000001", "0", "0"),
        ("0x1p-2", "0X.8", "0.75"),
        ("17179869184", "1.5", "17179869185.5"),
        ("1e20", "1", "100000000000000000000"),
        ("1e40", "0", "9999999999999999999783686092270256259072"),
        ("9223372036854775807", "1", "9223372036854775808"),
    ] {
        assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
    }
}

#[test]
fn what_strtold_does_not_take_whole_is_refused() {
    for text in
        ["", " 1", "1 ", "1e", "1e+", "e5", ".", "0x", "0x.p1", "1.2.3", "nan", "--1", "0xg", "1e5000", "1e-5000", "1e99999999999999999999"]
    {
        assert!(parse(text.as_bytes()).is_none(), "{text:?}");
    }
    assert!(parse(&[b'1'; TEXT_BELOW]).is_none());
    assert!(parse(&[b'1'; TEXT_BELOW - 1]).is_none(), "overflows");
    let mut small = vec![b'0'; TEXT_BELOW - 1];
    small[1] = b'.';
    assert!(parse(&small).is_some());
}

#[test]
fn infinities_are_read_but_are_no_result() {
    assert!(parse(b"inf").is_some() && parse(b"-Infinity").is_some());
    assert_eq!(sum("inf", "1"), None);
    assert_eq!(sum("inf", "-inf"), None);
    assert_eq!(sum("1e4932", "1e4932"), None);
}

#[test]
fn zero_with_any_exponent_is_zero() {
    for text in ["0e99999", "0e-99999", "-0", "0x0p99999", ".0", "0."] {
        assert_eq!(format(parse(text.as_bytes()).unwrap()), "0", "{text}");
    }
}

#[test]
fn the_largest_float_prints_all_its_digits() {
    let text = format(parse(b"1.18973149535723176502e+4932").unwrap());
    assert_eq!(text.len(), 4933);
    assert!(text.starts_with("11897314953572317650212638530309702051690633222946242004403237338917"));
}
