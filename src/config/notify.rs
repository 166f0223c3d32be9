//! The classes of keyspace events and their letters, as in notify-keyspace-events.

/// Events to `__keyspace@<db>__:<key>` channels (`K`).
pub const KEYSPACE: u32 = 1;
/// Events to `__keyevent@<db>__:<event>` channels (`E`).
pub const KEYEVENT: u32 = 1 << 1;
/// Commands on keys of any type (`g`).
pub const GENERIC: u32 = 1 << 2;
/// String commands (`$`).
pub const STRING: u32 = 1 << 3;
/// List commands (`l`).
pub const LIST: u32 = 1 << 4;
/// Set commands (`s`).
pub const SET: u32 = 1 << 5;
/// Hash commands (`h`).
pub const HASH: u32 = 1 << 6;
/// Sorted set commands (`z`).
pub const ZSET: u32 = 1 << 7;
/// Expired keys (`x`).
pub const EXPIRED: u32 = 1 << 8;
/// Evicted keys (`e`).
pub const EVICTED: u32 = 1 << 9;
/// Stream commands (`t`).
pub const STREAM: u32 = 1 << 10;
/// Reads of absent keys (`m`).
pub const KEY_MISS: u32 = 1 << 11;
/// Module types (`d`).
pub const MODULE: u32 = 1 << 13;
/// New keys (`n`).
pub const NEW: u32 = 1 << 14;
/// What `A` stands for: all but key misses and new keys.
pub const ALL: u32 = GENERIC | STRING | LIST | SET | HASH | ZSET | EXPIRED | EVICTED | STREAM | MODULE;

const LETTERS: &[(char, u32)] = &[
    ('g', GENERIC),
    ('$', STRING),
    ('l', LIST),
    ('s', SET),
    ('h', HASH),
    ('z', ZSET),
    ('x', EXPIRED),
    ('e', EVICTED),
    ('t', STREAM),
    ('d', MODULE),
    ('n', NEW),
];
const LAST_LETTERS: &[(char, u32)] = &[('K', KEYSPACE), ('E', KEYEVENT), ('m', KEY_MISS)];

/// The classes that the letters stand for; `None` if one is unknown.
#[must_use]
pub fn parse(letters: &str) -> Option<u32> {
    let bit = |letter| match letter {
        'A' => Some(ALL),
        _ => LETTERS.iter().chain(LAST_LETTERS).find(|(known, _)| *known == letter).map(|(_, bit)| *bit),
    };
    letters.chars().try_fold(0, |classes, letter| Some(classes | bit(letter)?))
}

/// The letters of the classes, in Redis's order.
#[must_use]
pub fn format(classes: u32) -> String {
    let present =
        |letters: &[(char, u32)]| letters.iter().filter(|(_, bit)| classes & bit != 0).map(|(letter, _)| *letter).collect::<String>();
    let events = if classes & ALL == ALL {
        // Redis forgets `n` beside `A`; a rewritten file would lose it.
        format!("A{}", if classes & NEW != 0 { "n" } else { "" })
    } else {
        present(LETTERS)
    };
    events + &present(LAST_LETTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_back_in_the_order_of_redis() {
        for (given, shown) in [("KEA", "AKE"), ("xKg$", "g$xK"), ("", ""), ("AKEm", "AKEm"), ("g$lshzxetdE", "AE"), ("Kn", "nK")] {
            assert_eq!(parse(given).map(format).as_deref(), Some(shown), "{given}");
        }
        assert_eq!(parse("KQ"), None);
    }
}
