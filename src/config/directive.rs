//! A row of the directive table, and the ways to look one up.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::Kind;
use super::accepted::ACCEPTED;
use super::table::USED;

/// Whether a directive does something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It does; the text says what, for docs/operations.md.
    Used(&'static str),
    /// Accepted so that an existing redis.conf starts; the text says why it does nothing.
    Accepted(&'static str),
    /// It does, and is not documented: for tests.
    Hidden,
}

/// One directive.
#[derive(Debug, Clone, Copy)]
pub struct Directive {
    /// Its name.
    pub name: &'static str,
    /// Its former name, shown by CONFIG GET too.
    pub alias: Option<&'static str>,
    /// What its value may be.
    pub kind: Kind,
    /// The canonical default.
    pub default: &'static str,
    /// Whether CONFIG SET may change it.
    pub mutable: bool,
    /// Whether a file may give it several times with all of them counting, each kept as it is by CONFIG REWRITE, and CONFIG GET does
    /// not know it (`include`, `user`, `rename-command` …).
    pub repeated: bool,
    /// Whether it does something here.
    pub meaning: Meaning,
}

impl Directive {
    /// A directive with a meaning, changeable at run time.
    #[must_use]
    pub const fn used(name: &'static str, kind: Kind, default: &'static str, what: &'static str) -> Self {
        Self { name, alias: None, kind, default, mutable: true, repeated: false, meaning: Meaning::Used(what) }
    }

    /// A directive without a meaning here.
    #[must_use]
    pub const fn accepted(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Self {
        Self { name, alias: None, kind, default, mutable: true, repeated: false, meaning: Meaning::Accepted(why) }
    }

    /// The same, not changeable at run time.
    #[must_use]
    pub const fn fixed(mut self) -> Self {
        self.mutable = false;
        self
    }

    /// The same, with a former name.
    #[must_use]
    pub const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// The same, as a directive that may be repeated and has no value of its own.
    #[must_use]
    pub const fn repeated(mut self) -> Self {
        self.repeated = true;
        self.mutable = false;
        self
    }

    /// The same, undocumented.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.meaning = Meaning::Hidden;
        self
    }
}

/// All directives; a directive's place here is its number.
pub fn directives() -> impl Iterator<Item = &'static Directive> {
    USED.iter().chain(ACCEPTED)
}

/// The number of a directive by name or alias, in any case.
#[must_use]
pub fn number_of(name: &str) -> Option<usize> {
    static BY_NAME: OnceLock<HashMap<&'static str, usize>> = OnceLock::new();
    let names = BY_NAME.get_or_init(|| {
        let numbered = directives().enumerate();
        numbered.flat_map(|(number, d)| [Some(d.name), d.alias].into_iter().flatten().map(move |name| (name, number))).collect()
    });
    names.get(name.to_ascii_lowercase().as_str()).copied()
}

/// The directive with this number.
#[must_use]
pub fn directive(number: usize) -> &'static Directive {
    USED.get(number).unwrap_or_else(|| &ACCEPTED[number - USED.len()])
}
