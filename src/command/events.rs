//! Keyspace events: their classes, and what a lookup or a new key reports.

use super::Call;

/// `g`: commands of no particular type (DEL, EXPIRE, RENAME …).
pub const GENERIC: u32 = 1 << 2;
/// `$`: string commands.
pub const STRING: u32 = 1 << 3;
/// `m`: a key that was to be read does not exist.
pub const KEY_MISS: u32 = 1 << 11;
/// `n`: a key was created.
pub const NEW: u32 = 1 << 14;

impl Call<'_, '_> {
    /// Reports that a key which a command wanted to read was there, or was not.
    pub(super) fn looked_up(&mut self, key: &[u8], found: bool) {
        if !found {
            self.notify(KEY_MISS, "keymiss", key);
        }
    }

    /// Reports a key that did not exist before this command. Comes before the event of the command itself.
    pub(super) fn created(&mut self, key: &[u8]) {
        self.notify(NEW, "new", key);
    }
}
