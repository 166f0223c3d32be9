//! The operating system's files.

use std::fs::{self, OpenOptions};
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, AtFlags, FallocateFlags, FlockOperation, StatxFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::{Directory, File, FileIdentity, LockGuard, LockHeld};
use crate::mapping::Region;

/// A directory of the operating system.
#[derive(Debug, Clone)]
pub struct RealDirectory {
    path: PathBuf,
}

impl RealDirectory {
    /// Opens a directory, creating it and its parents if they are missing.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    fn open_with(&self, name: &str, options: &OpenOptions) -> io::Result<Box<dyn File>> {
        let path = self.path.join(name);
        let file = options.open(&path)?;
        Ok(Box::new(RealFile { file, path }))
    }
}

impl Directory for RealDirectory {
    fn boot_id(&self) -> [u8; 16] {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        // Without a boot id each start counts as one after power loss: slow, and safe.
        u128::from_str_radix(&digits, 16).unwrap_or_else(|_| rand::random()).to_be_bytes()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.open_with(name, OpenOptions::new().read(true).write(true).create(true).truncate(true))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.open_with(name, OpenOptions::new().read(true).write(true))
    }

    fn open_read_only(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.open_with(name, OpenOptions::new().read(true))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        fs::exists(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is not UTF-8 is not one of ours.
            if let (false, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn identity(&self, name: &str) -> io::Result<Option<FileIdentity>> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let found = rustix::fs::statx(rustix::fs::CWD, self.path.join(name), AtFlags::empty(), wanted)?;
        if !StatxFlags::from_bits_retain(found.stx_mask).contains(wanted) {
            return Ok(None);
        }
        let seconds = u64::try_from(found.stx_btime.tv_sec).unwrap_or(0);
        Ok(Some(FileIdentity {
            device: u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor),
            inode: found.stx_ino,
            birth_ns: seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(found.stx_btime.tv_nsec)),
        }))
    }

