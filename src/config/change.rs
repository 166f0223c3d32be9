//! CONFIG GET and CONFIG SET.

use std::collections::BTreeSet;

use super::directive::{directive, directives, number_of};
use super::{Config, Values, open_files};

/// Why CONFIG SET was refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no such directive.
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// The directive cannot have this value, or not now.
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Refused {
        /// The directive as the client wrote it.
        name: String,
        /// The reason.
        reason: String,
    },
}

impl Config {
    /// The directives that match any of the patterns, with their values, in the order of the table.
    #[must_use]
    pub fn matching(&self, patterns: &[&[u8]]) -> Vec<(&'static str, String)> {
        let wanted = |name: &str| patterns.iter().any(|p| esker_storage::glob::matches(p, name.as_bytes(), true));
        let values = self.values.read();
        let mut found = Vec::new();
        for (number, row) in directives().enumerate().filter(|(_, row)| !row.repeated) {
            for name in [Some(row.name), row.alias].into_iter().flatten().filter(|name| wanted(name)) {
                found.push((name, shown(row.name, values.get(number))));
            }
        }
        found
    }

    /// Sets all of the pairs or none, and gives the names of the directives set.
    ///
    /// # Errors
    /// The first pair that is refused.
    pub fn set(&self, pairs: &[(&str, &str)]) -> Result<Vec<&'static str>, ChangeError> {
        let numbers = self.changeable(pairs)?;
        let mut values = self.values.write();
        let mut changed = values.clone();
        for (number, (name, value)) in numbers.iter().zip(pairs) {
            set_one(&mut changed, *number, value).map_err(|reason| ChangeError::Refused { name: (*name).to_owned(), reason })?;
        }
        *values = changed;
        self.hot.refresh(&values);
        Ok(numbers.iter().map(|n| directive(*n).name).collect())
    }

    fn changeable(&self, pairs: &[(&str, &str)]) -> Result<Vec<usize>, ChangeError> {
        let mut seen = BTreeSet::new();
        let mut numbers = Vec::new();
        for (name, _) in pairs {
            let refused = |reason: &str| ChangeError::Refused { name: (*name).to_owned(), reason: reason.to_owned() };
            let number = number_of(name).filter(|n| !directive(*n).repeated).ok_or_else(|| ChangeError::Unknown((*name).to_owned()))?;
            if !directive(number).mutable {
                return Err(refused("can't set immutable config"));
            }
            if !seen.insert(number) {
                return Err(refused("duplicate parameter"));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }
}

fn set_one(values: &mut Values, number: usize, value: &str) -> Result<(), String> {
    if directive(number).name == "maxclients" {
        values.set(number, &[value])?;
        return open_files::enough_for(values.bytes("maxclients"));
    }
    if directive(number).kind.takes_words() {
        values.set(number, &value.split_ascii_whitespace().collect::<Vec<_>>())
    } else {
        values.set(number, &[value])
    }
}

/// The data directory is shown absolute, as Redis does.
fn shown(name: &str, value: &str) -> String {
    match name {
        "dir" => std::path::absolute(value).map_or_else(|_| value.to_owned(), |p| p.display().to_string()),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
mod tests {
    use super::*;

    fn refusal(pairs: &[(&str, &str)]) -> String {
        Config::default().set(pairs).unwrap_err().to_string()
    }

    #[test]
    fn all_of_a_set_is_taken_or_nothing() {
        let config = Config::default();
        assert!(config.set(&[("timeout", "7"), ("loglevel", "chatty")]).is_err());
        assert_eq!(config.hot().timeout(), 0);
        assert_eq!(config.set(&[("TIMEOUT", "7"), ("loglevel", "Debug")]).unwrap(), ["timeout", "loglevel"]);
        assert_eq!((config.hot().timeout(), config.text("loglevel").as_str()), (7, "debug"));
    }

    #[test]
    fn refusals_are_worded_as_in_redis() {
        let failed = |name: &str, reason: &str| format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}");
        assert_eq!(refusal(&[("foo", "1")]), "ERR Unknown option or number of arguments for CONFIG SET - 'foo'");
        assert_eq!(refusal(&[("user", "default on")]), "ERR Unknown option or number of arguments for CONFIG SET - 'user'");
        assert_eq!(refusal(&[("dir", "/")]), failed("dir", "can't set immutable config"));
        assert_eq!(refusal(&[("maxmemory", "1k"), ("maxmemory", "2k")]), failed("maxmemory", "duplicate parameter"));
        assert_eq!(refusal(&[("slave-priority", "1"), ("replica-priority", "2")]), failed("replica-priority", "duplicate parameter"));
        assert_eq!(refusal(&[("maxclients", "0")]), failed("maxclients", "argument must be between 1 and 4294967295 inclusive"));
        assert!(refusal(&[("maxclients", "4294967295")]).contains("operating system"));
    }

    #[test]
    fn patterns_find_names_and_former_names() {
        let config = Config::default();
        config.set(&[("slave-priority", "7")]).unwrap();
        let names =
            |pattern: &[u8]| config.matching(&[pattern]).into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        assert_eq!(names(b"*-PRIORITY"), ["replica-priority=7", "slave-priority=7"]);
        assert_eq!(names(b"slave-priority"), ["slave-priority=7"]);
        assert!(names(b"nothing").is_empty());
        assert!(names(b"include").is_empty() && names(b"rename-command").is_empty());
        assert_eq!(config.matching(&[b"timeout", b"time*", b"TIMEOUT"]).len(), 1);
    }
}
