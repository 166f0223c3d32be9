//! A file in memory: page cache, and what of it is durable.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use super::Disk;
use crate::fs::FileIdentity;
use crate::mapping::Region;

/// What a medium writes whole or not at all.
pub(in crate::fs) const SECTOR: usize = 512;
/// Address space reserved for a file: a file may grow this far under its maps. Tests keep thousands of files at a time.
const RESERVED: usize = 2 << 30;
const PAGE: usize = 4096;

/// A file, whatever its names.
#[derive(Debug)]
pub(in crate::fs) struct Node {
    disk: Arc<Disk>,
    identity: FileIdentity,
    cache: Arc<Region>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    len: u64,
    /// Bytes taken from the disk, from the start of the file on.
    allocated: u64,
    /// What is on the medium.
    durable: Vec<u8>,
    /// Sectors that a failed sync has lost: the kernel holds them clean, and writes them only once they change again.
    lost: HashMap<usize, Vec<u8>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.disk.give_back(self.state.get_mut().allocated);
    }
}

impl Node {
    pub(super) fn new(disk: &Arc<Disk>) -> io::Result<Arc<Self>> {
        let inode = disk.next_inode();
        Self::build(disk, FileIdentity { device: 1, inode, birth_ns: inode }, State::default())
    }

    fn build(disk: &Arc<Disk>, identity: FileIdentity, state: State) -> io::Result<Arc<Self>> {
        let cache = Region::anonymous(RESERVED)?;
        cache.avoid_huge_pages()?;
        Ok(Arc::new(Self { disk: Arc::clone(disk), identity, cache: Arc::new(cache), state: Mutex::new(state) }))
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(super) fn identity(&self) -> FileIdentity {
        self.identity
    }

    pub(in crate::fs) fn len(&self) -> u64 {
        self.state.lock().len
    }

    pub(super) fn map(&self, len: usize) -> io::Result<Arc<Region>> {
        if len > RESERVED { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(Arc::clone(&self.cache)) }
    }

    /// Fills `buf` as far as the file goes.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.len().saturating_sub(offset).min(buf.len() as u64) as usize;
        if available > 0 {
            self.cache.copy_out(offset as usize, &mut buf[..available]);
        }
        Ok(available)
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // Writing to where nothing is allocated allocates.
        self.allocate(offset, bytes.len() as u64)?;
        self.cache.copy_in(offset as usize, bytes);
        Ok(())
    }

