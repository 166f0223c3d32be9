//! `export`: all keys and values, now or as the log still knows them of earlier.
//!
//! Invariants:
//! - Memory holds where the newest record of each key is, and one value at a time.
//! - Nothing is written before it is clear that the state asked for can be had. A running server may clean segments away meanwhile: those
//!   that were read are kept open until the end.

mod places;
mod value;
mod write;

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use esker_storage::glob;
use esker_storage::types::{Lsn, UnixMillis};

use super::args::Export;
use super::directory::DataDirectory;
use super::{LogError, Outcome};
pub(super) use places::{At, Places};
pub(super) use value::{Sources, change};
use write::Writer;

/// How often all is begun again because a running server removed what was to be read.
const ATTEMPTS: u32 = 10;

pub(super) fn run(directory: &DataDirectory, options: &Export, out: &mut dyn Write) -> Result<Outcome, LogError> {
    allow_many_files();
    let at = match (options.lsn, options.time) {
        (Some(lsn), _) => At::Lsn(Lsn(lsn)),
        (None, Some(time)) => At::Time(time),
        (None, None) => At::End,
    };
    let (places, sources) = find(directory, at)?;
    // Of the past it is told as it was: what had not expired then is there.
    let now = if at == At::End { now() } else { places.time };
    let mut keys = places.live(now);
    keys.retain(|(db, _)| options.db.is_none_or(|only| db.0 == only));
    // One database after the other, each in the order in which it lies on disk.
    keys.sort_unstable_by_key(|(db, newest)| (*db, newest.place.segment, newest.place.offset));
    let mut writer = Writer::new(options.format, out);
    for (db, newest) in &keys {
        let key = sources.key(newest)?;
        if options.key.as_ref().is_some_and(|pattern| !glob::matches(pattern.as_bytes(), &key, false)) {
            continue;
        }
        let value = sources.value(newest)?;
        let expire_at = newest.expire_at().filter(|_| !options.no_expiry);
        writer.write(*db, &key, &value, expire_at, newest.place.lsn)?;
    }
    Ok(Outcome::Sound)
}

/// Where all keys are as of a place in the log, and the files that their values are in.
pub(super) fn find(directory: &DataDirectory, at: At) -> Result<(Places, Sources), LogError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let found = Places::find(directory, at).and_then(|(places, mut sources)| {
            sources.open_values(directory, places.values())?;
            Ok((places, sources))
        });
        match found {
            Err(error) if error.is_not_found() && attempt < ATTEMPTS => {}
            // Large values go when no live key has them any more, whatever the log still tells of the past.
            Err(error) if error.is_not_found() && at != At::End => {
                return Err(LogError::Export(format!("that state is not there any more: {error}; ask for a later one")));
            }
            found => return found,
        }
    }
}

pub(super) fn now() -> UnixMillis {
    UnixMillis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64))
}

/// Segments are kept open: as many as the system lets us.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Without it there may be enough all the same.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
