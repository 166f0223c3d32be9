//! Making an index, and finding out whether one on disk can be used.
//!
//! Invariants:
//! - An index that is opened has no open intent, no entry that points outside of the file, and no page used twice.
//! - Pages that no root reaches are free: whatever a kill interrupted, nothing leaks.

use std::sync::atomic::AtomicU64;

use std::io;

use parking_lot::{Mutex, RwLock};

use super::bitmap::Bitmap;
use super::directory::{Directory, Entry};
use super::header::{Header, MAGIC, Trust, VERSION};
use super::intent::{Repairs, settle};
use super::layout::{ENTRY, FILE_STEP, FIRST_PAGE, PAGE, PAGE_DEPTH, PREFIX_BITS, ROOT, ROOT_COUNTERS_AT, ROOTS_AT, stripe_at};
use super::live::LiveCells;
use super::pages::Pages;
use super::stripe::{Stripe, TableSlot};
use super::tables::TableMap;
use super::{Distrust, Index, IndexError, PaddedStripe};
use crate::fs::{self, FileIdentity};
use crate::types::STRIPES;

/// What an index on disk is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// Identity of the manifest beside the index.
    pub manifest: FileIdentity,
    /// Seed of the key hashes, from the manifest.
    pub key_hash_seed: u64,
}

/// What [`Index::open`] found.
#[derive(Debug)]
pub enum Opened {
    /// An index that can be used, every stripe up to its applied LSN.
    Trusted(Box<Index>),
    /// None that can; the caller makes a new one.
    Untrusted(Distrust),
}

impl Index {
    /// Makes an empty index file, in place of any that there is. It is not trusted before [`Index::trust`].
    /// `max_bytes` of address space are reserved for it to grow.
    pub fn create(directory: &dyn fs::Directory, name: &str, max_bytes: usize) -> Result<Self, IndexError> {
        let file = directory.create(name).map_err(|source| IndexError::Io { action: "create", source })?;
        let bytes = (FIRST_PAGE as usize * PAGE).next_multiple_of(FILE_STEP);
        file.allocate(0, bytes as u64).map_err(|source| IndexError::Full { bytes: 0, source })?;
        let identity = identity(directory, name)?;
        let index = Self::new(map(file, max_bytes)?, identity);
        let header = Header(&index.pages);
        header.initialise();
        header.set_tables(&TableMap::default());
        index.pages.replace_allocator(Bitmap::new((bytes / PAGE) as u32, FIRST_PAGE));
        Ok(index)
    }

    /// Opens the index of this name if it is the one that was trusted, in these surroundings. Settles what a kill interrupted.
    pub fn open(directory: &dyn fs::Directory, name: &str, max_bytes: usize, surroundings: &Surroundings) -> Result<Opened, IndexError> {
        let io = |source| IndexError::Io { action: "open", source };
        if !directory.exists(name).map_err(io)? {
            return Ok(Opened::Untrusted(Distrust::Missing));
        }
        let file = directory.open(name).map_err(io)?;
        let bytes = file.len().map_err(io)?;
        if bytes < (FIRST_PAGE as usize * PAGE) as u64 || bytes > max_bytes as u64 {
            return Ok(Opened::Untrusted(Distrust::NotAnIndex));
        }
        let identity = identity(directory, name)?;
        let mut index = Self::new(map(file, max_bytes)?, identity);
        match index.examine(surroundings, (bytes / PAGE as u64) as u32) {
            Ok(repairs) => {
                index.repairs = repairs;
                index.evicted = AtomicU64::new(Header(&index.pages).evicted().unwrap_or_default().0);
                Ok(Opened::Trusted(Box::new(index)))
            }
            Err(distrust) => Ok(Opened::Untrusted(distrust)),
        }
    }

    fn new(pages: Pages, identity: Option<FileIdentity>) -> Self {
        let stripes = (0..STRIPES).map(|number| PaddedStripe(RwLock::new(Stripe::new(number)))).collect();
        Self {
            pages,
            stripes,
            dropped: Mutex::default(),
            header: Mutex::default(),
            unlogged: Mutex::default(),
            evicted: AtomicU64::new(0),
            identity,
            repairs: Repairs::default(),
            live: LiveCells::new(),
        }
    }

