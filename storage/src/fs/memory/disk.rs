//! What the files of one filesystem in memory share: its capacity and the faults that it is to show.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use rustix::io::Errno;

/// Stands for "no failure is planned".
const NEVER: u64 = u64::MAX;

/// Called before something becomes durable or a name changes, or before whatever changes a file.
pub(in crate::fs) type Hook = Arc<dyn Fn() + Send + Sync>;

/// The moments before which a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fs) enum Moments {
    /// Syncs, renames, removals and changes of a length.
    Steps,
    /// Those, and files being made, allocated, zeroed and written.
    Operations,
}

/// The medium.
pub(in crate::fs) struct Disk {
    tracked: bool,
    capacity: AtomicU64,
    used: AtomicU64,
    next_inode: AtomicU64,
    syncs: AtomicU64,
    /// Number of the sync that fails.
    failing_sync: AtomicU64,
    cold: AtomicBool,
    /// Reads that may wait fail.
    unreadable: AtomicBool,
    /// The start of the machine that the files were last written in.
    boot: [u8; 16],
    /// Held shared by whatever changes a file or a name, so that an image of all files is of one moment.
    changes: RwLock<()>,
    hook: Mutex<Option<(Hook, Moments)>>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("capacity", &self.capacity).field("used", &self.used).finish_non_exhaustive()
    }
}

impl Disk {
    pub(in crate::fs) fn new(tracked: bool) -> Arc<Self> {
        Self::in_boot(tracked, rand::random())
    }

    fn in_boot(tracked: bool, boot: [u8; 16]) -> Arc<Self> {
        Arc::new(Self {
            tracked,
            capacity: AtomicU64::new(1 << 40),
            used: AtomicU64::new(0),
            next_inode: AtomicU64::new(1),
            syncs: AtomicU64::new(0),
            failing_sync: AtomicU64::new(NEVER),
            cold: AtomicBool::new(false),
            unreadable: AtomicBool::new(false),
            boot,
            changes: RwLock::new(()),
            hook: Mutex::new(None),
        })
    }

    /// An empty disk of the same capacity, whose inodes continue those of this one; without its planned faults. After a power
    /// loss the machine has been started again.
    pub(in crate::fs) fn successor(&self, restarted: bool) -> Arc<Self> {
        let next = Self::in_boot(self.tracked, if restarted { rand::random() } else { self.boot });
        next.capacity.store(self.capacity.load(Ordering::SeqCst), Ordering::SeqCst);
        next.next_inode.store(self.next_inode.load(Ordering::SeqCst), Ordering::SeqCst);
        next
    }

    pub(in crate::fs) fn set_hook(&self, hook: Option<(Hook, Moments)>) {
        *self.hook.lock() = hook;
    }

    /// A change that alone makes nothing durable.
    pub(super) fn change(&self) -> RwLockReadGuard<'_, ()> {
        let hook = self.hook.lock().clone();
        if let Some((hook, Moments::Operations)) = hook {
            hook();
        }
        self.changes.read()
    }

    /// A sync, or a change of a name or a length: the hook sees the moment before it.
    pub(super) fn step(&self) -> RwLockReadGuard<'_, ()> {
        let hook = self.hook.lock().clone();
        if let Some((hook, _)) = hook {
            hook();
        }
        self.changes.read()
    }

    /// Nothing changes while this is held, but through mappings.
    pub(in crate::fs) fn hold_still(&self) -> RwLockWriteGuard<'_, ()> {
        self.changes.write()
    }

    pub(super) fn boot(&self) -> [u8; 16] {
        self.boot
    }

    /// Whether durable images are kept.
    pub(super) fn is_tracked(&self) -> bool {
        self.tracked
    }

    pub(super) fn next_inode(&self) -> u64 {
        self.next_inode.fetch_add(1, Ordering::SeqCst)
    }

    pub(in crate::fs) fn set_capacity(&self, bytes: u64) {
        self.capacity.store(bytes, Ordering::SeqCst);
    }

    pub(in crate::fs) fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    pub(super) fn free(&self) -> u64 {
        self.capacity.load(Ordering::SeqCst).saturating_sub(self.used())
    }

    /// Takes room, or fails as a full disk does.
    pub(super) fn take(&self, bytes: u64) -> io::Result<()> {
        let capacity = self.capacity.load(Ordering::SeqCst);
        let fits = |used: u64| used.checked_add(bytes).filter(|total| *total <= capacity);
        match self.used.try_update(Ordering::SeqCst, Ordering::SeqCst, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::NOSPC.into()),
        }
    }

    /// Takes room for what is on the disk already.
    pub(super) fn take_existing(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
    }

    pub(in crate::fs) fn fail_sync_after(&self, successes: u64) {
        self.failing_sync.store(self.syncs.load(Ordering::SeqCst) + successes, Ordering::SeqCst);
    }

    pub(in crate::fs) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// Counts a sync; an error if it is the one to fail.
    pub(super) fn count_sync(&self) -> io::Result<()> {
        let number = self.syncs.fetch_add(1, Ordering::SeqCst);
        if number == self.failing_sync.load(Ordering::SeqCst) { Err(Errno::IO.into()) } else { Ok(()) }
    }

    pub(in crate::fs) fn set_cold(&self, cold: bool) {
        self.cold.store(cold, Ordering::SeqCst);
    }

    pub(in crate::fs) fn set_unreadable(&self, unreadable: bool) {
        self.unreadable.store(unreadable, Ordering::SeqCst);
    }

    /// An error if the medium cannot be read.
    pub(super) fn check_readable(&self) -> io::Result<()> {
        if self.unreadable.load(Ordering::SeqCst) { Err(Errno::IO.into()) } else { Ok(()) }
    }

    pub(super) fn is_cold(&self) -> bool {
        self.cold.load(Ordering::SeqCst)
    }
}
