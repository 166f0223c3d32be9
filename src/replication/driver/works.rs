//! Work on the files of the shard that a link began: it goes on when the link is gone, and nobody does anything else to them meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Who works, and how many orders have come.
#[derive(Debug, Default)]
pub(super) struct Works {
    busy: Arc<Mutex<()>>,
    orders: AtomicU64,
}

/// Work that has begun.
#[derive(Debug)]
pub(super) struct Work {
    _busy: OwnedMutexGuard<()>,
    orders: u64,
}

impl Works {
    /// Begins when what was begun before is done.
    pub(super) async fn begin(&self) -> Work {
        let orders = self.orders.load(Ordering::Acquire);
        Work { _busy: Arc::clone(&self.busy).lock_owned().await, orders }
    }

    /// An order has come: waits until nobody works. What has not gone too far yet is given up.
    pub(super) async fn order(&self) {
        self.orders.fetch_add(1, Ordering::AcqRel);
        drop(self.busy.lock().await);
    }
}

impl Work {
    /// Whether no order has come since it began.
    pub(super) fn is_wanted(&self, works: &Works) -> bool {
        works.orders.load(Ordering::Acquire) == self.orders
    }
}
