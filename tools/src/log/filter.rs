//! Which ops are printed.

use std::os::unix::ffi::OsStrExt;

use esker_storage::glob;

use super::args::{OpKind, Selection};
use super::scan::Record;

/// Whether the op meets all that the selection asks for.
pub(super) fn selects(selection: &Selection, record: &Record<'_>) -> bool {
    let head = record.entry.head();
    let header = &record.op.header;
    selection.lsn.is_none_or(|lsn| lsn.contains(&head.lsn))
        && selection.time.is_none_or(|time| time.contains(&head.time))
        && (selection.op.is_empty() || selection.op.contains(&OpKind::from(header.code)))
        && selection.key.as_ref().is_none_or(|glob| header.code.has_key() && glob::matches(glob.as_bytes(), record.op.key, false))
        && selection.slot.is_none_or(|slot| record.slot().is_some_and(|of| slot.contains(&of)))
}
