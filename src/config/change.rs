//! CONFIG GET and CONFIG SET.

use std::collections::BTreeSet;

use super::directive::{directive, directives, number_of};
use super::{Config, Values};

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
