//! The mapped file as words, and the allocator of its pages.
//!
//! Invariants:
//! - Every store into the mapping goes through [`Pages::set_word`] or [`Pages::set_half`], so a test can stop after any of them.
//! - A kill stops the process between two instructions, and the kernel keeps what was stored: the order of stores in the
//!   compiled program is all that counts. [`order_point`] fixes it; processor fences are not needed, as threads meet under locks.
//! - A page in use is below the end of the file. The file never shrinks while it is open.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

use parking_lot::Mutex;

use super::IndexError;
use super::bitmap::Bitmap;
use super::layout::{FILE_STEP, LINE_CELLS, PAGE, page_at};
use super::uses::Uses;
use crate::fs::File;
use crate::mapping::Region;

/// No store moves across this point in the compiled program.
#[inline(always)]
pub(super) fn order_point() {
    compiler_fence(Ordering::SeqCst);
}

/// The mapped index file.
pub(super) struct Pages {
    region: Arc<Region>,
    file: Box<dyn File>,
    /// Most bytes of the file; the mapping may be longer.
    limit: usize,
    /// Held while the file grows, which may wait for the file system. Taken before the allocator, which is not held meanwhile: who finds
    /// free pages does not wait for who makes more.
    growing: Mutex<()>,
    allocator: Mutex<Bitmap>,
    /// Copy of the allocator's number of free pages, so that a reservation takes no lock.
    free: AtomicU32,
    /// Copy of the allocator's number of pages: those below it are in the file.
    end: AtomicU32,
    /// How often the keys of the cells were asked for.
    pub(super) uses: Uses,
}

impl Pages {
    /// Takes over a file and its mapping. All pages count as used until [`Pages::replace_allocator`].
    pub fn new(region: Arc<Region>, file: Box<dyn File>, limit: usize) -> Self {
        let limit = limit.min(region.len());
        let (growing, allocator) = (Mutex::default(), Mutex::default());
        Self { region, file, limit, growing, allocator, free: AtomicU32::new(0), end: AtomicU32::new(0), uses: Uses::new(limit) }
    }

    /// Installs the bitmap found by walking the directories.
    pub fn replace_allocator(&self, bitmap: Bitmap) {
        let mut allocator = self.allocator.lock();
        *allocator = bitmap;
        self.publish(&allocator);
    }

    /// The word at an offset.
    #[inline(always)]
    pub fn word(&self, at: usize) -> u64 {
        self.region.u64(at).load(Ordering::Relaxed)
    }

    /// Stores a word.
    #[inline(always)]
    pub fn set_word(&self, at: usize, value: u64) {
        #[cfg(test)]
        super::crash::step();
        self.region.u64(at).store(value, Ordering::Relaxed);
    }

    /// The 4-byte word at an offset.
    #[inline(always)]
    pub fn half(&self, at: usize) -> u32 {
        self.region.u32(at).load(Ordering::Relaxed)
    }

    /// Stores a 4-byte word.
    #[inline(always)]
    pub fn set_half(&self, at: usize, value: u32) {
        #[cfg(test)]
        super::crash::step();
        self.region.u32(at).store(value, Ordering::Relaxed);
    }

    /// Whether a page is in the file: for who reads without a lock, and so may read any number.
    #[inline(always)]
    pub fn contains(&self, page: u32) -> bool {
        page < self.end.load(Ordering::Relaxed)
    }

    /// The words of a line, one cache line.
    #[inline(always)]
    pub fn line(&self, at: usize) -> [u64; LINE_CELLS] {
        std::array::from_fn(|cell| self.word(at + 8 * cell))
    }

    /// Hints that the cache line at an offset will be read.
    #[inline(always)]
    pub fn prefetch(&self, at: usize) {
        self.region.prefetch(at);
    }

