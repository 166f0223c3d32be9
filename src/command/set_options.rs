//! The options of SET and GETEX, and their expiry times.

use esker_storage::types::UnixMillis;

use super::{CommandError, parse_integer};

/// An expiry as a client states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry<'a> {
    text: &'a [u8],
    unit: Unit,
    absolute: bool,
}

/// The unit of an expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// EX, EXAT.
    Seconds,
    /// PX, PXAT.
    Milliseconds,
}

impl<'a> Expiry<'a> {
    /// An expiry counted from now, as SETEX and PSETEX take it.
    pub(super) fn relative(text: &'a [u8], unit: Unit) -> Self {
        Self { text, unit, absolute: false }
    }

    /// Whether it is a point in time (EXAT, PXAT) and not a span.
    pub(super) fn is_absolute(self) -> bool {
        self.absolute
    }

    /// The point in time. `command` is for the error text.
    pub(super) fn resolve(self, now: UnixMillis, command: &'static str) -> Result<UnixMillis, CommandError> {
        let value = parse_integer(self.text).ok_or(CommandError::NotInteger)?;
        let factor = if self.unit == Unit::Seconds { 1000 } else { 1 };
        let base = if self.absolute { 0 } else { now.0 };
        let at = if value > 0 { value.checked_mul(factor).and_then(|ms| ms.checked_add(base)) } else { None };
        at.map(UnixMillis).ok_or(CommandError::InvalidExpire(command))
    }
}

/// When SET may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Condition {
    /// Whether the key exists or not.
    #[default]
    Always,
    /// NX.
    Absent,
    /// XX.
    Present,
}

/// What SET was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SetOptions<'a> {
    /// NX, XX or neither.
    pub condition: Condition,
    /// GET: reply with the old value.
    pub get: bool,
    /// KEEPTTL.
    pub keep_ttl: bool,
    /// EX, PX, EXAT or PXAT.
    pub expiry: Option<Expiry<'a>>,
}

/// What GETEX does to the expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GetexOption<'a> {
    /// Nothing.
    None,
    /// PERSIST.
    Persist,
    /// EX, PX, EXAT or PXAT.
    Expire(Expiry<'a>),
}

/// The options of SET; `args` starts after the value.
pub(super) fn parse_set<'a>(args: &[&'a [u8]]) -> Result<SetOptions<'a>, CommandError> {
    let mut options = SetOptions::default();
    let mut rest = args;
    while let [name, tail @ ..] = rest {
        rest = tail;
        if name.eq_ignore_ascii_case(b"NX") && options.condition != Condition::Present {
            options.condition = Condition::Absent;
        } else if name.eq_ignore_ascii_case(b"XX") && options.condition != Condition::Absent {
            options.condition = Condition::Present;
        } else if name.eq_ignore_ascii_case(b"GET") {
            options.get = true;
        } else if name.eq_ignore_ascii_case(b"KEEPTTL") && options.expiry.is_none() {
            options.keep_ttl = true;
        } else if !options.keep_ttl {
            options.expiry = Some(parse_expiry(name, &mut rest, options.expiry)?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

/// The options of GETEX; `args` starts after the key.
pub(super) fn parse_getex<'a>(args: &[&'a [u8]]) -> Result<GetexOption<'a>, CommandError> {
    let mut option = GetexOption::None;
    let mut rest = args;
    while let [name, tail @ ..] = rest {
        rest = tail;
        option = match option {
            GetexOption::None | GetexOption::Persist if name.eq_ignore_ascii_case(b"PERSIST") => GetexOption::Persist,
            GetexOption::None => GetexOption::Expire(parse_expiry(name, &mut rest, None)?),
            GetexOption::Expire(before) => GetexOption::Expire(parse_expiry(name, &mut rest, Some(before))?),
            GetexOption::Persist => return Err(CommandError::Syntax),
        };
    }
    Ok(option)
}

/// One of EX, PX, EXAT, PXAT with its argument. The same one may be given again, as in Redis; the last counts.
fn parse_expiry<'a>(name: &[u8], rest: &mut &[&'a [u8]], before: Option<Expiry<'a>>) -> Result<Expiry<'a>, CommandError> {
    let (unit, absolute) = match name.to_ascii_uppercase().as_slice() {
        b"EX" => (Unit::Seconds, false),
        b"PX" => (Unit::Milliseconds, false),
        b"EXAT" => (Unit::Seconds, true),
        b"PXAT" => (Unit::Milliseconds, true),
        _ => return Err(CommandError::Syntax),
    };
    if before.is_some_and(|b| b.unit != unit || b.absolute != absolute) {
        return Err(CommandError::Syntax);
    }
    let (text, tail) = rest.split_first().ok_or(CommandError::Syntax)?;
    *rest = tail;
    Ok(Expiry { text, unit, absolute })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(options: &'static str) -> Option<SetOptions<'static>> {
        let args: Vec<&[u8]> = options.split_whitespace().map(str::as_bytes).collect();
        parse_set(&args).ok()
    }

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        for bad in ["NX XX", "EX 1 PX 1", "KEEPTTL EX 1", "EX 1 KEEPTTL", "EX", "PERSIST", "EXAT 1 EX 1", "what"] {
            assert_eq!(set(bad), None, "{bad}");
        }
        for good in ["NX nx", "nx get", "EX 1 ex 2", "KEEPTTL KEEPTTL XX", ""] {
            assert!(set(good).is_some(), "{good}");
        }
    }

    #[test]
    fn expiry_times_outside_the_clock_are_refused() {
        let at = |text, unit, absolute| Expiry { text, unit, absolute }.resolve(UnixMillis(1_000), "set").ok();
        assert_eq!(at(b"2", Unit::Seconds, false), Some(UnixMillis(3_000)));
        assert_eq!(at(b"2", Unit::Milliseconds, true), Some(UnixMillis(2)));
        assert_eq!(at(b"0", Unit::Seconds, true), None);
        assert_eq!(at(b"-1", Unit::Milliseconds, true), None);
        assert_eq!(at(b"9223372036854775807", Unit::Milliseconds, false), None);
        assert_eq!(at(b"9223372036854775", Unit::Seconds, false), None);
        assert_eq!(at(b"9223372036854775", Unit::Seconds, true), Some(UnixMillis(9_223_372_036_854_775_000)));
    }
}