    fn examine(&self, surroundings: &Surroundings, file_pages: u32) -> Result<Repairs, Distrust> {
        let header = Header(&self.pages);
        if header.magic() != MAGIC {
            return Err(Distrust::NotAnIndex);
        }
        if header.version() != VERSION {
            return Err(Distrust::Version(header.version()));
        }
        if !header.is_complete() {
            return Err(Distrust::Incomplete);
        }
        self.compare(&header.trust().ok_or(Distrust::Incomplete)?, surroundings)?;
        let tables = header.tables().ok_or(Distrust::Incomplete)?;
        let mut repairs = Repairs::default();
        let mut bitmap = Bitmap::new(file_pages, FIRST_PAGE);
        for stripe in 0..STRIPES {
            let in_file = |at: usize, len: usize| at.checked_add(len).is_some_and(|end| end <= file_pages as usize * PAGE);
            let settled = settle(&self.pages, stripe_at(stripe), in_file).map_err(|what| Distrust::Damaged { stripe, table: 0, what })?;
            repairs.undone += settled.undone;
            repairs.redone += settled.redone;
            for table in tables.unused() {
                Directory::withdraw(&self.pages, stripe_at(stripe) + ROOTS_AT + ROOT * table.number());
            }
            for table in TableSlot::all() {
                let root = stripe_at(stripe) + ROOTS_AT + ROOT * table.number();
                walk(&self.pages, root, &mut bitmap).map_err(|what| Distrust::Damaged { stripe, table: table.number(), what })?;
            }
        }
        self.pages.replace_allocator(bitmap);
        Ok(repairs)
    }

    fn compare(&self, trust: &Trust, surroundings: &Surroundings) -> Result<(), Distrust> {
        if trust.boot_id != surroundings.boot_id {
            return Err(Distrust::Boot);
        }
        // A filesystem that cannot tell files apart cannot tell a copied index from the real one.
        if self.identity != Some(trust.index) {
            return Err(Distrust::Identity("the index"));
        }
        if !trust.manifests.contains(&surroundings.manifest) {
            return Err(Distrust::Identity("the manifest"));
        }
        if trust.key_hash_seed != surroundings.key_hash_seed {
            return Err(Distrust::Seed);
        }
        Ok(())
    }
}

fn identity(directory: &dyn fs::Directory, name: &str) -> Result<Option<FileIdentity>, IndexError> {
    directory.identity(name).map_err(|source| IndexError::Io { action: "identify", source })
}

fn map(file: Box<dyn fs::File>, max_bytes: usize) -> Result<Pages, IndexError> {
    let map = |file: &dyn fs::File| -> io::Result<_> {
        let region = file.map(max_bytes)?;
        // Neighbours of a page in the file are no neighbours in use.
        region.advise_random()?;
        Ok(region)
    };
    let region = map(file.as_ref()).map_err(|source| IndexError::Io { action: "map", source })?;
    Ok(Pages::new(region, file, max_bytes))
}

/// Marks the pages that a root reaches.
fn walk(pages: &Pages, root: usize, bitmap: &mut Bitmap) -> Result<(), &'static str> {
    let Some(directory) = Directory::open(pages, root) else { return Ok(()) };
    if !bitmap.mark(pages.half(root + ROOT_COUNTERS_AT)) {
        return Err("the counter page is out of place");
    }
    let depths = if directory.page == 0 { 0..=0 } else { PAGE_DEPTH..=PREFIX_BITS };
    if !depths.contains(&directory.depth) {
        return Err("the directory has an impossible depth");
    }
    let run = ((directory.len() * ENTRY / PAGE) as u32).min(directory.run());
    if (0..run).any(|page| !directory.page.checked_add(page).is_some_and(|page| bitmap.mark(page))) {
        return Err("the directory is out of place");
    }
    let mut number = 0;
    while number < directory.len() {
        number += walk_leaf(pages, directory, number, bitmap)?;
    }
    Ok(())
}

/// Marks the pages of the leaf at an entry and returns the number of entries it fills.
fn walk_leaf(pages: &Pages, directory: Directory, number: usize, bitmap: &mut Bitmap) -> Result<usize, &'static str> {
    let words = Entry::words(pages, directory.entry_at(number));
    let entry = Entry::load(pages, directory.entry_at(number)).ok_or("a leaf of no size")?;
    if entry.depth > directory.depth {
        return Err("a leaf deeper than its directory");
    }
    let span = 1 << (directory.depth - entry.depth);
    if !number.is_multiple_of(span) {
        return Err("a leaf out of place");
    }
    if (1..span).any(|other| Entry::words(pages, directory.entry_at(number + other)) != words) {
        return Err("entries of one leaf differ");
    }
    if entry.pages().iter().any(|page| !bitmap.mark(*page)) {
        return Err("a page of a leaf is out of place");
    }
    Ok(span)
}
