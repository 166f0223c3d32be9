//! What happened, as a hash; and as text for whoever looks into a seed.

use std::fmt::Arguments;
use std::hash::{DefaultHasher, Hasher};

/// The events of a run.
pub(super) struct Trace {
    hasher: DefaultHasher,
    verbose: bool,
}

impl Trace {
    /// With `ESKER_TRACE` set each event is printed.
    pub(super) fn new() -> Self {
        Self { hasher: DefaultHasher::new(), verbose: std::env::var_os("ESKER_TRACE").is_some() }
    }

    pub(super) fn event(&mut self, at: u64, numbers: &[u64], bytes: &[u8], text: Arguments<'_>) {
        self.hasher.write_u64(at);
        numbers.iter().for_each(|number| self.hasher.write_u64(*number));
        self.hasher.write(bytes);
        if self.verbose {
            println!("{:>12.3} {text}", at as f64 / 1000.0);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}
