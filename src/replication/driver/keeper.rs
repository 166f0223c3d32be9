//! The [`Ledger`] in its file, and what of it follows from the mode and from this node's part.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use esker_storage::fs::{Directory, RealDirectory};
use esker_storage::options::Role;
use esker_storage::types::{Lsn, NodeId};
use parking_lot::Mutex;

use super::dial::Target;
use crate::config::{FsyncMode, ReplicationMode};
use crate::replication::commit::Mode;
use crate::replication::ledger::Ledger;
use crate::server::Server;

/// The file, in the data directory.
const FILE: &str = "promises";
const TEMPORARY: &str = "promises.tmp";

/// Keeps the ledger.
#[derive(Default)]
pub struct Keeper {
    /// None: nothing is kept, in tests of what does not need it.
    root: Option<Arc<dyn Directory>>,
    ledger: Mutex<Ledger>,
}

impl Keeper {
    /// What a data directory keeps; nothing is written yet, as the directory may be another process's.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let root: Arc<dyn Directory> = Arc::new(RealDirectory::open(dir)?);
        let ledger = if root.exists(FILE)? { read(root.as_ref())? } else { Ledger::default() };
        Ok(Self { root: Some(root), ledger: Mutex::new(ledger) })
    }

    /// Whom to follow, where the options do not say so: who was handed this node's part.
    #[must_use]
    pub fn handed_to(&self) -> Option<(String, u16)> {
        self.ledger.lock().handed_to.clone()
    }

    /// As what the shard is to be opened, by a node that is configured to be a primary or not.
    #[must_use]
    pub fn role(&self, is_replica: bool) -> Role {
        let ledger = self.ledger.lock();
        match &self.root {
            _ if is_replica => Role::Replica,
            // No epoch begins: it would make this log look newer than those that have what it lacks.
            Some(root) if ledger.lacks_after(boot(root.as_ref())) => Role::Replica,
            _ if ledger.is_at_stake() => Role::PrimaryUnlessRebuilt,
            _ => Role::Primary,
        }
    }

    /// A run begins; `rebuilt`: the index had to be built again.
    pub(super) fn begin(&self, rebuilt: bool) {
        if let Some(root) = &self.root
            && *self.ledger.lock() != Ledger::default()
        {
            let boot = boot(root.as_ref());
            self.change(|ledger| ledger.begin(boot, rebuilt));
        }
    }

    /// The run has ended, and all that was written is on the medium.
    pub fn stopped(&self) {
        if self.ledger.lock().owes {
            self.change(|ledger| ledger.stopped = true);
        }
    }

    /// Whether something that was promised may be missing here.
    pub(super) fn may_lack(&self) -> bool {
        self.ledger.lock().may_lack
    }

    /// What is kept.
    pub(super) fn ledger(&self) -> Ledger {
        self.ledger.lock().clone()
    }

    /// Changes what is kept, durably; false if that failed, and then nothing is changed.
    pub(super) fn change(&self, change: impl FnOnce(&mut Ledger)) -> bool {
        let mut ledger = self.ledger.lock();
        let mut changed = ledger.clone();
        change(&mut changed);
        if changed == *ledger {
            return true;
        }
        if let Some(root) = &self.root {
            if changed.boot == 0 {
                changed.boot = boot(root.as_ref());
            }
            if let Err(error) = write(root.as_ref(), &changed) {
                tracing::error!("cannot write {}: {error}", root.path(FILE).display());
                return false;
            }
        }
        *ledger = changed;
        true
    }
}

fn boot(root: &dyn Directory) -> u128 {
    u128::from_be_bytes(root.boot_id())
}