    fn lock(&self, name: &str) -> io::Result<LockGuard> {
        let path = self.path.join(name);
        // Not truncated on opening: until the lock is ours, the pid within is the holder's.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        while let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(error.into());
            }
            if Instant::now() >= deadline {
                let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, LockHeld { pid }));
            }
            std::thread::sleep(LOCK_PATIENCE / 20);
        }
        file.set_len(0)?;
        file.write_all_at(std::process::id().to_string().as_bytes(), 0)?;
        Ok(Box::new(file))
    }

    fn subdirectory(&self, name: &str) -> io::Result<Arc<dyn Directory>> {
        let path = self.path.join(name);
        match fs::create_dir(&path) {
            Ok(()) => self.sync()?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Arc::new(Self { path }))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.path.join(from), self.path.join(to))
    }

    fn has_subdirectory(&self, name: &str) -> io::Result<bool> {
        match fs::metadata(self.path.join(name)) {
            Ok(found) => Ok(found.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn rename_subdirectory(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path.join(from), self.path.join(to));
        fs::rename(&from, &to)?;
        for parent in [from.parent(), to.parent()].into_iter().flatten() {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(())
    }

    fn remove_subdirectory(&self, name: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.sync(),
        }
    }

    fn usage(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(&self.path)? {
            match entry.and_then(|entry| entry.metadata()) {
                Ok(metadata) if metadata.is_file() => bytes += metadata.blocks() * 512,
                Ok(_) => {}
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    fn free_space(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.path)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// How long a lock is waited for: a holder that is just ending, or its child that has not yet become another program, is no reason to
/// give up.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);

/// Linux's RWF_DONTCACHE, since 6.14: pages that this read brings in leave again with it.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);
/// Whether kernel and filesystem know it; as far as one can tell before it was tried.
static DONTCACHE_WORKS: AtomicBool = AtomicBool::new(true);
/// What is written ahead of those who write through mappings, at most at a time.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
const PAGE: u64 = 4096;

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

/// Zeros are written in pieces of this size where the filesystem cannot zero a range itself.
const ZERO_PIECE: usize = 64 << 10;

impl RealFile {
    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        let zeros = [0; ZERO_PIECE];
        let mut done = 0;
        while done < len {
            let piece = usize::try_from(len - done).map_or(ZERO_PIECE, |left| left.min(ZERO_PIECE));
            self.file.write_all_at(&zeros[..piece], offset + done)?;
            done += piece as u64;
        }
        Ok(())
    }
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(Some(read)),
            // Without support for the flag every read may have to wait.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read_at_uncached(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() && DONTCACHE_WORKS.load(Ordering::Relaxed) {
            let at = offset + done as u64;
            match rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(&mut buf[done..])], at, DONTCACHE) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => DONTCACHE_WORKS.store(false, Ordering::Relaxed),
                Err(error) => return Err(error.into()),
            }
        }
        if done < buf.len() {
            self.file.read_exact_at(&mut buf[done..], offset + done as u64)?;
            let (from, to) = (offset & !(PAGE - 1), (offset + buf.len() as u64).next_multiple_of(PAGE));
            self.forget(from, to - from)?;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, len) {
                Err(Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn zero_ahead(&self, offset: u64, len: usize) -> io::Result<()> {
        self.file.write_all_at(&ZEROS[..len.min(ZEROS.len())], offset)
    }

    fn zero_range(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::ZERO_RANGE, offset, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => self.write_zeros(offset, len),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn map(&self, len: usize) -> io::Result<Arc<Region>> {
        Ok(Arc::new(Region::map_file(&self.file, len)?))
    }

    fn try_clone(&self) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Self { file: self.file.try_clone()?, path: self.path.clone() }))
    }

    fn expect_random(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, 0, None, Advice::Random)?)
    }

    fn will_read(&self, offset: u64, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, offset, NonZeroU64::new(len), Advice::WillNeed)?)
    }

    fn forget(&self, offset: u64, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, offset, NonZeroU64::new(len), Advice::DontNeed)?)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, RealDirectory) {
        let place = tempfile::tempdir().unwrap();
        let directory = RealDirectory::open(place.path()).unwrap();
        (place, directory)
    }

    #[test]
    fn files_are_created_renamed_listed_and_removed() {
        let (_place, directory) = directory();
        directory.create("a").unwrap().write_at(3, b"x").unwrap();
        directory.subdirectory("inner").unwrap();
        directory.rename("a", "b").unwrap();
        directory.sync().unwrap();
        assert_eq!(directory.list().unwrap(), ["b"]);
        assert!(directory.exists("b").unwrap() && !directory.exists("a").unwrap());
        let file = directory.open_read_only("b").unwrap();
        let mut buf = [9; 4];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(&buf, b"\0\0\0x");
        assert!(file.write_at(0, b"y").is_err());
        assert_eq!(file.read_at(1, &mut buf).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        directory.remove("b").unwrap();
        assert!(!directory.exists("b").unwrap());
        assert!(directory.free_space().unwrap() > 0);
    }

    #[test]
    fn allocated_range_is_mapped_zeroed_and_read_without_waiting() {
        let (_place, directory) = directory();
        let file = directory.create("a").unwrap();
        file.allocate(0, 8192).unwrap();
        assert_eq!(file.len().unwrap(), 8192);
        let region = file.map(1 << 30).unwrap();
        region.copy_in(100, b"hello");
        let mut buf = [0; 5];
        assert_eq!(file.read_at_nowait(100, &mut buf).unwrap(), Some(5));
        assert_eq!(&buf, b"hello");
        file.try_clone().unwrap().zero_range(0, 4096).unwrap();
        region.copy_out(100, &mut buf);
        assert_eq!(buf, [0; 5]);
        file.sync_data().unwrap();
        file.sync_all().unwrap();
    }

    #[test]
    fn what_is_read_uncached_or_dropped_is_not_in_the_page_cache() {
        let (_place, directory) = directory();
        let file = directory.create("a").unwrap();
        let bytes: Vec<u8> = (0..100_000).map(|n| (n % 251) as u8).collect();
        file.write_at(0, &bytes).unwrap();
        let region = file.map(100_000).unwrap();
        region.populate_read(0, 100_000).unwrap();
        assert_eq!(region.resident(100_000).unwrap(), 25 * 4096);
        file.sync_all().unwrap();
        region.release().unwrap();
        file.forget(0, 0).unwrap();
        if region.resident(100_000).unwrap() > 0 {
            eprintln!("skipped: this filesystem is all page cache");
            return;
        }
        let mut buf = [0; 5000];
        file.read_at_uncached(50_000, &mut buf).unwrap();
        assert_eq!(buf[..], bytes[50_000..55_000]);
        assert_eq!(region.resident(100_000).unwrap(), 0);
        assert!(file.read_at_uncached(99_000, &mut buf).is_err(), "beyond the end");
        let mut byte = [0];
        region.copy_out(70_000, &mut byte);
        assert_eq!(byte[0], bytes[70_000], "what was released is still mapped");
    }

    #[test]
    fn second_lock_names_the_holder() {
        let (_place, directory) = directory();
        let held = directory.lock("LOCK").unwrap();
        let error = directory.lock("LOCK").unwrap_err();
        let holder = error.get_ref().unwrap().downcast_ref::<LockHeld>().unwrap();
        assert_eq!(holder.pid, Some(std::process::id()));
        drop(held);
        drop(directory.lock("LOCK").unwrap());
    }

    #[test]
    fn copy_of_a_file_has_another_identity() {
        let (place, directory) = directory();
        directory.create("a").unwrap();
        fs::copy(place.path().join("a"), place.path().join("b")).unwrap();
        let a = directory.identity("a").unwrap();
        assert_eq!(a, directory.identity("a").unwrap());
        if a.is_some() {
            assert_ne!(a, directory.identity("b").unwrap());
        }
        assert!(directory.identity("c").is_err());
    }
}
