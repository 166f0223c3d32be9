//! What the log depends on, tried out at start: a filesystem that lacks it is refused by name and reason.

use std::io;

use crate::error::{Result, StorageError};
use crate::fs::{Directory, File};

const NAME: &str = "self-test.tmp";
const RENAMED: &str = "self-test";
/// Two pages, so that neither offset nor length is the trivial one.
const LEN: u64 = 8192;
const AT: u64 = 5000;

/// Tries allocation, coherence of mappings, fsync and rename in `directory`, and leaves nothing behind. On a full disk nothing can be
/// tried; the error then says only that.
pub fn self_test(directory: &dyn Directory) -> Result<()> {
    let outcome = run(directory);
    let cleaned = [NAME, RENAMED].into_iter().try_for_each(|name| match directory.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    });
    let (check, reason) = match (outcome, cleaned) {
        (Ok(()), Ok(())) => return Ok(()),
        (Err(Failure::Full), _) => return Err(StorageError::DiskFull { path: directory.path("") }),
        (Err(Failure::Unfit(check, reason)), _) => (check, reason),
        (Ok(()), Err(error)) => ("remove", error.to_string()),
    };
    Err(StorageError::UnfitFilesystem { path: directory.path(""), check, reason })
}

/// Why the test did not pass.
enum Failure {
    /// There was no room for it.
    Full,
    /// The name of a check and why it failed.
    Unfit(&'static str, String),
}

fn run(directory: &dyn Directory) -> Result<(), Failure> {
    let file = tried("create", directory.create(NAME))?;
    check_allocation(&*file)?;
    check_coherence(&*file)?;
    tried("fsync", file.sync_data())?;
    tried("fsync", file.sync_all())?;
    check_rename(directory, &*file)
}

fn tried<T>(check: &'static str, outcome: io::Result<T>) -> Result<T, Failure> {
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Full,
        _ => Failure::Unfit(check, error.to_string()),
    })
}

fn expect(check: &'static str, holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Unfit(check, otherwise.to_owned())) }
}

fn check_allocation(file: &dyn File) -> Result<(), Failure> {
    const CHECK: &str = "fallocate";
    tried(CHECK, file.allocate(0, LEN))?;
    expect(CHECK, tried(CHECK, file.len())? == LEN, "the file did not grow")?;
    let mut bytes = [1; LEN as usize];
    tried(CHECK, file.read_at(0, &mut bytes))?;
    expect(CHECK, bytes.iter().all(|byte| *byte == 0), "allocated bytes do not read as zero")
}

fn check_coherence(file: &dyn File) -> Result<(), Failure> {
    const CHECK: &str = "mapping coherence";
    let region = tried("mapping", file.map(LEN as usize))?;
    let mut seen = [0; 8];
    region.copy_in(AT as usize, b"from map");
    tried(CHECK, file.read_at(AT, &mut seen))?;
    expect(CHECK, &seen == b"from map", "a read does not see what was written through a mapping")?;
    tried(CHECK, file.write_at(AT, b"by write"))?;
    region.copy_out(AT as usize, &mut seen);
    expect(CHECK, &seen == b"by write", "a mapping does not see what was written to the file")
}

fn check_rename(directory: &dyn Directory, file: &dyn File) -> Result<(), Failure> {
    const CHECK: &str = "rename";
    // Over an existing file, as the manifest is replaced.
    tried(CHECK, directory.create(RENAMED))?;
    tried(CHECK, directory.rename(NAME, RENAMED))?;
    tried("fsync of the directory", directory.sync())?;
    let gone = !tried(CHECK, directory.exists(NAME))?;
    expect(CHECK, gone, "the old name is still there")?;
    let renamed = tried(CHECK, directory.open(RENAMED))?;
    let same = tried(CHECK, renamed.len())? == tried(CHECK, file.len())?;
    expect(CHECK, same, "the new name is another file")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;
    use crate::fs::{FaultyDirectory, RealDirectory};

    #[test]
    fn sound_filesystem_passes_and_is_left_empty() {
        let place = tempfile::tempdir().unwrap();
        let directory = RealDirectory::open(place.path()).unwrap();
        self_test(&directory).unwrap();
        assert!(directory.list().unwrap().is_empty());
        let memory = FaultyDirectory::new().directory();
        self_test(&*memory).unwrap();
        assert!(memory.list().unwrap().is_empty());
    }

    #[test]
    fn failing_check_is_named_with_its_reason() {
        for (successes, check) in [(0, "fsync"), (1, "fsync"), (2, "fsync of the directory")] {
            let disk = FaultyDirectory::new();
            disk.fail_sync_after(successes);
            let error = self_test(&*disk.directory()).unwrap_err();
            assert!(matches!(error, StorageError::UnfitFilesystem { check: found, .. } if found == check), "{error}");
            assert!(error.to_string().contains("/faulty") && error.to_string().contains("nput/output"), "{error}");
            assert!(disk.directory().list().unwrap().is_empty());
        }
        let full = FaultyDirectory::new();
        full.set_capacity(100);
        let error = self_test(&*full.directory()).unwrap_err();
        assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    }
}