fn read(root: &dyn Directory) -> io::Result<Ledger> {
    let file = root.open_read_only(FILE)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(0, &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let unreadable = |error| {
        let path = root.path(FILE);
        let text = format!("{}: {error}; without it the server takes its data as it is, whatever it promised", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    Ledger::decode(&text).map_err(unreadable)
}

fn write(root: &dyn Directory, ledger: &Ledger) -> io::Result<()> {
    let text = ledger.encode();
    let file = root.create(TEMPORARY)?;
    file.allocate(0, text.len() as u64)?;
    file.write_at(0, text.as_bytes())?;
    file.sync_all()?;
    root.rename(TEMPORARY, FILE)?;
    root.sync()
}

/// Whether what this node acknowledges may be on no medium of its own.
fn owes(server: &Server) -> bool {
    let hot = server.config.hot();
    // A replica acknowledges what is in its log, whatever its own appendfsync.
    let flushes_first = server.links.is_primary() && hot.fsync() == FsyncMode::Always;
    hot.replication_mode() == ReplicationMode::SemiSync && !flushes_first
}

/// Notes what this node owes, before it acknowledges anything on those terms.
pub(super) fn note_debts(server: &Server) {
    let (keeper, owes) = (&server.links.keeper, owes(server));
    if keeper.ledger().owes == owes {
        return;
    }
    // What was acknowledged on the old terms is owed until it is flushed.
    if !owes && let Err(error) = server.shard().flush_log() {
        return tracing::warn!("what was promised in semi-sync is not flushed: {error}");
    }
    keeper.change(|ledger| ledger.owes = owes);
}

/// The in-sync set that this node has to wait for. None of a replica, and none in another mode than `sync`: whoever changes that gives up
/// what the set was good for.
pub(super) fn members(server: &Server, mode: Mode) -> BTreeSet<NodeId> {
    let keeper = &server.links.keeper;
    if !mode.has_members() || server.config.replicaof().is_some() {
        keeper.change(|ledger| ledger.members.clear());
    }
    keeper.ledger().members
}

/// Keeps, before anybody is told to take over, who that is; false if that cannot be kept.
pub(super) fn hand_to(server: &Server, target: &Target) -> bool {
    let is_one_word = !target.host.is_empty() && !target.host.contains(|letter: char| letter.is_whitespace() || letter.is_control());
    is_one_word && server.links.keeper.change(|ledger| ledger.handed_to = Some((target.host.clone(), target.port)))
}

/// An operator, or a failover, says what this node is: a part that was handed to somebody else before is no matter any more.
pub(super) fn ordered(server: &Server, target: Option<&Target>) {
    let same = |(host, port): &(String, u16)| target.is_some_and(|target| target.host == *host && target.port == *port);
    server.links.keeper.change(|ledger| ledger.handed_to = ledger.handed_to.take().filter(same));
}

/// Tells the rest of the server whether this node may lack what was promised.
pub(super) fn tell(server: &Server) {
    let may_lack = server.links.keeper.may_lack();
    server.update_replication(|status| status.may_lack = may_lack);
}

/// Nothing is missing any more, or an operator takes the data as it is.
pub(super) fn forgive(server: &Server, why: &str) {
    if server.links.keeper.may_lack() && server.links.keeper.change(|ledger| ledger.may_lack = false) {
        tracing::warn!("this node lost power, and does not count as lacking what it promised any more: {why}");
        tell(server);
    }
}

/// This replica's log goes up to `written`, and its primary has said that `committed` is promised: what it acknowledged before it lost
/// power, and what counted, is there again.
pub(super) fn caught_up(server: &Server, written: Lsn, committed: Lsn) {
    if committed > Lsn(0) && written >= committed && server.links.keeper.may_lack() {
        forgive(server, "it has all that its primary has promised");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = Keeper::open(dir.path()).unwrap();
        keeper.begin(true);
        assert!(!dir.path().join(FILE).exists(), "nothing was promised");
        assert!(keeper.change(|ledger| ledger.owes = true));
        let again = Keeper::open(dir.path()).unwrap();
        assert_eq!((again.role(false), again.role(true)), (Role::PrimaryUnlessRebuilt, Role::Replica));
        again.begin(false);
        assert!(!again.may_lack(), "it was killed");
        again.begin(true);
        assert!(again.may_lack());
        again.stopped();
        let waiting = Keeper::open(dir.path()).unwrap();
        assert_eq!(waiting.role(false), Role::Replica);
        waiting.change(|ledger| ledger.may_lack = false);
        assert_eq!(Keeper::open(dir.path()).unwrap().role(false), Role::Primary, "it was stopped");
    }

    #[test]
    fn a_damaged_file_is_told_and_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "esker promises 1\nboot 0").unwrap();
        let error = Keeper::open(dir.path()).err().unwrap();
        assert!(error.to_string().contains("promises: it is damaged"), "{error}");
    }
}
