//! What the command table says of a command.

use super::{Call, CommandError};

/// Runs a command: reads arguments from the call, works on its transaction, appends to its reply. An error takes back what it appended
/// and wrote. May be run again from the start when a record had to be fetched from disk, so it has no effect outside the call.
pub type Handler = fn(&mut Call<'_, '_>) -> Result<(), CommandError>;

/// A command, as data. Containers (CLIENT, CONFIG …) have a row for each subcommand, whose names are joined by `|`.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Lower-case name; `client|list` for a subcommand.
    pub name: &'static str,
    /// Number of arguments, the name (both words of a subcommand) included; negative: at least that many.
    pub arity: i32,
    /// What it does.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: Keys,
    /// Family, as COMMAND DOCS groups them.
    pub group: Group,
    /// First Redis version that had it.
    pub since: &'static str,
    /// Complexity, as COMMAND DOCS gives it.
    pub complexity: &'static str,
    /// One line for COMMAND DOCS and docs/commands.md, in our own words.
    pub summary: &'static str,
    /// Runs it.
    pub handler: Handler,
}

impl Spec {
    /// Whether its reply may tell of more than the keys it names.
    #[must_use]
    pub fn tells_of_all(&self) -> bool {
        let is_on_data = self.flags.has(Flags::READONLY) || self.flags.has(Flags::WRITE);
        is_on_data && !matches!(self.keys, Keys::Range { .. })
    }
}

/// Where the keys of a command are among its arguments (the name is argument 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// It has none.
    None,
    /// From `first` to `last` (negative: from the end), every `step`-th argument.
    Range {
        /// First key.
        first: i32,
        /// Last key; -1 is the last argument.
        last: i32,
        /// Distance between keys.
        step: i32,
    },
    /// It works on whole databases: all stripes are locked.
    All,
}

/// Families of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Connection management.
    Connection,
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Bitmaps.
    Bitmap,
    /// MULTI and its kin.
    Transactions,
    /// Publish and subscribe.
    PubSub,
    /// Server management.
    Server,
}

/// Properties of a command, one bit each; Redis's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// May change data: its stripes are locked exclusively.
    pub const WRITE: Self = Self(1);
    /// Reads data.
    pub const READONLY: Self = Self(1 << 1);
    /// May grow the data set: refused when out of space.
    pub const DENYOOM: Self = Self(1 << 2);
    /// Administration.
    pub const ADMIN: Self = Self(1 << 3);
    /// Publish and subscribe.
    pub const PUBSUB: Self = Self(1 << 4);
    /// Not allowed in a transaction.
    pub const NO_MULTI: Self = Self(1 << 5);
    /// Answers in constant or logarithmic time.
    pub const FAST: Self = Self(1 << 6);
    /// Allowed before AUTH.
    pub const NO_AUTH: Self = Self(1 << 7);
    /// Not shown by MONITOR and the slow log.
    pub const SKIP_MONITOR: Self = Self(1 << 8);
    /// Executed at once inside MULTI instead of queued (EXEC, DISCARD, WATCH, MULTI, QUIT, RESET).
    pub const NOT_QUEUED: Self = Self(1 << 9);
    /// Allowed while loading.
    pub const LOADING: Self = Self(1 << 10);
    /// Allowed on a RESP2 connection in subscribed state.
    pub const WHILE_SUBSCRIBED: Self = Self(1 << 11);
    /// Allowed on a replica without a link to its primary that is not to serve stale data. What is allowed while loading is so too.
    pub const STALE: Self = Self(1 << 12);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it answers without data that may be stale.
    #[must_use]
    pub const fn allows_stale(self) -> bool {
        self.has(Self::LOADING) || self.has(Self::STALE)
    }

    /// Whether all of `other` is in the set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
