//! `history`: all that the log holds about a key.

use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use esker_storage::types::{Db, Lsn};

use super::args::{Format, History};
use super::directory::DataDirectory;
use super::scan::Record;
use super::{LogError, Outcome, output, scan};

pub(super) fn run(directory: &DataDirectory, options: &History, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let key = options.key.as_bytes();
    let format = Format { json: options.json, values: true };
    let mut seen = false;
    scan::each_op(directory, Lsn(0), &mut |record| {
        if concerns(record, key, options.db) {
            // What happened to whole databases tells nothing about a key before the key's first record.
            let of_key = record.op.header.code.has_key();
            seen |= of_key;
            if seen {
                output::write(record, format, out)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Outcome::Sound)
}

/// Whether the op is about the key, or about whole databases.
fn concerns(record: &Record<'_>, key: &[u8], db: Option<u8>) -> bool {
    use esker_storage::codec::op::OpCode;
    match record.op.header.code {
        OpCode::Put | OpCode::Tombstone | OpCode::Delta => {
            record.op.key == key && db.is_none_or(|db| record.tables.db_of(record.op.header.table) == Some(Db(db)))
        }
        OpCode::FlushTables | OpCode::SwapDatabases => true,
        OpCode::EpochStart | OpCode::ExpiredUpTo => false,
    }
}
