//! Payloads that redis-server 7.0.15 made, both ways.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::{RdbError, payload};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn restored(dump: &[u8]) -> Vec<u8> {
    payload::decode_string(payload::verify(dump).unwrap()).unwrap().into_owned()
}

const PLAIN: &[(&str, &str)] = &[
    ("", "00000a005d9b5c400f7fa2da"),
    ("hello", "000568656c6c6f0a006372df766534200a"),
    ("0", "00c0000a009840a778f8500308"),
    ("12", "00c00c0a003c2af8515c04bcd5"),
    ("-128", "00c0800a009966326d2f0c5bd9"),
    ("128", "00c180000a00eb7ab3b510cf4b65"),
    ("-32768", "00c100800a00b540064753bb1ace"),
    ("32768", "00c2008000000a0045d82eedd5bda910"),
    ("2147483647", "00c2ffffff7f0a002c74e59ee02eada1"),
    ("-2147483648", "00c2000000800a00c74f873e33558187"),
    ("2147483648", "000a323134373438333634380a00e7b129a34c1d76ee"),
    ("12345678901", "000b31323334353637383930310a00304e52d727176510"),
    ("007", "00033030370a007258e27b4c69bad9"),
    ("+5", "00022b350a0087d1480711b44cc2"),
];

#[test]
fn short_strings_are_dumped_as_redis_dumps_them() {
    for (value, dump) in PLAIN {
        assert_eq!(payload::encode_string(value.as_bytes()), bytes(dump), "{value}");
        assert_eq!(restored(&bytes(dump)), value.as_bytes());
    }
    let value: Vec<u8> = (0..64).collect();
    let dump = "004040000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f\
                303132333435363738393a3b3c3d3e3f0a008c0c07acf508b445";
    assert_eq!(payload::encode_string(&value), bytes(dump));
}

#[test]
fn strings_that_redis_compressed_are_restored() {
    assert_eq!(restored(&bytes("00c3094064016161e057000161610a00e8a3b507b06df271")), [b'a'; 100]);
    let ten = "00c31541900a6162636465666768696a61e0ff09e1720d01696a0a00dc73e8316284f46a";
    assert_eq!(restored(&bytes(ten)), b"abcdefghij".repeat(40));
    let text = "00c333404a1f74686520717569636b2062726f776e20666f78206a756d7073206f7665722074e0061e06646f6720616e64e0081702636174\
                0a000abfa9630085ab02";
    assert_eq!(restored(&bytes(text)), b"the quick brown fox jumps over the quick brown dog and the quick brown cat");
}

#[test]
fn lengths_of_every_width_come_back() {
    for len in [0, 1, 63, 64, 16_383, 16_384, 100_000] {
        let value = vec![b'v'; len];
        assert_eq!(restored(&payload::encode_string(&value)), value);
    }
}

#[test]
fn a_changed_byte_or_a_newer_version_is_refused() {
    let good = payload::encode_string(b"hello");
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        assert_eq!(payload::verify(&bad), Err(RdbError::Footer));
    }
    assert_eq!(payload::verify(&good[..9]), Err(RdbError::Footer));
    assert_eq!(payload::verify(b""), Err(RdbError::Footer));
}

#[test]
fn malformed_values_are_refused() {
    assert_eq!(payload::decode_string(b""), Err(RdbError::Malformed));
    assert_eq!(payload::decode_string(b"\x01\x00"), Err(RdbError::Type(1)));
    let malformed: [&[u8]; 8] = [
        b"\x00",
        b"\x00\x05hell",
        b"\x00\xc1\x00",
        b"\x00\xc4\x00",
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        // A copy from before the start, one of a wrong length, and one that promises far too much.
        b"\x00\xc3\x02\x03\x20\x00",
        b"\x00\xc3\x02\x05\x00a",
        b"\x00\xc3\x02\x80\xff\xff\xff\xff\x00a",
    ];
    for body in malformed {
        assert_eq!(payload::decode_string(body), Err(RdbError::Malformed), "{body:?}");
    }
}
