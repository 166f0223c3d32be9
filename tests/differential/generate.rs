//! Random requests from templates: each word is either literal (upper case) or the name of something generated; `a|b` is a choice, `a?`
//! may be left out, `a*` stands one to four times.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::wire::Request;

/// Commands on strings.
pub const STRINGS: &[&str] = &[
    "GET key",
    "SET key value",
    "SET key value",
    "SET key number",
    "SET key value set_option*",
    "SETNX key value",
    "SETEX key seconds value",
    "PSETEX key millis value",
    "GETSET key value",
    "GETDEL key",
    "GETEX key getex_option?",
    "GETEX key getex_option*",
    "MGET key*",
    "MSET pair*",
    "MSETNX pair*",
    "STRLEN key",
    "GETRANGE key index index",
    "SUBSTR key index index",
    "SETRANGE key offset value",
    "APPEND key value",
    "APPEND key number",
    "INCR key",
    "DECR key",
    "INCRBY key number",
    "DECRBY key number",
    "INCRBYFLOAT key float",
    "LCS key key lcs_option?",
    "LCS key key lcs_option*",
];

/// Commands on bitmaps.
pub const BITMAPS: &[&str] = &[
    "SETBIT key bit_offset bit",
    "SETBIT key bit_offset bit",
    "GETBIT key bit_offset",
    "BITCOUNT key",
    "BITCOUNT key index index? unit?",
    "BITCOUNT key index index unit",
    "BITPOS key bit",
    "BITPOS key bit index",
    "BITPOS key bit index index unit?",
    "BITOP AND|OR|XOR|NOT key key*",
    "BITOP NOT key key",
    "BITFIELD key field_op*",
    "BITFIELD key field_op*",
    "BITFIELD_RO key field_get*",
    "BITFIELD_RO key field_op*",
];

/// Commands on strings of megabytes, which are changed in places.
pub const LARGE: &[&str] = &[
    "SET key large",
    "SETRANGE key large_offset value",
    "SETRANGE key large_offset value",
    "SETBIT key large_bit bit",
    "SETBIT key large_bit bit",
    "BITFIELD key INCRBY i33 large_bit number",
    "BITFIELD key SET u8 large_bit number OVERFLOW SAT INCRBY i16 large_bit number",
    "APPEND key value",
    "APPEND key large",
    "GETRANGE key large_offset large_offset",
    "GETBIT key large_bit",
    "STRLEN key",
    "BITCOUNT key",
    "BITCOUNT key large_bit large_bit BIT",
    "BITPOS key bit large_offset",
    "BITPOS key 0|1 large_bit large_bit BIT",
    "BITOP OR|XOR key key key",
    "COPY key key REPLACE",
    "RENAME key key",
    "EXPIRE key 100000",
    "PERSIST key",
    "GETDEL key",
];

/// Commands on keys of any type.
pub const KEYS: &[&str] = &[
    "DEL key*",
    "UNLINK key",
    "EXISTS key*",
    "TOUCH key*",
    "TYPE key",
    "KEYS pattern",
    "RENAME key key",
    "RENAMENX key key",
    "COPY key key copy_option?",
    "COPY key key copy_option*",
    "MOVE key db",
    "SELECT db",
    "EXPIRE key seconds expire_option?",
    "PEXPIRE key millis expire_option*",
    "EXPIREAT key moment expire_option?",
    "PEXPIREAT key moment_millis expire_option*",
    "PERSIST key",
    "TTL key",
    "PTTL key",
    "EXPIRETIME key",
    "PEXPIRETIME key",
];

/// Transactions.
pub const TRANSACTIONS: &[&str] = &["MULTI", "MULTI", "EXEC", "EXEC", "DISCARD", "WATCH b|c|d*", "UNWATCH"];

/// A random request of these templates; now and then with one argument too few or too many.
pub fn request(rng: &mut StdRng, templates: &[&[&str]]) -> Request {
    let template = templates.choose(rng).and_then(|family| family.choose(rng)).expect("there are templates");
    let mut arguments: Request = template.split(' ').flat_map(|word| expand(rng, word)).collect();
    match rng.random_range(0..60) {
        0 if arguments.len() > 1 => drop(arguments.pop()),
        1 => arguments.push(number(rng)),
        2 => arguments[0].make_ascii_lowercase(),
        _ => {}
    }
    arguments
}