    pub(super) fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = end_of(offset, len)?;
        let mut state = self.state.lock();
        if end > state.allocated {
            self.disk.take(end - state.allocated)?;
            state.allocated = end;
        }
        state.len = state.len.max(end);
        Ok(())
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        end_of(0, len)?;
        let mut state = self.state.lock();
        if len < state.len {
            self.clear(len, state.len);
            self.disk.give_back(state.allocated.saturating_sub(len));
            state.allocated = state.allocated.min(len);
            // With them goes that they are held clean: what is written there next is new, even if it is the same.
            state.lost.retain(|number, _| ((number * SECTOR) as u64) < len);
        }
        state.len = len;
        Ok(())
    }

    pub(super) fn zero_range(&self, offset: u64, len: u64) -> io::Result<()> {
        self.allocate(offset, len)?;
        self.clear(offset, offset + len);
        Ok(())
    }

    /// Zeros a range, touching only pages that hold something.
    fn clear(&self, from: u64, to: u64) {
        let mut at = from as usize;
        let mut page = [0; PAGE];
        while at < to as usize {
            let piece = (PAGE - at % PAGE).min(to as usize - at);
            self.cache.copy_out(at, &mut page[..piece]);
            if page[..piece].iter().any(|byte| *byte != 0) {
                self.cache.copy_in(at, &[0; PAGE][..piece]);
            }
            at += piece;
        }
    }

    /// Makes the file's bytes durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let outcome = self.disk.count_sync();
        if !self.disk.is_tracked() {
            return outcome;
        }
        let image = self.image(state.len);
        match outcome {
            Ok(()) => state.write_back(image),
            Err(_) => state.lose(&image),
        }
        outcome
    }

    fn image(&self, len: u64) -> Vec<u8> {
        let mut image = vec![0; len as usize];
        self.cache.copy_out(0, &mut image);
        image
    }

    /// The file as another process finds it after this one was killed.
    pub(in crate::fs) fn after_kill(&self, disk: &Arc<Disk>) -> io::Result<Arc<Self>> {
        let state = self.state.lock().clone();
        let image = self.image(state.len);
        self.rebuilt(disk, state, &image)
    }

    /// The file after power was lost: each sector that was not durable is new or old, and so is the length.
    pub(in crate::fs) fn after_power_loss(&self, disk: &Arc<Disk>, random: &mut StdRng) -> io::Result<Arc<Self>> {
        let mut state = self.state.lock().clone();
        let mut image = self.image(state.len);
        let keep = chance(random);
        let len = if random.random_bool(keep) { image.len() } else { state.durable.len() };
        image.resize(len, 0);
        state.durable.resize(len, 0);
        for (number, (new, old)) in image.chunks_mut(SECTOR).zip(state.durable.chunks(SECTOR)).enumerate() {
            let lost = state.lost.get(&number).is_some_and(|lost| lost == new);
            if new != old && (lost || !random.random_bool(keep)) {
                new.copy_from_slice(old);
            }
        }
        state.len = len as u64;
        state.allocated = state.allocated.max(state.len);
        state.durable.clone_from(&image);
        state.lost.clear();
        self.rebuilt(disk, state, &image)
    }

    fn rebuilt(&self, disk: &Arc<Disk>, state: State, image: &[u8]) -> io::Result<Arc<Self>> {
        disk.take_existing(state.allocated);
        let node = Self::build(disk, self.identity, state)?;
        node.fill(image);
        Ok(node)
    }

    /// Copies an image in, page by page, leaving pages of zeros alone.
    fn fill(&self, image: &[u8]) {
        for (number, page) in image.chunks(PAGE).enumerate() {
            if page.iter().any(|byte| *byte != 0) {
                self.cache.copy_in(number * PAGE, page);
            }
        }
    }

    /// Flips a bit, in the cache and on the medium.
    pub(in crate::fs) fn flip_bit(&self, offset: u64, bit: u8) {
        let mut state = self.state.lock();
        let mut byte = [0];
        self.cache.copy_out(offset as usize, &mut byte);
        byte[0] ^= 1 << bit;
        self.cache.copy_in(offset as usize, &byte);
        if let Some(durable) = state.durable.get_mut(offset as usize) {
            *durable ^= 1 << bit;
        }
    }
}

impl State {
    fn write_back(&mut self, mut image: Vec<u8>) {
        for (number, lost) in &self.lost {
            let start = number * SECTOR;
            let Some(sector) = image.get_mut(start..(start + SECTOR).min(self.len as usize)) else { continue };
            if *sector == lost[..] {
                let old = self.durable.get(start..).unwrap_or_default();
                sector.fill(0);
                sector.iter_mut().zip(old).for_each(|(byte, old)| *byte = *old);
            }
        }
        self.durable = image;
    }

    fn lose(&mut self, image: &[u8]) {
        for (number, sector) in image.chunks(SECTOR).enumerate() {
            let start = number * SECTOR;
            if self.durable.get(start..start + sector.len()) != Some(sector) {
                self.lost.insert(number, sector.to_vec());
            }
        }
    }
}

/// How much of what was not durable is kept: all, nothing or anything between, so that every kind of tear is seen.
pub(super) fn chance(random: &mut StdRng) -> f64 {
    [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)]
}

fn end_of(offset: u64, len: u64) -> io::Result<u64> {
    match offset.checked_add(len) {
        Some(end) if end <= RESERVED as u64 => Ok(end),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }
}
