//! Shared mappings of files: the only module of this crate with `unsafe` code.
//!
//! Invariants:
//! - A [`Region`] is reached only through atomics and copies made of them, so threads that race on it read old or new
//!   words, never undefined ones.
//! - An [`AppendMap`] has one [`Appender`]. Bytes below `written` never change again, bytes from `written` on are seen by the
//!   appender alone: a slice handed out by [`AppendMap::read`] is therefore constant.
//! - A file is mapped either as a bare `Region` (the index) or as one `AppendMap` (a segment). The data directory's `LOCK`
//!   keeps other writing processes away; nothing here can stop a stranger that writes to the files.
//! - A region may be longer than its file. Nobody touches bytes beyond the end of the file: the kernel would send SIGBUS.
#![allow(unsafe_code, reason = "mappings need raw pointers; no other module does")]

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};

/// A shared read-write mapping, of a file or of anonymous memory.
#[derive(Debug)]
pub struct Region {
    map: MmapRaw,
    /// Whether a file stands behind it, from which its pages can be had again.
    of_file: bool,
}

impl Region {
    /// Maps `len` bytes of `file`. `len` may exceed the file, which then grows under the mapping.
    pub fn map_file(file: &File, len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(len).no_reserve_swap().map_raw(file)?;
        Ok(Self { map, of_file: true })
    }

    /// Reserves `len` bytes of zeroed anonymous memory; pages cost memory when first written.
    pub fn anonymous(len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(len).no_reserve_swap().map_anon()?;
        Ok(Self { map: map.into(), of_file: false })
    }

    /// Length of the mapping in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether the mapping has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The aligned 8-byte word at `offset`.
    #[inline]
    #[must_use]
    pub fn u64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset < self.len() && self.len() - offset >= 8, "word outside of the region");
        // SAFETY: in bounds and aligned by the assertion (a mapping starts at a page). The memory lives as long as `self`
        // and is only ever accessed as atomics, so a shared reference to an atomic is allowed.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(offset).cast()) }
    }

    /// The aligned 4-byte word at `offset`.
    #[inline]
    #[must_use]
    pub fn u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset < self.len() && self.len() - offset >= 4, "word outside of the region");
        // SAFETY: as for `u64`.
        unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(offset).cast()) }
    }

    #[inline]
    fn u8(&self, offset: usize) -> &AtomicU8 {
        assert!(offset < self.len(), "byte outside of the region");
        // SAFETY: as for `u64`; a byte is always aligned.
        unsafe { AtomicU8::from_ptr(self.map.as_mut_ptr().add(offset)) }
    }

    /// Asks the processor to load the cache line at `offset`. A hint: no effect where it is not supported or out of range.
    #[inline]
    pub fn prefetch(&self, offset: usize) {
        prefetch(self.map.as_ptr().wrapping_add(offset));
    }

    /// Copies bytes out; words are read one by one, so a racing writer may show in part.
    pub fn copy_out(&self, offset: usize, to: &mut [u8]) {
        let mut at = offset;
        let mut rest = to;
        while !rest.is_empty() {
            let step = if at.is_multiple_of(8) && rest.len() >= 8 {
                rest[..8].copy_from_slice(&self.u64(at).load(Ordering::Relaxed).to_ne_bytes());
                8
            } else {
                rest[0] = self.u8(at).load(Ordering::Relaxed);
                1
            };
            at += step;
            rest = &mut rest[step..];
        }
    }

    /// Copies bytes in, word by word. Must not be used below the written end of an [`AppendMap`] of the same memory.
    pub fn copy_in(&self, offset: usize, from: &[u8]) {
        let mut at = offset;
        let mut rest = from;
        while let Some(&first) = rest.first() {
            let step = match rest.first_chunk::<8>() {
                Some(word) if at.is_multiple_of(8) => {
                    self.u64(at).store(u64::from_ne_bytes(*word), Ordering::Relaxed);
                    8
                }
                _ => {
                    self.u8(at).store(first, Ordering::Relaxed);
                    1
                }
            };
            at += step;
            rest = &rest[step..];
        }
    }

    /// Makes the pages of a range present and writable now rather than at the first touch.
    pub fn populate_write(&self, offset: usize, len: usize) -> io::Result<()> {
        self.advise(Advice::PopulateWrite, offset, len)
    }

    /// Makes the pages of a range present for reading.
    pub fn populate_read(&self, offset: usize, len: usize) -> io::Result<()> {
        self.advise(Advice::PopulateRead, offset, len)
    }

    /// Lets go of the pages, which stay in the page cache: a later access finds the same bytes, perhaps on the medium.
    pub fn release(&self) -> io::Result<()> {
        if !self.of_file {
            return Ok(());
        }
        // SAFETY: the mapping is shared and of a file, so this unmaps pages and loses nothing that was stored into them; references into
        // the mapping stay valid, and what they read is what the file holds.
        unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) }
    }

    /// How many of the first `len` bytes are in the page cache, mapped or not, in whole pages.
    pub fn resident(&self, len: usize) -> io::Result<u64> {
        let pages = len.min(self.len()).div_ceil(PAGE);
        let mut present = vec![0_u8; pages];
        // SAFETY: the range starts at the start of the mapping, a page, and lies in it; `present` has a byte for each of its pages.
        let outcome = unsafe { libc::mincore(self.map.as_mut_ptr().cast(), pages * PAGE, present.as_mut_ptr()) };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(present.iter().filter(|page| **page & 1 != 0).count() as u64 * PAGE as u64)
    }

    /// Tells the kernel that accesses come in no order, so that a fault reads one page and not its neighbours.
    pub fn advise_random(&self) -> io::Result<()> {
        self.advise(Advice::Random, 0, self.len())
    }

    /// Keeps the kernel from backing a sparsely used mapping with huge pages.
    pub fn avoid_huge_pages(&self) -> io::Result<()> {
        match self.advise(Advice::NoHugePage, 0, self.len()) {
            // A kernel without huge pages does not know the advice.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            outcome => outcome,
        }
    }

    fn advise(&self, advice: Advice, offset: usize, len: usize) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        self.map.advise_range(advice, offset, len)
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn prefetch(_address: *const u8) {}

