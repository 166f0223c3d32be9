//! What a transaction has written and not yet committed.
//!
//! Invariants:
//! - `ops` only grows, but for a rollback; of several ops on one key the last counts, the others are never written.
//! - `old` of an op is what the index holds for its key: the same for all pending ops on it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use super::Key;
use super::transaction::{Savepoint, Table};
use crate::codec::control::{FlushedTable, SwappedDatabases};
use crate::codec::op::{Op, OpCode, ValueType};
use crate::index::{CellRef, TableMap};
use crate::types::{KeyHash, Location, Slot, TableId, UnixMillis};

/// From this many ops on, keys are looked up in a map.
const MAP_FROM: usize = 16;

thread_local! {
    /// The buffers of the last transaction on this thread: the next one takes them, so that a SET allocates nothing.
    static BUFFERS: RefCell<(Vec<u8>, Vec<PendingOp>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Buffers larger than this are not kept.
const KEEP: usize = 1 << 20;

/// What the index holds for a key before the transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Old {
    pub(super) cell: CellRef,
    pub(super) counted: Counted,
    /// Its time had come: to everyone it was absent already.
    pub(super) expired: bool,
    /// The value segment that its record names.
    pub(super) value: Option<u128>,
}

/// What a record adds to the counters of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    pub(crate) bytes: u64,
    pub(crate) expires: bool,
    pub(crate) digest: u128,
}

/// One write.
#[derive(Debug)]
pub(super) struct PendingOp {
    pub(super) code: OpCode,
    pub(super) value_type: ValueType,
    pub(super) value_segment: bool,
    pub(super) table: Table,
    pub(super) hash: KeyHash,
    pub(super) slot: Slot,
    pub(super) expire_at: Option<UnixMillis>,
    pub(super) content_hash: u64,
    pub(super) value_len: u64,
    pub(super) key: Range<usize>,
    pub(super) body: Range<usize>,
    pub(super) old: Option<Old>,
    /// Of a delta: where its base lies.
    pub(super) base: Option<Location>,
    /// The op on the same key that this one takes the place of.
    pub(super) previous: Option<usize>,
}

/// A write to whole databases.
#[derive(Debug, Clone, Copy)]
pub(super) enum Control {
    /// A database gets a new table.
    Flush { flushed: FlushedTable, old: Table },
    /// A table that this transaction itself made is emptied again.
    Forget(TableId),
    /// Two databases exchange their tables.
    Swap(SwappedDatabases),
}

/// All writes so far.
pub(super) struct Pending {
    pub(super) bytes: Vec<u8>,
    pub(super) ops: Vec<PendingOp>,
    pub(super) controls: Vec<(Control, usize)>,
    /// The databases as the transaction sees them, once it has changed that.
    pub(super) tables: Option<Box<TableMap>>,
    by_key: Option<HashMap<(TableId, KeyHash), Vec<usize>>>,
    undo_tables: Vec<Option<Box<TableMap>>>,
}

impl Pending {
    #[inline]
    pub(super) fn take() -> Self {
        let (bytes, ops) = BUFFERS.with(|buffers| std::mem::take(&mut *buffers.borrow_mut()));
        Self { bytes, ops, controls: Vec::new(), tables: None, by_key: None, undo_tables: Vec::new() }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.controls.is_empty()
    }

    #[inline]
    pub(super) fn op(&self, at: usize) -> &PendingOp {
        &self.ops[at]
    }

    #[inline]
    pub(super) fn key(&self, op: &PendingOp) -> &[u8] {
        &self.bytes[op.key.clone()]
    }

    #[inline]
    pub(super) fn body(&self, op: &PendingOp) -> &[u8] {
        &self.bytes[op.body.clone()]
    }

    /// The last op on a key.
    #[inline]
    pub(super) fn find(&self, table: Table, key: &Key<'_>) -> Option<usize> {
        if self.ops.is_empty() { None } else { self.find_by_table(table.id, key) }
    }

