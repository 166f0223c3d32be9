//! `history`: all that the log holds about a key.

use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use esker_storage::codec::evicted::{Evicted, OpId};
use esker_storage::types::{Db, Lsn};

use super::args::{Format, History};
use super::directory::DataDirectory;
use super::scan::Record;
use super::{LogError, Outcome, output, scan};

pub(super) fn run(directory: &DataDirectory, options: &History, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let key = options.key.as_bytes();
    let format = Format { json: options.json, values: true };
    let mut of_key_so_far = Vec::new();
    scan::each_op(directory, Lsn(0), &mut |record| {
        if concerns(record, key, options.db, &of_key_so_far) {
            if record.op.header.code.has_key() {
                of_key_so_far.push((record.entry.head().lsn, record.op.header.op_number()));
            }
            // What happened to whole databases tells nothing about a key before the key's first record.
            if !of_key_so_far.is_empty() {
                output::write(record, format, out)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Outcome::Sound)
}

/// Whether the op is about the key, about one of the key's records `so_far`, or about whole databases.
fn concerns(record: &Record<'_>, key: &[u8], db: Option<u8>, so_far: &[OpId]) -> bool {
    use esker_storage::codec::op::OpCode;
    match record.op.header.code {
        OpCode::Put | OpCode::Tombstone | OpCode::Delta => {
            record.op.key == key && db.is_none_or(|db| record.tables.db_of(record.op.header.table) == Some(Db(db)))
        }
        OpCode::FlushTables | OpCode::SwapDatabases => true,
        OpCode::Evict => {
            Evicted::decode(record.op.body).is_ok_and(|evicted| so_far.iter().any(|(lsn, number)| evicted.contains(*lsn, *number)))
        }
        OpCode::EpochStart | OpCode::ExpiredUpTo => false,
    }
}
