//! The directory of a table in a stripe: extendible hashing over leaves.
//!
//! The root's directory word says where the entries are and how many: 2^depth, by the top bits of the hash. Depth 0 means the
//! inline entry of the root; deeper directories are runs of whole pages. A leaf of depth d fills 2^(depth − d) neighbouring
//! entries, all equal, so a lookup reads root, entry and leaf, and no leaf header.
//!
//! Invariants:
//! - The directory word is stored last when a directory is made or doubled: a reader of the file sees the old one or the new.
//! - `PAGE_DEPTH <= depth <= PREFIX_BITS`, or 0; the depth of a leaf is at most that of its directory.

use super::IndexError;
use super::layout::{ENTRY, ENTRY_PAGES_AT, ENTRY_WORDS, LEAF_PAGES, PAGE, PAGE_DEPTH, PREFIX_BITS, ROOT_INLINE_AT, page_at};
use super::leaf::Leaf;
use super::pages::{Pages, order_point};

const PRESENT: u64 = 1 << 63;
const DEPTH_SHIFT: u32 = 32;

/// An opened directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directory {
    /// Offset of the first entry.
    pub at: usize,
    /// Its first page, 0 if inline.
    pub page: u32,
    /// Hash bits that choose an entry.
    pub depth: u32,
}

impl Directory {
    /// The directory of a root, or `None` when the table is absent.
    #[inline(always)]
    pub fn open(pages: &Pages, root: usize) -> Option<Self> {
        let word = pages.word(root);
        (word & PRESENT != 0).then(|| Self::from_word(word, root))
    }

    /// Decodes a directory word.
    #[inline(always)]
    pub fn from_word(word: u64, root: usize) -> Self {
        let page = word as u32;
        let at = if page == 0 { root + ROOT_INLINE_AT } else { page_at(page) };
        Self { at, page, depth: (word >> DEPTH_SHIFT) as u32 & 0xff }
    }

    /// Stores the directory word: from here on the table is what this directory says.
    pub fn publish(&self, pages: &Pages, root: usize) {
        order_point();
        pages.set_word(root, PRESENT | u64::from(self.depth) << DEPTH_SHIFT | u64::from(self.page));
        order_point();
    }

    /// Removes a table from its root.
    pub fn withdraw(pages: &Pages, root: usize) {
        order_point();
        pages.set_word(root, 0);
        order_point();
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        1 << self.depth
    }

    /// Pages of the run; 0 if inline.
    pub fn run(&self) -> u32 {
        if self.page == 0 { 0 } else { (self.len() * ENTRY / PAGE) as u32 }
    }

    /// Offset of an entry.
    #[inline(always)]
    pub fn entry_at(&self, number: usize) -> usize {
        self.at + ENTRY * number
    }

    /// Number of the entry for a hash.
    #[inline(always)]
    pub fn number(&self, hash: u64) -> usize {
        // Two shifts, as a shift by 64 (depth 0) is not defined.
        ((hash >> 1) >> (63 - self.depth)) as usize
    }

    /// The leaf for a hash.
    #[inline(always)]
    pub fn leaf(&self, pages: &Pages, hash: u64) -> Leaf {
        Leaf::at(pages, self.entry_at(self.number(hash)))
    }

    /// First entry, and number of entries, of a leaf of depth `depth`.
    pub fn span(&self, hash: u64, depth: u32) -> (usize, usize) {
        let len = 1 << (self.depth - depth);
        (self.number(hash) & !(len - 1), len)
    }

    /// Makes the directory one bit deeper (or, from inline, deep enough for a page) in fresh pages.
    pub fn double(&self, pages: &Pages, root: usize) -> Result<Self, IndexError> {
        let depth = if self.page == 0 { PAGE_DEPTH } else { self.depth + 1 };
        debug_assert!(depth <= PREFIX_BITS);
        let run = ((ENTRY << depth) / PAGE) as u32;
        let page = pages.allocate_run(run)?;
        let new = Self { at: page_at(page), page, depth };
        let copies = 1 << (depth - self.depth);
        for number in 0..self.len() {
            let words = Entry::words(pages, self.entry_at(number));
            for copy in 0..copies {
                Entry::store_words(pages, new.entry_at(number * copies + copy), words);
            }
        }
        new.publish(pages, root);
        pages.release(self.page..self.page + self.run());
        Ok(new)
    }
}

/// A directory entry: the leaf's depth and pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Hash bits that all keys of the leaf share.
    pub depth: u32,
    len: usize,
    ids: [u32; LEAF_PAGES],
}

impl Entry {
    /// An entry for these pages.
    pub fn new(depth: u32, pages: &[u32]) -> Self {
        let mut ids = [0; LEAF_PAGES];
        ids[..pages.len()].copy_from_slice(pages);
        Self { depth, len: pages.len(), ids }
    }

    /// Ids of the leaf's pages.
    pub fn pages(&self) -> &[u32] {
        &self.ids[..self.len]
    }

    /// Reads an entry; `None` if no leaf has that many pages.
    pub fn load(pages: &Pages, at: usize) -> Option<Self> {
        let (depth, len) = unpack(pages.half(at));
        let ids = std::array::from_fn(|page| pages.half(at + ENTRY_PAGES_AT + 4 * page));
        (1..=LEAF_PAGES).contains(&len).then_some(Self { depth, len, ids })
    }

    /// The entry as the words of the file.
    pub fn to_words(self) -> [u64; ENTRY_WORDS] {
        let meta = self.depth | (self.len as u32) << 8;
        std::array::from_fn(|word| {
            let low = if word == 0 { meta } else { self.ids[2 * word - 1] };
            u64::from(self.ids[2 * word]) << 32 | u64::from(low)
        })
    }

    /// Reads an entry's words.
    pub fn words(pages: &Pages, at: usize) -> [u64; ENTRY_WORDS] {
        std::array::from_fn(|word| pages.word(at + 8 * word))
    }

    /// Writes an entry's words.
    pub fn store_words(pages: &Pages, at: usize, words: [u64; ENTRY_WORDS]) {
        for (number, word) in words.into_iter().enumerate() {
            pages.set_word(at + 8 * number, word);
        }
    }
}

/// Depth and number of pages in the first half of an entry.
#[inline(always)]
pub(super) fn unpack(meta: u32) -> (u32, usize) {
    (meta & 0xff, (meta >> 8 & 0xff) as usize)
}
