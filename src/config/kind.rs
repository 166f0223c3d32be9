//! What a directive's value may be: checked text in, canonical text out. Texts of the refusals are Redis's.

/// Checks the words of a special directive against its former value; gives the canonical text or the reason of the refusal.
pub type Check = fn(former: &str, words: &[&str]) -> Result<String, String>;

/// The kinds of values.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A whole number within bounds, both included.
    Integer {
        /// Lowest.
        min: i64,
        /// Highest.
        max: i64,
    },
    /// Bytes, with Redis's units (`k` is 1000, `kb` 1024 and so on), within bounds.
    Memory {
        /// Lowest.
        min: u64,
        /// Highest.
        max: u64,
    },
    /// Bytes as above, or a percentage.
    MemoryOrPercent,
    /// File permissions in octal.
    Octal,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// Any text.
    Text,
    /// Several words, joined by spaces, unchecked.
    Words,
    /// Several words with their own check.
    Special(Check),
}

impl Kind {
    /// Any `i64` from 0 on.
    pub const COUNT: Self = Self::Integer { min: 0, max: i64::MAX };
    /// Any `i32` from 0 on.
    pub const SMALL: Self = Self::Integer { min: 0, max: i32::MAX as i64 };
    /// A TCP port or 0.
    pub const PORT: Self = Self::Integer { min: 0, max: 65535 };
    /// Any number of bytes.
    pub const BYTES: Self = Self::Memory { min: 0, max: i64::MAX as u64 };

    /// Whether it takes several words (one only, otherwise).
    #[must_use]
    pub fn takes_words(self) -> bool {
        matches!(self, Self::Words | Self::Special(_))
    }

    /// Checks `words` and makes them canonical, as CONFIG GET shows them.
    ///
    /// # Errors
    /// The reason of the refusal, in Redis's words.
    pub fn canonical(self, former: &str, words: &[&str]) -> Result<String, String> {
        if let Self::Special(check) = self {
            return check(former, words);
        }
        if let Self::Words = self {
            return Ok(words.join(" "));
        }
        let [word] = words else { return Err("wrong number of arguments".to_owned()) };
        match self {
            Self::Bool => boolean(word).map(|b| if b { "yes" } else { "no" }.to_owned()),
            Self::Integer { min, max } => integer(word, min, max).map(|n| n.to_string()),
            Self::Memory { min, max } => memory(word, min, max).map(|n| n.to_string()),
            Self::MemoryOrPercent => memory_or_percent(word),
            Self::Octal => octal(word),
            Self::Enum(names) => one_of(word, names).map(str::to_owned),
            Self::Text | Self::Words | Self::Special(_) => Ok((*word).to_owned()),
        }
    }
}

fn boolean(word: &str) -> Result<bool, String> {
    if word.eq_ignore_ascii_case("yes") {
        Ok(true)
    } else if word.eq_ignore_ascii_case("no") {
        Ok(false)
    } else {
        Err("argument must be 'yes' or 'no'".to_owned())
    }
}

fn integer(word: &str, min: i64, max: i64) -> Result<i64, String> {
    let n = crate::command::parse_integer(word.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
    if (min..=max).contains(&n) { Ok(n) } else { Err(format!("argument must be between {min} and {max} inclusive")) }
}

fn memory(word: &str, min: u64, max: u64) -> Result<u64, String> {
    let n = parse_memory(word).ok_or("argument must be a memory value")?;
    if (min..=max).contains(&n) { Ok(n) } else { Err(format!("argument must be between {min} and {max} inclusive")) }
}

fn memory_or_percent(word: &str) -> Result<String, String> {
    let refusal = || "argument must be a memory or percent value".to_owned();
    match word.strip_suffix('%') {
        Some(percent) => match percent.parse::<u8>() {
            Ok(n @ 1..=100) => Ok(format!("{n}%")),
            _ => Err(refusal()),
        },
        None => parse_memory(word).map(|n| n.to_string()).ok_or_else(refusal),
    }
}

fn octal(word: &str) -> Result<String, String> {
    match u32::from_str_radix(word, 8) {
        Ok(bits) if bits <= 0o1777 => Ok(format!("{bits:o}")),
        Ok(_) => Err("argument must be between 0 and 1777 inclusive".to_owned()),
        Err(_) => Err("argument couldn't be parsed as an octal number".to_owned()),
    }
}

fn one_of(word: &str, names: &'static [&'static str]) -> Result<&'static str, String> {
    let found = names.iter().find(|name| name.eq_ignore_ascii_case(word));
    found.copied().ok_or_else(|| format!("argument(s) must be one of the following: {}", names.join(", ")))
}

/// A number of bytes with one of Redis's units, any case: none or `b`, `k` 1000, `kb` 1024, `m`, `mb`, `g`, `gb`.
#[must_use]
pub fn parse_memory(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn memory_units_are_those_of_redis() {
        for (text, bytes) in [("1", 1), ("1b", 1), ("1k", 1000), ("1KB", 1024), ("2m", 2_000_000), ("2Mb", 2 << 20), ("1gb", 1 << 30)] {
            assert_eq!(parse_memory(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "1q", "1.5mb", "-1", "99999999999gb"] {
            assert_eq!(parse_memory(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_made_canonical() {
        assert_eq!(Kind::Bool.canonical("", &["YES"]).unwrap(), "yes");
        assert_eq!(Kind::BYTES.canonical("", &["1mb"]).unwrap(), "1048576");
        assert_eq!(Kind::MemoryOrPercent.canonical("", &["80%"]).unwrap(), "80%");
        assert_eq!(Kind::Octal.canonical("", &["0700"]).unwrap(), "700");
        assert_eq!(Kind::Enum(&["no", "always"]).canonical("", &["Always"]).unwrap(), "always");
    }

    #[test]
    fn refusals_are_worded_as_in_redis() {
        let refusal = |kind: Kind, word: &str| kind.canonical("", &[word]).unwrap_err();
        assert_eq!(refusal(Kind::PORT, "70000"), "argument must be between 0 and 65535 inclusive");
        assert_eq!(refusal(Kind::PORT, "abc"), "argument couldn't be parsed into an integer");
        assert_eq!(refusal(Kind::Bool, "maybe"), "argument must be 'yes' or 'no'");
        assert_eq!(refusal(Kind::BYTES, "12q"), "argument must be a memory value");
        assert_eq!(refusal(Kind::Enum(&["a", "b"]), "c"), "argument(s) must be one of the following: a, b");
        assert_eq!(Kind::PORT.canonical("", &["1", "2"]).unwrap_err(), "wrong number of arguments");
    }
}
