//! The slow log: the newest commands that took longer than `slowlog-log-slower-than`.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Arguments kept of a command.
const ARGUMENTS: usize = 32;
/// Bytes kept of an argument.
const ARGUMENT_BYTES: usize = 128;

/// A slow command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number; never used twice, also after SLOWLOG RESET.
    pub id: u64,
    /// When it was executed, in seconds since the Unix epoch.
    pub unix_seconds: i64,
    /// How long it took.
    pub micros: u64,
    /// Its arguments, shortened.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub address: String,
    /// The client's name.
    pub client_name: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct SlowLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    entries: VecDeque<Entry>,
}

impl SlowLog {
    /// Adds a command and drops the oldest entries beyond `keep`.
    pub fn add(&self, args: &[&[u8]], unix_seconds: i64, micros: u64, address: &str, client_name: &[u8], keep: usize) {
        let mut state = self.0.lock();
        let id = state.next_id;
        state.next_id += 1;
        let (address, client_name) = (address.to_owned(), client_name.to_vec());
        state.entries.push_front(Entry { id, unix_seconds, micros, args: shortened(args), address, client_name });
        state.entries.truncate(keep);
    }

    /// The newest entries, the newest first.
    #[must_use]
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.0.lock().entries.iter().take(count).cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all.
    pub fn reset(&self) {
        self.0.lock().entries.clear();
    }
}

fn shortened(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let shown = if args.len() > ARGUMENTS { ARGUMENTS - 1 } else { args.len() };
    let mut kept: Vec<Vec<u8>> = args[..shown].iter().map(|arg| shortened_argument(arg)).collect();
    if shown < args.len() {
        kept.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    kept
}

fn shortened_argument(arg: &[u8]) -> Vec<u8> {
    let mut kept = arg[..arg.len().min(ARGUMENT_BYTES)].to_vec();
    if kept.len() < arg.len() {
        kept.extend_from_slice(format!("... ({} more bytes)", arg.len() - kept.len()).as_bytes());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_are_kept_and_numbers_go_on_after_a_reset() {
        let log = SlowLog::default();
        for i in 0..5 {
            log.add(&[b"get", b"k"], i, 7, "a", b"", 3);
        }
        assert_eq!(log.newest(10).iter().map(|e| e.id).collect::<Vec<_>>(), [4, 3, 2]);
        log.reset();
        assert!(log.is_empty());
        log.add(&[b"get"], 0, 7, "a", b"", 3);
        assert_eq!(log.newest(1)[0].id, 5);
    }

    #[test]
    fn long_commands_are_shortened_as_in_redis() {
        let long = [b'x'; 200];
        let args: Vec<&[u8]> = std::iter::once(&long[..]).chain((0..39).map(|_| &b"a"[..])).collect();
        let kept = shortened(&args);
        assert_eq!(kept.len(), 32);
        assert_eq!(kept[31], b"... (9 more arguments)");
        assert!(kept[0].ends_with(b"x... (72 more bytes)"));
        assert_eq!(shortened(&args[8..]).len(), 32);
    }
}