    /// The last op on a key of a table.
    pub(super) fn find_by_table(&self, table: TableId, key: &Key<'_>) -> Option<usize> {
        let same = |at: &usize| {
            let op = &self.ops[*at];
            op.hash == key.hash() && op.table.id == table && self.key(op) == key.bytes()
        };
        match &self.by_key {
            Some(map) => map.get(&(table, key.hash()))?.iter().rev().copied().find(same),
            None => (0..self.ops.len()).rev().find(same),
        }
    }

    /// Adds a byte string to the buffer.
    #[inline]
    pub(super) fn store(&mut self, parts: &[&[u8]]) -> Range<usize> {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        start..self.bytes.len()
    }

    #[inline]
    pub(super) fn push(&mut self, op: PendingOp) {
        let at = self.ops.len();
        if at >= MAP_FROM {
            self.note(&op, at);
        }
        self.ops.push(op);
    }

    /// Says of the last op, a delta, where its base lies.
    pub(super) fn rebase(&mut self, base: Location) {
        if let Some(op) = self.ops.last_mut() {
            op.base = Some(base);
        }
    }

    fn note(&mut self, op: &PendingOp, at: usize) {
        let ops = &self.ops;
        let map = self.by_key.get_or_insert_with(|| {
            let mut map = HashMap::<_, Vec<usize>>::new();
            for (at, op) in ops.iter().enumerate() {
                map.entry((op.table.id, op.hash)).or_default().push(at);
            }
            map
        });
        map.entry((op.table.id, op.hash)).or_default().push(at);
    }

    /// Adds a change of whole databases, after which they are `tables`.
    pub(super) fn control(&mut self, control: Control, tables: Box<TableMap>) {
        self.controls.push((control, self.ops.len()));
        self.undo_tables.push(self.tables.replace(tables));
    }

    pub(super) fn savepoint(&self) -> Savepoint {
        Savepoint { ops: self.ops.len(), controls: self.controls.len() }
    }

    pub(super) fn rollback(&mut self, to: Savepoint) {
        self.ops.truncate(to.ops);
        self.by_key = None;
        if self.ops.len() > MAP_FROM {
            // Built again from what is left.
            if let Some(last) = self.ops.pop() {
                let at = self.ops.len();
                self.note(&last, at);
                self.ops.push(last);
            }
        }
        self.controls.truncate(to.controls);
        while self.undo_tables.len() > to.controls {
            self.tables = self.undo_tables.pop().flatten();
        }
    }

    /// Marks what is not to be written: ops that a later one on the same key replaces, and ops on tables that were flushed after them.
    pub(super) fn superseded(&self) -> Vec<bool> {
        let mut superseded = vec![false; self.ops.len()];
        for op in &self.ops {
            if let Some(previous) = op.previous {
                superseded[previous] = true;
            }
        }
        for (control, ops_before) in &self.controls {
            let emptied = match control {
                Control::Flush { old, .. } => old.id,
                Control::Forget(id) => *id,
                Control::Swap(_) => continue,
            };
            for (at, op) in self.ops.iter().enumerate().take(*ops_before) {
                superseded[at] |= op.table.id == emptied;
            }
        }
        superseded
    }

    /// The op to encode.
    #[inline]
    pub(super) fn encode<'a>(&'a self, op: &'a PendingOp) -> Op<'a> {
        Op {
            code: op.code,
            value_type: op.value_type,
            value_segment: op.value_segment,
            fresh: op.code == OpCode::Put && op.old.is_none(),
            table: op.table.id,
            expire_at: op.expire_at,
            content_hash: op.content_hash,
            key: self.key(op),
            body: self.body(op).into(),
        }
    }
}

impl Drop for Pending {
    #[inline]
    fn drop(&mut self) {
        if self.bytes.capacity() <= KEEP {
            self.bytes.clear();
            self.ops.clear();
            let buffers = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ops));
            // At thread end the buffers are just freed.
            let _ = BUFFERS.try_with(|kept| *kept.borrow_mut() = buffers);
        }
    }
}

impl Old {
    pub(super) fn location(&self) -> Location {
        self.cell.location()
    }
}
