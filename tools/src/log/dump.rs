//! `dump`: the log, one line an op.

use std::io::Write;
use std::ops::ControlFlow;

use esker_storage::types::Lsn;

use super::args::Dump;
use super::directory::DataDirectory;
use super::{LogError, Outcome, filter, output, scan};

pub(super) fn run(directory: &DataDirectory, options: &Dump, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let selection = &options.selection;
    let (from, to) = selection.lsn.map_or((None, None), |lsn| (lsn.from, lsn.to));
    scan::each_op(directory, from.unwrap_or(Lsn(0)), &mut |record| {
        if to.is_some_and(|to| record.entry.head().lsn > to) {
            return Ok(ControlFlow::Break(()));
        }
        if filter::selects(selection, record) {
            output::write(record, options.format, out)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Outcome::Sound)
}
