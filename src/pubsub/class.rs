//! Classes of keyspace events, and how `notify-keyspace-events` writes them.

/// `K`: events are published on `__keyspace@<db>__:<key>`.
pub const KEYSPACE: u32 = 1;
/// `E`: events are published on `__keyevent@<db>__:<event>`.
pub const KEYEVENT: u32 = 1 << 1;
/// `g`: commands of no particular type (DEL, EXPIRE, RENAME …).
pub const GENERIC: u32 = 1 << 2;
/// `$`: string commands.
pub const STRING: u32 = 1 << 3;
/// `l`: list commands.
pub const LIST: u32 = 1 << 4;
/// `s`: set commands.
pub const SET: u32 = 1 << 5;
/// `h`: hash commands.
pub const HASH: u32 = 1 << 6;
/// `z`: sorted set commands.
pub const SORTED_SET: u32 = 1 << 7;
/// `x`: a key expired.
pub const EXPIRED: u32 = 1 << 8;
/// `e`: a key was evicted.
pub const EVICTED: u32 = 1 << 9;
/// `t`: stream commands.
pub const STREAM: u32 = 1 << 10;
/// `m`: a key that was to be read does not exist.
pub const KEY_MISS: u32 = 1 << 11;
/// `d`: module types.
pub const MODULE: u32 = 1 << 13;
/// `n`: a key was created.
pub const NEW: u32 = 1 << 14;
/// `A`: all but `m` and `n`.
pub const ALL: u32 = GENERIC | STRING | LIST | SET | HASH | SORTED_SET | EXPIRED | EVICTED | STREAM | MODULE;

/// The letters of the classes that `A` stands for (and `n`), in the order in which they are written.
const LETTERS: [(char, u32); 11] = [
    ('g', GENERIC),
    ('$', STRING),
    ('l', LIST),
    ('s', SET),
    ('h', HASH),
    ('z', SORTED_SET),
    ('x', EXPIRED),
    ('e', EVICTED),
    ('t', STREAM),
    ('d', MODULE),
    ('n', NEW),
];

/// The channels, and `m`: written after the classes.
const ENDING: [(char, u32); 3] = [('K', KEYSPACE), ('E', KEYEVENT), ('m', KEY_MISS)];

/// Reads `notify-keyspace-events`; None if a letter means nothing.
#[must_use]
pub fn parse(text: &str) -> Option<u32> {
    text.chars().try_fold(0, |classes, letter| {
        let bits = match letter {
            'A' => ALL,
            _ => LETTERS.iter().chain(&ENDING).find(|(known, _)| *known == letter)?.1,
        };
        Some(classes | bits)
    })
}

/// Writes it as CONFIG GET shows it. Redis leaves `n` out beside `A`, and so loses it in CONFIG REWRITE; here it is written, as the text
/// is what the classes are read from.
#[must_use]
pub fn format(classes: u32) -> String {
    let all = classes & ALL == ALL;
    let each = LETTERS
        .iter()
        .filter(|(_, bits)| !all || *bits == NEW)
        .chain(&ENDING)
        .filter(|(_, bits)| classes & bits != 0)
        .map(|(letter, _)| *letter);
    all.then_some('A').into_iter().chain(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_and_written_in_the_order_of_redis() {
        for (given, shown) in
            [("KEA", "AKE"), ("", ""), ("gEx$", "g$xE"), ("Km", "Km"), ("g$lshzxetdKE", "AKE"), ("nE", "nE"), ("E", "E"), ("KEAn", "AnKE")]
        {
            assert_eq!(parse(given).map(format).as_deref(), Some(shown), "{given}");
        }
        assert_eq!(parse("Kq"), None);
    }
}
