//! Files and directories behind traits, so that tests can lose power, tear writes and fill the disk.
//!
//! Invariants:
//! - Errors are plain `std::io::Error`s; the layer above knows, and adds, what it was doing at which offset and LSN.
//! - Running out of space shows at [`File::allocate`] (and `create`) only: what is allocated can be written.
//! - Nothing is durable before [`File::sync_data`], and no name before [`Directory::sync`].

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::mapping::Region;

mod faulty;
mod memory;
mod real;
mod self_test;

pub use faulty::FaultyDirectory;
pub use memory::MemoryDirectory;
pub use real::RealDirectory;
pub use self_test::self_test;

/// Tells a file from its copies: a restored or copied file has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// Device that holds the file.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Birth time, nanoseconds since the Unix epoch.
    pub birth_ns: u64,
}

/// The payload of the error of [`Directory::lock`] when another process holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("locked by process {}", .pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string()))]
pub struct LockHeld {
    /// The holder, as far as the lock file tells.
    pub pid: Option<u32>,
}

/// Keeps a lock for as long as it lives.
pub type LockGuard = Box<dyn Any + Send + Sync>;

/// A directory of files.
pub trait Directory: Send + Sync {
    /// Changes with every start of the machine: after it, nothing that was not synced can be relied on.
    fn boot_id(&self) -> [u8; 16];

    /// Creates a file, open for reading and writing; one of that name loses its contents.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Opens a file for reading only; writes and writable maps of it fail.
    fn open_read_only(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Whether a file of this name exists.
    fn exists(&self, name: &str) -> io::Result<bool>;

    /// Renames a file over whatever has the name `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; handles and maps of it stay usable.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file a second name, both paths within this one. The directory that the new name is in makes it durable.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Names of the files, in no order, subdirectories left out.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes creations, renames and removals durable.
    fn sync(&self) -> io::Result<()>;

    /// The path of a name, for messages.
    fn path(&self, name: &str) -> PathBuf;

    /// What tells this file from copies of it; `None` where the filesystem cannot tell.
    fn identity(&self, name: &str) -> io::Result<Option<FileIdentity>>;

    /// Takes the exclusive lock `name`, without waiting; fails with [`LockHeld`] inside when another holds it.
    fn lock(&self, name: &str) -> io::Result<LockGuard>;

    /// The directory of this name, a path within this one, created if it is missing; where it is to be there has to be a directory.
    fn subdirectory(&self, name: &str) -> io::Result<Arc<dyn Directory>>;

    /// Whether there is a directory of this name, a path within this one.
    fn has_subdirectory(&self, name: &str) -> io::Result<bool>;

    /// Gives the directory `from` the name `to`, both paths within this one, durably. Nothing has that name.
    fn rename_subdirectory(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a directory of this one and all that is in it, if it is there.
    fn remove_subdirectory(&self, name: &str) -> io::Result<()>;

    /// Bytes that the files in it take on the medium, subdirectories left out.
    fn usage(&self) -> io::Result<u64>;

    /// Bytes that can still be allocated.
    fn free_space(&self) -> io::Result<u64>;
}

/// An open file.
pub trait File: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the length is 0.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buf` from `offset`; reaching the end of the file before is an error.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Reads what the page cache holds, without waiting for the medium. `None`: it would have to wait. Otherwise the number of
    /// bytes read, which may be fewer than asked for.
    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> io::Result<Option<usize>>;

    /// As [`read_at`](File::read_at), but what has to be read from the medium for it does not stay in the page cache.
    fn read_at_uncached(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reserves room, which reads as zero, and extends the file to cover it. The one place where space can run out.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Sets the length.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Turns an allocated range into zeros.
    fn zero_range(&self, offset: u64, len: u64) -> io::Result<()>;

    /// `fdatasync`: data, and the metadata needed to read it, are on the medium.
    fn sync_data(&self) -> io::Result<()>;

    /// `fsync`.
    fn sync_all(&self) -> io::Result<()>;

    /// Maps `len` bytes for reading and writing; they may lie beyond the end of the file, but only bytes within may be touched.
    fn map(&self, len: usize) -> io::Result<Arc<Region>>;

    /// Another handle of the same file.
    fn try_clone(&self) -> io::Result<Box<dyn File>>;

    /// Has allocated bytes that were never written, and are about to be through a mapping, in the page cache as the zeros that they read as. A
    /// hint.
    fn zero_ahead(&self, _offset: u64, _len: usize) -> io::Result<()> {
        Ok(())
    }

    /// Tells the system that reads come in no order, so that it reads nothing beside what was asked for. A hint.
    fn expect_random(&self) -> io::Result<()> {
        Ok(())
    }

    /// Tells the system that these bytes are about to be read. A hint.
    fn will_read(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    /// Tells the system that these bytes (a length of 0: all to the end) will not be read again soon, so that their pages need not stay in
    /// memory. A hint; what is mapped, or not yet on the medium, stays.
    fn forget(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    /// The path it was opened by, for messages.
    fn path(&self) -> &Path;
}
