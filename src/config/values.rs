//! The canonical text of every directive's value.

use super::directive::{directive, directives, number_of};
use super::table::CORES;

/// One text a directive, by the directive's number.
#[derive(Debug, Clone)]
pub struct Values(Vec<String>);

impl Values {
    /// All defaults.
    #[must_use]
    pub fn defaults() -> Self {
        Self(directives().map(|d| default_of(d.default)).collect())
    }

    /// The value of directive `number`.
    #[must_use]
    pub fn get(&self, number: usize) -> &str {
        &self.0[number]
    }

    /// Whether directive `number` has its default.
    #[must_use]
    pub fn is_default(&self, number: usize) -> bool {
        self.0[number] == default_of(directive(number).default)
    }

    /// Checks the words and makes them the value of directive `number`.
    ///
    /// # Errors
    /// The reason of the refusal, in Redis's words.
    pub fn set(&mut self, number: usize, words: &[&str]) -> Result<(), String> {
        self.0[number] = directive(number).kind.canonical(&self.0[number], words)?;
        Ok(())
    }

    /// The value of the directive of this name, which stands in the table.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        let number = number_of(name);
        debug_assert!(number.is_some(), "no directive {name}");
        number.map_or("", |n| self.get(n))
    }

    /// The same as a whole number; 0 for what is none.
    #[must_use]
    pub fn integer(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// The same as a number of bytes.
    #[must_use]
    pub fn bytes(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// The same as a truth value.
    #[must_use]
    pub fn yes(&self, name: &str) -> bool {
        self.text(name) == "yes"
    }
}

fn default_of(text: &str) -> String {
    if text == CORES { std::thread::available_parallelism().map_or(1, |n| n.get().min(128)).to_string() } else { text.to_owned() }
}