fn expand(rng: &mut StdRng, word_with_mark: &str) -> Request {
    let (name, count) = match word_with_mark.as_bytes() {
        [.., b'?'] => (&word_with_mark[..word_with_mark.len() - 1], rng.random_range(0..=1)),
        [.., b'*'] => (&word_with_mark[..word_with_mark.len() - 1], rng.random_range(1..=4)),
        _ => (word_with_mark, 1),
    };
    let choices: Vec<&str> = name.split('|').collect();
    let mut arguments = Request::new();
    for _ in 0..count {
        let chosen = pick(rng, &choices);
        arguments.extend(word(rng, chosen));
    }
    arguments
}

fn pick<'a>(rng: &mut StdRng, choices: &[&'a str]) -> &'a str {
    choices.choose(rng).copied().expect("there are choices")
}

fn words(rng: &mut StdRng, choices: &[&str]) -> Request {
    let template = pick(rng, choices);
    template.split(' ').filter(|w| !w.is_empty()).flat_map(|w| word(rng, w)).collect()
}

fn word(rng: &mut StdRng, name: &str) -> Request {
    let one = |text: &str| vec![text.as_bytes().to_vec()];
    match name {
        "key" => one(pick(rng, &["a", "b", "c", "d", "{a}x", "{a}y"])),
        "pair" => words(rng, &["key value", "key number"]),
        "value" => vec![value(rng)],
        "number" => vec![number(rng)],
        "float" => vec![float(rng)],
        "index" => one(&match rng.random_range(0..12) {
            0 => {
                pick(rng, &["9223372036854775807", "-9223372036854775808", "4294967296", "x", "", "1.5", " 1", "+1", "-0", "01"]).to_owned()
            }
            1 => rng.random_range(-200..20_000).to_string(),
            _ => rng.random_range(-12..24).to_string(),
        }),
        "offset" => one(&match rng.random_range(0..20) {
            0 => pick(rng, &["-1", "536870912", "9223372036854775807", "x", "1e3"]).to_owned(),
            1 => rng.random_range(0..20_000).to_string(),
            _ => rng.random_range(0..24).to_string(),
        }),
        "bit_offset" => one(&match rng.random_range(0..20) {
            0 => pick(rng, &["-1", "4294967296", "9223372036854775807", "x", "#1", ""]).to_owned(),
            1 => rng.random_range(0..100_000).to_string(),
            _ => rng.random_range(0..90).to_string(),
        }),
        "bit" => one(pick(rng, &["0", "1", "0", "1", "0", "1", "2", "-1", "x"])),
        "large" => vec![vec![rng.random_range(b'a'..=b'z'); rng.random_range(100_000..3_000_000)]],
        "large_offset" => one(&rng.random_range(0..3_000_000).to_string()),
        "large_bit" => one(&rng.random_range(0..24_000_000).to_string()),
        "unit" => one(pick(rng, &["BIT", "BYTE", "bit", "byte", "BITS"])),
        "seconds" => one(pick(rng, &["100000", "200000", "300000", "100000", "0", "-1", "x", "9223372036854775807", "9223372036854775"])),
        "millis" => one(pick(rng, &["100000000", "200000000", "0", "-5", "1.5", "9223372036854775807", "100000000"])),
        // What SET leaves behind expired, Redis removes when it gets to it, which some events tell.
        "later" => one(pick(rng, &["4102444800", "4102444801", "0", "-1", "9223372036854775807"])),
        "later_millis" => one(pick(rng, &["4102444800123", "4102444801000", "-7", "x"])),
        "moment" => one(pick(rng, &["4102444800", "4102444801", "1", "0", "-1", "9223372036854775807"])),
        "moment_millis" => one(pick(rng, &["4102444800123", "4102444801000", "1", "-7", "x"])),
        "set_option" => words(
            rng,
            &[
                "NX",
                "XX",
                "GET",
                "KEEPTTL",
                "EX seconds",
                "PX millis",
                "EXAT later",
                "PXAT later_millis",
                "get",
                "ex seconds",
                "EX",
                "PERSIST",
                "",
            ],
        ),
        "getex_option" => words(rng, &["PERSIST", "EX seconds", "PX millis", "EXAT moment", "PXAT moment_millis", "px", "KEEPTTL", ""]),
        "lcs_option" => words(rng, &["LEN", "IDX", "IDX", "WITHMATCHLEN", "MINMATCHLEN index", "MINMATCHLEN", "idx", "NO"]),
        "copy_option" => words(rng, &["REPLACE", "DB db", "DB", "replace", "WHAT"]),
        "expire_option" => words(rng, &["NX", "XX", "GT", "LT", "gt", "lt", "", "ZZ"]),
        "db" => one(pick(rng, &["0", "0", "0", "1", "2", "15", "16", "-1", "x"])),
        "pattern" => one(pick(rng, &["*", "a", "?", "[a-c]", "[^a]", "{a}*", "\\a", "*y", "[", "a*b"])),
        "field_type" => one(&match rng.random_range(0..16) {
            0 => pick(rng, &["u64", "i65", "i0", "u0", "8", "I8", "", "u-1"]).to_owned(),
            1 => pick(rng, &["i64", "u63", "i1", "u1"]).to_owned(),
            _ => format!("{}{}", pick(rng, &["i", "u"]), rng.random_range(1..=63)),
        }),
        "field_offset" => one(&match rng.random_range(0..24) {
            0 => pick(rng, &["-1", "4294967296", "#-1", "#x", "#", "", "9223372036854775807"]).to_owned(),
            1..=8 => format!("#{}", rng.random_range(0..6)),
            _ => rng.random_range(0..120).to_string(),
        }),
        "field_get" => words(rng, &["GET field_type field_offset"]),
        "field_op" => words(
            rng,
            &[
                "GET field_type field_offset",
                "SET field_type field_offset number",
                "INCRBY field_type field_offset number",
                "INCRBY field_type field_offset index",
                "OVERFLOW WRAP",
                "OVERFLOW SAT",
                "OVERFLOW FAIL",
                "overflow sat",
                "OVERFLOW NO",
                "incrby field_type",
            ],
        ),
        literal => one(literal),
    }
}