/// The right to append to one [`AppendMap`]. Made once, with it; neither clonable nor forgeable.
#[derive(Debug)]
pub struct Appender {
    map: u64,
}

/// A mapped file that only grows at its written end, which readers may read below without locks.
#[derive(Debug)]
pub struct AppendMap {
    region: Arc<Region>,
    id: u64,
    /// End of the bytes that may be appended: the allocated length of the file.
    capacity: usize,
    written: AtomicUsize,
}

impl AppendMap {
    /// Takes over a region whose bytes below `written` are final. `capacity` is the allocated length of the file.
    #[must_use]
    pub fn new(region: Arc<Region>, written: usize, capacity: usize) -> (Self, Appender) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        assert!(written <= capacity && capacity <= region.len(), "an append map lies within its region");
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let map = Self { region, id, capacity, written: AtomicUsize::new(written) };
        (map, Appender { map: id })
    }

    /// End of the bytes that may be read.
    #[inline]
    #[must_use]
    pub fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    /// End of the bytes that may be appended.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The region beneath.
    #[must_use]
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Appends `len` bytes, which `fill` writes in place, and returns the offset of the first; `None` when they do not fit.
    #[inline]
    pub fn append_with(&self, appender: &mut Appender, len: usize, fill: impl FnOnce(&mut [u8])) -> Option<usize> {
        assert_eq!(appender.map, self.id, "the appender of another map");
        let start = self.written.load(Ordering::Relaxed);
        let end = start.checked_add(len).filter(|end| *end <= self.capacity)?;
        // SAFETY: `start..end` is within the capacity, hence within the mapping. The appender is borrowed exclusively and there
        // is one a map, and readers stay below `written`, which is moved only after `fill`: nobody else has these bytes.
        fill(unsafe { std::slice::from_raw_parts_mut(self.region.map.as_mut_ptr().add(start), len) });
        // Release: who sees the new end sees the bytes below it.
        self.written.store(end, Ordering::Release);
        Some(start)
    }

    /// The bytes `offset..offset + len`, if all of them are below the written end.
    #[inline]
    #[must_use]
    pub fn read(&self, offset: usize, len: usize) -> Option<&[u8]> {
        offset.checked_add(len).filter(|end| *end <= self.written())?;
        // SAFETY: in bounds, as `written` never exceeds the capacity; bytes below `written` do not change any more, and the
        // memory lives as long as `self`.
        Some(unsafe { std::slice::from_raw_parts(self.region.map.as_ptr().add(offset), len) })
    }

    /// All bytes from `offset` to the written end, or `None` when `offset` is beyond it.
    #[inline]
    #[must_use]
    pub fn read_from(&self, offset: usize) -> Option<&[u8]> {
        self.read(offset, self.written().checked_sub(offset)?)
    }

    /// Asks the processor to load the cache line at `offset`.
    #[inline]
    pub fn prefetch(&self, offset: usize) {
        self.region.prefetch(offset);
    }

    /// Makes up to `len` bytes after the written end present and writable ahead of the appender.
    pub fn populate_ahead(&self, len: usize) -> io::Result<()> {
        let start = self.written() & !(PAGE - 1);
        let end = start.saturating_add(len).min(self.capacity);
        self.region.populate_write(start, end - start)
    }
}

