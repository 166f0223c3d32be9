//! Keyspace events: their classes, and what a lookup or a new key reports.

use super::Call;
pub use crate::pubsub::class::{GENERIC, KEY_MISS, NEW, STRING};

impl Call<'_, '_> {
    /// Reports that a key which a command wanted to read was there, or was not.
    pub(super) fn looked_up(&mut self, key: &[u8], found: bool) {
        if found {
            self.counters.hits(1);
        } else {
            self.counters.misses(1);
            self.notify(KEY_MISS, "keymiss", key);
        }
    }

    /// Reports a key that did not exist before this command. Comes before the event of the command itself.
    pub(super) fn created(&mut self, key: &[u8]) {
        self.notify(NEW, "new", key);
    }
}
