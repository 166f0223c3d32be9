//! Which database a table belongs to, as of a place in the log.

use crate::codec::control::{FlushedTable, SwappedDatabases};
use crate::codec::op::{OpCode, OpView};
use crate::manifest::{self, Manifest};
use crate::types::{Db, Lsn, TableId};

/// The tables of the databases while the log is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    now: manifest::Tables,
    /// What the manifest knows of a later LSN. It counts from there on: control ops before it may have been cleaned away.
    later: manifest::Tables,
}

impl Tables {
    /// The tables at the start of a log with this manifest.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        Self { now: manifest::Tables::default(), later: manifest.tables }
    }

    /// The tables at the end of the log that was read.
    pub fn at_end(&mut self) -> &Self {
        self.after(Lsn(u64::MAX))
    }

    /// The tables after the entry of this LSN, the last that was read.
    pub fn after(&mut self, lsn: Lsn) -> &Self {
        self.advance(Lsn(lsn.0.saturating_add(1)));
        self
    }

    fn advance(&mut self, lsn: Lsn) {
        if lsn > self.later.lsn && self.now.lsn < self.later.lsn {
            self.now = self.later;
        }
    }

    /// Goes on to an op, which may change the tables.
    pub fn apply(&mut self, lsn: Lsn, op: &OpView<'_>) {
        self.advance(lsn);
        match op.header.code {
            OpCode::FlushTables => {
                for flushed in FlushedTable::decode_all(op.body).unwrap_or_default() {
                    if let Some(table) = self.now.databases.get_mut(usize::from(flushed.db.0)) {
                        *table = flushed.new;
                    }
                }
            }
            OpCode::SwapDatabases => {
                if let Ok(swapped) = SwappedDatabases::decode(op.body) {
                    self.now.databases.swap(usize::from(swapped.a.0), usize::from(swapped.b.0));
                }
            }
            _ => return,
        }
        self.now.lsn = lsn;
    }

    /// The database whose table this is; `None`: none's, or none's any more.
    #[must_use]
    pub fn db_of(&self, table: TableId) -> Option<Db> {
        self.now.databases.iter().position(|&t| t == table).and_then(|db| u8::try_from(db).ok()).map(Db)
    }
}
