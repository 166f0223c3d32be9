//! Splits a line into arguments by the rules that Redis uses for its configuration file and for inline commands: double quotes with
//! `\n \r \t \b \a \xHH` escapes, single quotes with `\'` only, a closing quote ends the argument.

/// The arguments of `line`, or `None` when a quote is not closed or is followed by something other than a space.
#[must_use]
pub fn split_args(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = line;
    let mut words = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        // A vertical tab is a space for C's isspace, and is not for Rust's ASCII whitespace.
        while let [0x0b, tail @ ..] = rest {
            rest = tail.trim_ascii_start();
        }
        if rest.is_empty() || rest[0] == 0 {
            return Some(words);
        }
        let (word, tail) = one_word(rest)?;
        words.push(word);
        rest = tail;
    }
}

fn one_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t' | 0, ..] => return Some((word, rest)),
            [b'"', tail @ ..] => {
                rest = double_quoted(tail, &mut word)?;
                return ends_word(rest).then_some((word, rest));
            }
            [b'\'', tail @ ..] => {
                rest = single_quoted(tail, &mut word)?;
                return ends_word(rest).then_some((word, rest));
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn ends_word(rest: &[u8]) -> bool {
    rest.first().is_none_or(|b| b.is_ascii_whitespace() || *b == 0x0b || *b == 0)
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [b'"', tail @ ..] => return Some(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [b'\'', tail @ ..] => return Some(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// `text` in double quotes, escaped so that [`split_args`] gives it back.
#[must_use]
pub fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in text {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'"' => out.push_str("\\\""),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        split_args(line.as_bytes()).map(|w| w.into_iter().map(|w| String::from_utf8_lossy(&w).into_owned()).collect())
    }

    #[test]
    fn words_are_split_at_any_white_space() {
        assert_eq!(words("  a  b\tc\r\n").unwrap(), ["a", "b", "c"]);
        assert!(words("   ").unwrap().is_empty());
    }

    #[test]
    fn quotes_join_words_and_escapes_are_taken_back() {
        assert_eq!(words(r#"set "a b" 'c d' """#).unwrap(), ["set", "a b", "c d", ""]);
        assert_eq!(words(r#""\x41\n\"" '\'x'"#).unwrap(), ["A\n\"", "'x"]);
        assert_eq!(words(r#"ab"cd""#).unwrap(), ["abcd"]);
    }

    #[test]
    fn an_open_or_glued_quote_is_refused() {
        for line in ["\"a", "'a", "\"a\"b", "'a'b", "\"a\\"] {
            assert_eq!(words(line), None, "{line}");
        }
    }

    #[test]
    fn quoted_text_is_given_back_by_the_split() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(split_args(quoted(&all).as_bytes()).unwrap(), [all]);
    }
}
