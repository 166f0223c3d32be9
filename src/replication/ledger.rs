//! What a node must not forget of what it promised, whatever ends it: whether it may lack some of that, and which replicas are in sync.
//!
//! Invariants:
//! - A node that may lack what it promised does so until it has it again, or an operator takes it as it is: no restart changes that.
//! - It is a loss of power that takes what was promised, and not a kill: what a killed process has written is in the page cache.

use std::collections::BTreeSet;
use std::fmt::Write;

use esker_storage::types::NodeId;

/// First line of the text.
const HEAD: &str = "esker promises 1";

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The start of the machine in which it was written last.
    pub boot: u128,
    /// What this node acknowledges may be on no medium of its own.
    pub owes: bool,
    /// The last run ended by a clean stop: all of it is on the medium.
    pub stopped: bool,
    /// Something that was promised may be missing here.
    pub may_lack: bool,
    /// To whom a FAILOVER has handed this node's part, or is about to: host and port. Started again as a primary it would take writes beside
    /// that one.
    pub handed_to: Option<(String, u16)>,
    /// Of a primary: the replicas that are in sync.
    pub members: BTreeSet<NodeId>,
}

/// The text is none of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// It was changed, or cut.
    #[error("it is damaged")]
    Damaged,
    /// A later version wrote it.
    #[error("a later version wrote it")]
    Later,
}

impl Ledger {
    /// Whether a loss of power since the last run would have taken what was promised.
    #[must_use]
    pub fn is_at_stake(&self) -> bool {
        self.owes && !self.stopped
    }

    /// Whether something may be missing, when the machine was started as `boot`.
    #[must_use]
    pub fn lacks_after(&self, boot: u128) -> bool {
        self.may_lack || self.is_at_stake() && self.boot != boot
    }

    /// A run begins, in this start of the machine; `rebuilt`: the index did not fit what is on the disk.
    pub fn begin(&mut self, boot: u128, rebuilt: bool) {
        self.may_lack = self.lacks_after(boot) || self.is_at_stake() && rebuilt;
        (self.boot, self.stopped) = (boot, false);
    }

    /// The text that is kept.
    #[must_use]
    pub fn encode(&self) -> String {
        let word = |holds: bool| if holds { "yes" } else { "no" };
        let members: Vec<String> = self.members.iter().map(|node| format!("{:016x}", node.0)).collect();
        let (owes, stopped, may_lack) = (word(self.owes), word(self.stopped), word(self.may_lack));
        let mut text = format!("{HEAD}\nboot {:032x}\nowes {owes}\nstopped {stopped}\nmay-lack {may_lack}\n", self.boot);
        // Writing to a string does not fail.
        let handed_to = self.handed_to.as_ref().map(|(host, port)| format!("{host} {port}")).unwrap_or_default();
        let _ = writeln!(text, "handed-to {handed_to}\nmembers {}", members.join(","));
        let crc = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "crc32 {crc:08x}");
        text
    }

    /// Reads the text.
    ///
    /// # Errors
    /// It is not as [`encode`](Self::encode) writes it.
    pub fn decode(text: &str) -> Result<Self, LedgerError> {
        let (body, crc) = text.trim_end().rsplit_once("\ncrc32 ").ok_or(LedgerError::Damaged)?;
        let body = format!("{body}\n");
        if u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(body.as_bytes())) {
            return Err(LedgerError::Damaged);
        }
        let mut lines = body.lines();
        if lines.next() != Some(HEAD) {
            return Err(LedgerError::Later);
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
        let mut read = || {
            let boot = u128::from_str_radix(&field("boot")?, 16).ok()?;
            let mut yes = |name| Some(field(name)? == "yes");
            let (owes, stopped, may_lack) = (yes("owes")?, yes("stopped")?, yes("may-lack")?);
            let handed_to = match field("handed-to")?.rsplit_once(' ') {
                Some((host, port)) => Some((host.to_owned(), port.parse().ok()?)),
                None => None,
            };
            let members = field("members")?;
            let members = members.split(',').filter(|node| !node.is_empty());
            let members = members.map(|node| u64::from_str_radix(node, 16).map(NodeId)).collect::<Result<_, _>>().ok()?;
            Some(Self { boot, owes, stopped, may_lack, handed_to, members })
        };
        read().ok_or(LedgerError::Damaged)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn running(boot: u128) -> Ledger {
        Ledger { boot, owes: true, ..Ledger::default() }
    }

    #[test]
    fn power_takes_what_was_promised_and_neither_a_kill_nor_a_clean_stop_does() {
        let began = |ledger: &Ledger, boot, rebuilt| {
            let mut ledger = ledger.clone();
            ledger.begin(boot, rebuilt);
            ledger.may_lack
        };
        let killed = running(1);
        assert!(!began(&killed, 1, false), "the machine went on");
        assert!(began(&killed, 2, false) && began(&killed, 1, true) && began(&killed, 2, true));
        let stopped = Ledger { stopped: true, ..running(1) };
        assert!(!began(&stopped, 2, true), "all of it was flushed");
        let promised_nothing = Ledger { owes: false, ..running(1) };
        assert!(!began(&promised_nothing, 2, true));
    }

    #[test]
    fn a_restart_does_not_make_it_forget() {
        let mut ledger = running(1);
        ledger.begin(2, true);
        for stopped in [false, true] {
            ledger.stopped = stopped;
            ledger.begin(2, false);
            assert!(ledger.may_lack);
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let members = BTreeSet::from([NodeId(3), NodeId(u64::MAX)]);
        let handed_to = Some(("::1".to_owned(), 6379));
        let full = Ledger { boot: u128::MAX - 5, owes: true, stopped: true, may_lack: true, handed_to, members };
        for ledger in [full, Ledger::default()] {
            let text = ledger.encode();
            assert_eq!(Ledger::decode(&text), Ok(ledger));
            for cut in 0..text.len() - 1 {
                assert_eq!(Ledger::decode(&text[..cut]), Err(LedgerError::Damaged), "{cut}");
            }
            for at in 0..text.len() - 1 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1;
                assert!(Ledger::decode(std::str::from_utf8(&bytes).unwrap()).is_err(), "{at}");
            }
        }
        let later = "esker promises 2\nanything\n";
        let later = format!("{later}crc32 {:08x}\n", crc32fast::hash(later.as_bytes()));
        assert_eq!(Ledger::decode(&later), Err(LedgerError::Later));
    }
}
