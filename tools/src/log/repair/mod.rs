//! `repair`: makes the log of a stopped server sound again, and says what that costs.
//!
//! What is torn is cut, as the next start would. What is damaged is set aside, with its bytes in a file, and its place is filled so that
//! all that is sound keeps its own: LSNs have no gaps, and no record moves. Keys that were written there go back to what they were before.

mod apply;
mod fill;
mod lost;
mod plan;
mod search;
mod walk;

use std::io::Write;

use esker_storage::fs::{Directory, LockGuard, LockHeld, RealDirectory};

use super::args::{Plain, Repair};
use super::directory::DataDirectory;
use super::{LogError, Outcome, output, verify};
use lost::{Fate, Lost};
use plan::Plan;

pub(super) fn run(directory: &DataDirectory, options: &Repair, out: &mut dyn Write) -> Result<Outcome, LogError> {
    let _lock = lock(directory)?;
    let plan = Plan::make(directory, directory.listing()?)?;
    let lost = Lost::find(&plan.walked, &plan.manifest)?;
    let needed = plan.is_needed();
    report(&plan, &lost, out)?;
    if !needed {
        writeln!(out, "the log is sound: nothing to repair")?;
    }
    if let Some(error) = lost_databases(&plan, &lost) {
        return Err(error);
    }
    if !options.apply {
        if needed || options.rebuild_index {
            writeln!(out, "nothing was changed: --apply does it{}", if options.rebuild_index { ", and removes the index" } else { "" })?;
        }
        return Ok(if needed { Outcome::Damaged } else { Outcome::Sound });
    }
    if needed {
        for line in apply::apply(directory, plan, &lost)? {
            writeln!(out, "{line}")?;
        }
    }
    if options.rebuild_index {
        apply::remove_index(directory)?;
        writeln!(out, "removed the index: the next start builds it again")?;
    }
    if needed { verify::run(directory, &Plain { json: false }, out) } else { Ok(Outcome::Sound) }
}

/// Without its changes of whole databases nobody knows which database a record is of.
fn lost_databases(plan: &Plan, lost: &Lost) -> Option<LogError> {
    if lost.control.is_none() && lost.unknown_tables.is_empty() {
        return None;
    }
    let damaged = plan.walked.iter().find_map(|segment| Some((segment, segment.holes.iter().find(|hole| hole.missing() > 0)?)));
    let (segment, hole) = damaged?;
    Some(LogError::CannotRepair {
        path: segment.file.path.clone(),
        offset: hole.from as u64,
        lsn: lost.control.unwrap_or(hole.first),
        reason: "a FLUSHDB, FLUSHALL or SWAPDB is lost there, and with it which database the records are of; restore a backup".to_owned(),
    })
}

/// Takes the lock that a server holds.
fn lock(directory: &DataDirectory) -> Result<LockGuard, LogError> {
    let shard = directory.shard();
    let shard = std::path::absolute(shard).map_err(LogError::read(shard))?;
    let root = shard.parent().unwrap_or(&shard);
    let real = RealDirectory::open(root).map_err(LogError::read(root))?;
    real.lock("LOCK").map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref::<LockHeld>()) {
        Some(held) => LogError::Locked { dir: root.to_owned(), pid: held.pid },
        None => LogError::write(&root.join("LOCK"))(error),
    })
}

fn report(plan: &Plan, lost: &Lost, out: &mut dyn Write) -> Result<(), LogError> {
    for segment in &plan.walked {
        let path = segment.file.path.display();
        if let Some(reason) = &segment.header_lost {
            writeln!(out, "damaged header: {path}: {reason}; it can be made again from the manifest")?;
        }
        for hole in &segment.holes {
            let lsns = match hole.missing() {
                0 => "no entry".to_owned(),
                1 => format!("the entry of LSN {}", hole.first),
                _ => format!("the entries of LSNs {} to {}", hole.first, hole.last),
            };
            writeln!(out, "damage: {path} offset {}, {} bytes, {lsns}: {}", hole.from, hole.to - hole.from, hole.reason)?;
        }
        if segment.holes.is_empty() && segment.is_damaged() && segment.footer.is_none() && segment.sealed_last().is_some() {
            writeln!(out, "no footer: {path}; it can be made again")?;
        }
    }
    if let Some(torn) = &plan.torn {
        let path = plan.walked[torn.segment].file.path.display();
        let behind = plan.walked.len() - torn.segment - 1;
        let more = if behind > 0 { format!(", and {behind} segments behind it") } else { String::new() };
        writeln!(out, "torn tail: {path} offset {}, {} bytes{more}, from LSN {} on: {}", torn.offset, torn.len, torn.lsn, torn.reason)?;
        writeln!(out, "  up to LSN {} was flushed, so no write that was acknowledged under `always` is in it", plan.flushed)?;
    }
    keys(lost, out)
}

/// What becomes of the keys.
fn keys(lost: &Lost, out: &mut dyn Write) -> Result<(), LogError> {
    let mut unharmed = 0;
    for ((table, hash), key) in &lost.keys {
        let Some(db) = lost.db_of(*table) else { continue };
        let name =
            key.name.as_ref().map_or_else(|| format!("with hash {hash:016x} (its name is nowhere else)"), |name| output::quoted(name));
        let doubt = if key.is_certain() { "" } else { " (read from damaged bytes: the name may be wrong)" };
        match key.fate() {
            Fate::Unharmed => unharmed += 1,
            Fate::GoesBack(lsn) => writeln!(out, "  key {name} of database {db} goes back to what it was at LSN {lsn}{doubt}")?,
            Fate::Gone => writeln!(out, "  key {name} of database {db} is gone: the log holds nothing else of it{doubt}")?,
        }
    }
    if unharmed > 0 {
        writeln!(out, "  {unharmed} other keys in it were written again since, and are as they should be")?;
    }
    if lost.unreadable > 0 {
        writeln!(out, "  of {} entries nothing can be read: if a SWAPDB was among them, its databases stay exchanged", lost.unreadable)?;
    }
    if lost.incomplete {
        writeln!(
            out,
            "  the segment has no sound footer that tells its keys: other keys may have gone back too, up to as many as there are LSNs"
        )?;
    }
    Ok(())
}
