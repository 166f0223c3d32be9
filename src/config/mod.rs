//! Configuration: the table of directives, the command line and the files, CONFIG GET, SET and REWRITE.

mod accepted;
mod change;
mod directive;
mod hot;
mod kind;
mod load;
mod open_files;
mod output_limit;
pub mod reference;
mod replication;
mod retention;
mod rewrite;
mod special;
mod split;
mod table;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_storage::options::{MAX_SEGMENT_SIZE, Options};
use parking_lot::RwLock;

pub use change::ChangeError;
pub use directive::{Directive, Meaning, directives};
pub use hot::{FsyncMode, Hot, LogLevel, ReplicationMode};
pub use kind::{Kind, parse_memory};
pub use load::{Invocation, LoadError, Loaded, from_command_line, version};
pub use output_limit::{ClientClass, OutputLimit, OutputLimits};
pub use retention::parse_retention;
pub use rewrite::RewriteError;
pub use split::{quoted, split_args};
pub use table::EVICTION_POLICIES;
pub use values::Values;

/// The version of Redis whose commands, replies and settings Esker follows.
pub const REDIS_VERSION: &str = "7.0.15";

/// The server's configuration.
#[derive(Debug)]
pub struct Config {
    values: RwLock<Values>,
    hot: Hot,
    file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self::new(Values::defaults(), None)
    }
}

impl Config {
    /// A configuration of these values, read from `file` if there was one.
    #[must_use]
    pub fn new(values: Values, file: Option<PathBuf>) -> Self {
        let hot = Hot::default();
        hot.refresh(&values);
        Self { values: RwLock::new(values), hot, file }
    }

    /// The values that hot paths read.
    #[must_use]
    pub fn hot(&self) -> &Hot {
        &self.hot
    }

    /// The file given on the command line, absolute.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The canonical text of a directive.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.values.read().text(name).to_owned()
    }

    /// A directive that is a whole number.
    #[must_use]
    pub fn integer(&self, name: &str) -> i64 {
        self.values.read().integer(name)
    }

    /// A directive that is a number of bytes.
    #[must_use]
    pub fn bytes(&self, name: &str) -> u64 {
        self.values.read().bytes(name)
    }

    /// The port to listen on; 0: none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.integer("port") as u16
    }

    /// The addresses to listen on, each with whether it may be missing on this machine. `*` is every IPv4 address, `::*` every IPv6 one.
    #[must_use]
    pub fn bind(&self) -> Vec<(String, bool)> {
        let text = self.text("bind");
        let address = |word: &str| word.strip_prefix('-').map_or_else(|| (word.to_owned(), false), |rest| (rest.to_owned(), true));
        text.split_ascii_whitespace().map(address).collect()
    }

    /// The data directory, as given.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        PathBuf::from(self.text("dir"))
    }

    /// Bytes of a log segment: as set, or what suits the limits of disk, data and memory.
    #[must_use]
    pub fn segment_size(&self) -> u64 {
        let suits = |limit: u64, size: fn(u64) -> u32| if limit == 0 { MAX_SEGMENT_SIZE } else { size(limit) };
        match self.bytes("segment-size") {
            0 => {
                let (disk, data) = (self.bytes("maxdisk"), self.bytes("maxmemory"));
                let of_files = suits(disk, Options::segment_size_for).min(suits(data, Options::segment_size_for_data));
                of_files.min(Options::segment_size_within(self.memory_limit())).into()
            }
            given => given,
        }
    }

    /// Bytes of memory that index, populated pages and the server itself may take together.
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        crate::observe::memory_limit(&self.text("memory-limit"))
    }

    /// Number of workers.
    #[must_use]
    pub fn io_threads(&self) -> usize {
        self.integer("io-threads").max(1) as usize
    }

    /// Number of databases.
    #[must_use]
    pub fn databases(&self) -> u8 {
        self.integer("databases") as u8
    }

    /// The file that messages go to, if not standard output.
    #[must_use]
    pub fn logfile(&self) -> Option<PathBuf> {
        Some(self.text("logfile")).filter(|f| !f.is_empty()).map(PathBuf::from)
    }

    /// The file that holds the process id.
    #[must_use]
    pub fn pidfile(&self) -> Option<PathBuf> {
        Some(self.text("pidfile")).filter(|f| !f.is_empty()).map(PathBuf::from)
    }

    /// The password that clients must give.
    #[must_use]
    pub fn password(&self) -> Option<Arc<[u8]>> {
        self.hot.password()
    }
}
