//! Damage to bytes: flips, cuts, insertions, repetitions, and numbers at the edges of their ranges.

use rand::Rng;
use rand::rngs::StdRng;

/// Numbers that tend to be forgotten, as text and as little-endian integers.
const TEXTS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"-0",
    b"+1",
    b"00",
    b"1",
    b" 1",
    b"2147483647",
    b"2147483648",
    b"4294967296",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"99999999999999999999",
    b"\r\n",
    b"\r",
    b"\n",
    b"*",
    b"$",
    b"\"",
    b"\\x",
    b"\0",
];
const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    9,
    10,
    27,
    28,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    1 << 20,
    1 << 24,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 63,
    u64::MAX,
];

/// Damages `bytes` in up to three places.
pub fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..=3) {
        mutate_once(rng, bytes);
    }
}

fn mutate_once(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    let at = rng.random_range(0..=bytes.len());
    let some = rng.random_range(1..=16).min(bytes.len() - at);
    match rng.random_range(0..9) {
        0 | 1 if some > 0 => bytes[at] ^= 1 << rng.random_range(0..8),
        2 if some > 0 => bytes[at] = rng.random(),
        3 => drop(bytes.drain(at..at + some)),
        4 => drop(bytes.splice(at..at, (0..rng.random_range(1..8)).map(|_| rng.random::<u8>()))),
        5 => bytes.truncate(at),
        6 => drop(bytes.splice(at..at + some.min(1), TEXTS[rng.random_range(0..TEXTS.len())].iter().copied())),
        7 => {
            let number = NUMBERS[rng.random_range(0..NUMBERS.len())].to_le_bytes();
            let width = [1, 2, 4, 8][rng.random_range(0..4)].min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
        _ => {
            let copied = bytes[at..at + some].to_vec();
            let to = rng.random_range(0..=bytes.len());
            drop(bytes.splice(to..to, copied));
        }
    }
}

/// Random bytes.
pub fn noise(rng: &mut StdRng, len: usize) -> Vec<u8> {
    (0..len).map(|_| rng.random()).collect()
}