fn value(rng: &mut StdRng) -> Vec<u8> {
    let len = match rng.random_range(0..40) {
        0 => 0,
        1 => rng.random_range(1_000..1_100),
        2 => rng.random_range(5_000..40_000),
        _ => rng.random_range(1..20),
    };
    match rng.random_range(0..4) {
        0 => vec![pick(rng, &["\0", "x", "\u{7f}"]).as_bytes()[0]; len],
        1 => (0..len).map(|_| rng.random()).collect(),
        2 => vec![0xff; len],
        _ => (0..len).map(|_| rng.random_range(b'a'..=b'e')).collect(),
    }
}

fn number(rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..10) {
        0 => {
            pick(rng, &["9223372036854775807", "-9223372036854775808", "9223372036854775808", "-1", "0", "-0", "+1", "007", "1 ", "x", ""])
                .into()
        }
        1 => rng.random::<i64>().to_string().into(),
        2 => rng.random::<i32>().to_string().into(),
        _ => rng.random_range(-300..300).to_string().into(),
    }
}

/// A literal that `strtold` may or may not take.
pub fn float(rng: &mut StdRng) -> Vec<u8> {
    let sign = pick(rng, &["", "", "-", "+"]);
    match rng.random_range(0..12) {
        0 => pick(
            rng,
            &[
                "inf", "-inf", "INFINITY", "nan", "0x1.8p1", "0XAp-3", "0x.4", "1e", "e1", ".", "-.5", "5.", "1e400", "1e-400", "1e5000",
                "1e-5000", "", " 1",
            ],
        )
        .into(),
        1 => format!("{sign}{}e{}", rng.random_range(0..1_000_000), rng.random_range(-40..40)).into(),
        2 => format!("{sign}{}.{}e{}", rng.random::<u64>(), rng.random::<u64>(), rng.random_range(-5_000..5_000)).into(),
        3 => format!("{sign}0x{:x}.{:x}p{}", rng.random::<u64>(), rng.random::<u32>(), rng.random_range(-70..70)).into(),
        4 => format!("{sign}{}", rng.random::<u64>()).into(),
        5 => format!("{sign}0.{:0width$}", rng.random::<u32>(), width = rng.random_range(1..30)).into(),
        6 => format!("{sign}{}.{}", rng.random::<u32>(), rng.random::<u64>()).into(),
        _ => format!("{sign}{}.{}", rng.random_range(0..1_000), rng.random_range(0..1_000)).into(),
    }
}