    /// Most bytes the file can grow to.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        u64::from(self.allocator.lock().pages()) * PAGE as u64
    }

    /// Bytes of the pages in use, headers included.
    pub fn used_bytes(&self) -> u64 {
        let allocator = self.allocator.lock();
        u64::from(allocator.pages() - allocator.free()) * PAGE as u64
    }

    /// Fills `pages` with pages of any contents.
    pub fn allocate(&self, pages: &mut [u32]) -> Result<(), IndexError> {
        self.grow_until(|allocator| {
            let missing = (pages.len() as u32).saturating_sub(allocator.free());
            if missing == 0 {
                pages.iter_mut().for_each(|page| *page = allocator.take().expect("the bitmap counts its free pages"));
            }
            (missing == 0).then_some(()).ok_or(missing)
        })
    }

    /// Allocates neighbouring pages of any contents and returns the first.
    pub fn allocate_run(&self, len: u32) -> Result<u32, IndexError> {
        self.grow_until(|allocator| allocator.take_run(len).ok_or_else(|| len - allocator.free_tail()))
    }

    /// Gives pages back.
    pub fn release(&self, pages: impl IntoIterator<Item = u32>) {
        let mut allocator = self.allocator.lock();
        for page in pages {
            allocator.release(page);
        }
        self.publish(&allocator);
    }

    /// Makes sure that `pages` pages are free, growing the file if need be.
    #[inline]
    pub fn reserve(&self, pages: u32) -> Result<(), IndexError> {
        if self.free.load(Ordering::Relaxed) >= pages {
            return Ok(());
        }
        self.grow_until(|allocator| match pages.saturating_sub(allocator.free()) {
            0 => Ok(()),
            missing => Err(missing),
        })
    }

    /// Grows the file until `take` gets what it wants of the allocator; before, it says how many pages are missing.
    fn grow_until<T>(&self, mut take: impl FnMut(&mut Bitmap) -> Result<T, u32>) -> Result<T, IndexError> {
        let mut attempt = || {
            let mut allocator = self.allocator.lock();
            let taken = take(&mut allocator);
            self.publish(&allocator);
            taken
        };
        if let Ok(taken) = attempt() {
            return Ok(taken);
        }
        let _one_at_a_time = self.growing.lock();
        loop {
            match attempt() {
                Ok(taken) => return Ok(taken),
                Err(missing) => self.extend(missing)?,
            }
        }
    }

    /// Bytes of the file that nobody uses.
    pub fn free_bytes(&self) -> usize {
        self.free.load(Ordering::Relaxed) as usize * PAGE
    }

    fn publish(&self, allocator: &Bitmap) {
        self.free.store(allocator.free(), Ordering::Relaxed);
        self.end.store(allocator.pages(), Ordering::Relaxed);
    }

    /// Grows the file by at least `pages` pages, in whole steps. The caller holds `growing`.
    fn extend(&self, pages: u32) -> Result<(), IndexError> {
        let old = self.end.load(Ordering::Relaxed);
        let bytes = page_at(old);
        let more = (pages as usize * PAGE).next_multiple_of(FILE_STEP);
        let result = if bytes + more > self.limit {
            Err(io::Error::new(io::ErrorKind::OutOfMemory, "end of the mapping"))
        } else {
            self.file.allocate(bytes as u64, more as u64)
        };
        result.map_err(|source| IndexError::Full { bytes: bytes as u64, source })?;
        let mut allocator = self.allocator.lock();
        debug_assert_eq!(allocator.pages(), old, "the file grows in one place only");
        allocator.extend(old + (more / PAGE) as u32);
        self.publish(&allocator);
        Ok(())
    }
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").field("path", &self.file.path()).field("allocator", &self.allocator).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::fs::{Directory, MemoryDirectory};

    /// Was: one lock for both, so that a leaf that grew waited for the file system, which may be slow to make room.
    #[test]
    fn who_finds_free_pages_does_not_wait_for_the_file_to_grow() {
        let file = MemoryDirectory::new().create("index").unwrap();
        let pages = Pages::new(file.map(1 << 30).unwrap(), file, 1 << 30);
        pages.reserve(10).unwrap();
        let growing = pages.growing.lock();
        std::thread::scope(|scope| {
            let (done, is_done) = mpsc::channel();
            let pages = &pages;
            let of_others = done.clone();
            scope.spawn(move || {
                pages.allocate(&mut [0; 7]).unwrap();
                of_others.send("small").unwrap();
            });
            assert_eq!(is_done.recv_timeout(Duration::from_secs(20)), Ok("small"));
            scope.spawn(move || {
                pages.allocate_run(2000).unwrap();
                done.send("large").unwrap();
            });
            assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err(), "there was no room for it");
            drop(growing);
            assert_eq!(is_done.recv(), Ok("large"));
        });
    }
}