/// Granularity of `madvise`.
const PAGE: usize = 4096;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn copies_at_any_alignment_round_trip() {
        let region = Region::anonymous(PAGE).unwrap();
        let bytes: Vec<u8> = (0..100).collect();
        for offset in 0..17 {
            region.copy_in(offset, &bytes);
            let mut back = [0; 100];
            region.copy_out(offset, &mut back);
            assert_eq!(back[..], bytes[..]);
        }
        region.u64(8).store(0x0102_0304_0506_0708, Ordering::Relaxed);
        assert_eq!(region.u32(8).load(Ordering::Relaxed), 0x0506_0708);
    }

    #[test]
    fn readers_see_only_what_is_written() {
        let region = Arc::new(Region::anonymous(2 * PAGE).unwrap());
        let (map, mut appender) = AppendMap::new(region, 0, PAGE);
        map.populate_ahead(1 << 20).unwrap();
        assert_eq!(map.append_with(&mut appender, 3, |bytes| bytes.copy_from_slice(b"abc")), Some(0));
        assert_eq!(map.append_with(&mut appender, 2, |bytes| bytes.copy_from_slice(b"de")), Some(3));
        assert_eq!(map.read(1, 4), Some(&b"bcde"[..]));
        assert_eq!(map.read(1, 5), None);
        assert_eq!(map.read(usize::MAX, 2), None);
        assert_eq!(map.read_from(5), Some(&b""[..]));
        assert_eq!(map.read_from(6), None);
    }

    #[test]
    fn append_beyond_the_capacity_is_refused() {
        let (map, mut appender) = AppendMap::new(Arc::new(Region::anonymous(PAGE).unwrap()), 0, 10);
        assert_eq!(map.append_with(&mut appender, 11, |_| ()), None);
        assert_eq!(map.append_with(&mut appender, usize::MAX, |_| ()), None);
        assert_eq!(map.append_with(&mut appender, 10, |_| ()), Some(0));
        assert_eq!(map.append_with(&mut appender, 1, |_| ()), None);
    }

    #[test]
    #[should_panic(expected = "the appender of another map")]
    fn appender_of_another_map_is_refused() {
        let region = Arc::new(Region::anonymous(PAGE).unwrap());
        let (map, _) = AppendMap::new(Arc::clone(&region), 0, 10);
        let (_, mut other) = AppendMap::new(region, 0, 10);
        let _ = map.append_with(&mut other, 1, |_| ());
    }

    #[test]
    #[should_panic(expected = "outside of the region")]
    fn word_beyond_the_end_is_refused() {
        let region = Region::anonymous(PAGE).unwrap();
        let _ = region.u64(PAGE);
    }

    #[test]
    fn file_grows_under_its_mapping() {
        let file = tempfile::tempfile().unwrap();
        let region = Region::map_file(&file, 1 << 30).unwrap();
        file.set_len(8).unwrap();
        region.u64(0).store(7, Ordering::Relaxed);
        let mut back = [0; 8];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut back, 0).unwrap();
        assert_eq!(u64::from_ne_bytes(back), 7);
    }
}
