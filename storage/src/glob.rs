//! Glob patterns with the rules of Redis: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a literal character.

/// Whether `text` matches `pattern`, byte by byte. Takes time proportional to the product of the lengths at worst.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // What to try next when a byte does not match: the pattern behind the last star, and one byte more of text under the star. An
    // earlier star never has to be tried again.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            if rest.is_empty() {
                return true;
            }
            pattern = rest;
            retry = Some((rest, text));
            continue;
        }
        if pattern.is_empty() && text.is_empty() {
            return true;
        }
        if let Some((&byte, rest)) = text.split_first()
            && let Some(after) = one(pattern, byte, ignore_case)
        {
            pattern = after;
            text = rest;
            continue;
        }
        match retry {
            Some((after_star, under)) if !under.is_empty() => {
                pattern = after_star;
                text = &under[1..];
                retry = Some((after_star, text));
            }
            _ => return false,
        }
    }
}

/// The rest of the pattern if its first element, which is no star, matches the byte.
fn one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<&[u8]> {
    let same = |literal: u8| literal == byte || ignore_case && literal.eq_ignore_ascii_case(&byte);
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte, ignore_case),
        [b'\\', literal, rest @ ..] => same(*literal).then_some(rest),
        [literal, rest @ ..] => same(*literal).then_some(rest),
    }
}

/// The same for a class, whose opening bracket is already taken; one that is not closed ends with the pattern.
fn class(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<&[u8]> {
    let within = |from: u8, to: u8| {
        let holds = |byte: u8| (from.min(to)..=from.max(to)).contains(&byte);
        holds(byte) || ignore_case && (holds(byte.to_ascii_lowercase()) || holds(byte.to_ascii_uppercase()))
    };
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        match rest {
            [] | [b']', ..] => break,
            [b'\\', literal, tail @ ..] => {
                found |= within(*literal, *literal);
                rest = tail;
            }
            [from, b'-', to, tail @ ..] => {
                found |= within(*from, *to);
                rest = tail;
            }
            [literal, tail @ ..] => {
                found |= within(*literal, *literal);
                rest = tail;
            }
        }
    }
    (found != negated).then(|| rest.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        let yes = [
            ("", ""),
            ("*", ""),
            ("*", "abc"),
            ("a?c", "abc"),
            ("a*c", "abbbc"),
            ("a*b*c", "aXbYbZc"),
            ("[a-c]x", "bx"),
            ("[c-a]x", "bx"),
            ("[^a]x", "bx"),
            ("h\\*llo", "h*llo"),
            ("[\\]]", "]"),
            ("[ab", "a"),
            ("**a", "ba"),
            ("\\", "\\"),
            ("*[0-9]", "key:7"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes(), false), "{pattern} {text}");
        }
        let no = [
            ("", "a"),
            ("a", ""),
            ("a?c", "ac"),
            ("[^b]x", "bx"),
            ("a*c", "ab"),
            ("h\\*llo", "hello"),
            ("?", ""),
            ("[a-c]", "d"),
            ("ab", "a"),
        ];
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes(), false), "{pattern} {text}");
        }
    }

    #[test]
    fn case_is_ignored_on_demand() {
        assert!(matches(b"MAX*[A-C]", b"maxclb", true));
        assert!(!matches(b"MAX*", b"maxclients", false));
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        let pattern = b"a*".repeat(40);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &[b'a'; 2000], false));
    }
}
