//! MONITOR: clients that are shown every command.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::command::Gates;
use crate::config::quoted;
use crate::net::Client;

/// The clients that asked for it.
#[derive(Debug, Default)]
pub struct Monitors(RwLock<Vec<Arc<Client>>>);

impl Monitors {
    /// Adds a client, once.
    pub fn add(&self, client: &Arc<Client>) {
        let mut clients = self.0.write();
        if !clients.iter().any(|c| c.id == client.id) {
            clients.push(client.clone());
        }
    }

    /// Removes a client that left or reset its connection; true if nobody is left.
    pub fn remove(&self, id: u64) -> bool {
        let mut clients = self.0.write();
        clients.retain(|c| c.id != id);
        clients.is_empty()
    }

    /// Removes a client, and closes the gate behind the last one.
    pub fn leave(&self, id: u64, gates: &Gates) {
        if gates.has(Gates::MONITORS) && self.remove(id) {
            gates.set(Gates::MONITORS, false);
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    /// Shows a command of `client`, which runs in database `db` at `unix_micros`, to all.
    pub fn show(&self, unix_micros: i64, db: u8, client: &Client, args: &[&[u8]]) {
        let line: Arc<[u8]> = line(unix_micros, db, &client.address, args).into_bytes().into();
        for monitor in self.0.read().iter() {
            monitor.post(line.clone());
        }
    }
}

fn line(unix_micros: i64, db: u8, address: &str, args: &[&[u8]]) -> String {
    let mut text = format!("+{}.{:06} [{db} {address}]", unix_micros / 1_000_000, unix_micros % 1_000_000);
    for arg in args {
        text.push(' ');
        text.push_str(&quoted(arg));
    }
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_looks_as_in_redis() {
        let shown = line(1_700_000_000_000_042, 3, "127.0.0.1:5000", &[b"set", b"k", b"a\"\n\x01"]);
        assert_eq!(shown, "+1700000000.000042 [3 127.0.0.1:5000] \"set\" \"k\" \"a\\\"\\n\\x01\"\r\n");
    }
}
