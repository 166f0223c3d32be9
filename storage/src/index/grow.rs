//! Growth and shrinking: a leaf is rebuilt into fresh pages, one step of the ladder 1, 2, 3, 4, 5, 6, 7, twice 4 pages.
//!
//! The steps are small (a factor of 1.25 down to 1.14), so the load of a leaf stays between about 0.7 and 0.875, and one
//! operation moves at most the 1029 cells of a full leaf. Doubling a directory is a copy of its entries.
//!
//! Invariants:
//! - Pages of the old leaf are untouched until the directory names the new one, and released after the intent is closed.
//! - Every step leaves the same set of cells.

use super::IndexError;
use super::cell;
use super::directory::{Directory, Entry};
use super::intent::Switch;
use super::layout::{COUNTS_AT, LEAF_PAGES, PAGE_CELLS, PAGE_FULL, PREFIX_BITS, page_at};
use super::leaf::{Builder, Counts, each_cell};
use super::pages::Pages;

/// The place of a table in a stripe.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The mapped file.
    pub pages: &'a Pages,
    /// Offset of the stripe header.
    pub stripe: usize,
    /// Offset of the table's root.
    pub root: usize,
}

/// Pages for this many keys, with room for an eighth more (but never a page beyond the next step when nothing was deleted).
fn pages_for(live: u32) -> usize {
    (live + live / 8) as usize / PAGE_FULL + 1
}

/// Whether a leaf of `pages` pages is so empty that fewer would do.
#[inline]
pub(super) fn is_sparse(live: u32, pages: usize) -> bool {
    (live as usize) * 8 < pages * PAGE_CELLS * 3
}

/// Makes room in the full leaf of `hash`: rebuilds it with more pages, with fewer if most of its cells were deleted, or as two.
pub(super) fn make_room(place: Place<'_>, directory: Directory, hash: u64) -> Result<(), IndexError> {
    let old = load(place.pages, directory, hash);
    let live = counts(place.pages, &old).live;
    let wanted = pages_for(live);
    if wanted <= LEAF_PAGES {
        return replace(place, directory, hash, &old, wanted);
    }
    if old.depth == PREFIX_BITS {
        let source = std::io::Error::other("a leaf has used up the hash bits");
        return Err(IndexError::Full { bytes: place.pages.file_bytes(), source });
    }
    let directory = if old.depth == directory.depth { directory.double(place.pages, place.root)? } else { directory };
    split(place, directory, hash, &old)
}

/// Rebuilds a sparse leaf with fewer pages, or merges it with its neighbour.
pub(super) fn shrink(place: Place<'_>, directory: Directory, hash: u64) -> Result<(), IndexError> {
    let old = load(place.pages, directory, hash);
    let live = counts(place.pages, &old).live;
    let wanted = pages_for(live);
    if wanted < old.pages().len() {
        return replace(place, directory, hash, &old, wanted);
    }
    if old.depth > 0 { merge(place, directory, hash, &old, live) } else { Ok(()) }
}

/// Gives an empty table leaves of this depth, each with room for `share` keys.
pub(super) fn spread(place: Place<'_>, depth: u32, share: u32) -> Result<(), IndexError> {
    let pages = place.pages;
    let mut directory = Directory::from_word(0, place.root);
    let old = load(pages, directory, 0);
    while directory.depth < depth {
        directory = directory.double(pages, place.root)?;
    }
    let span = 1 << (directory.depth - depth);
    for number in (0..directory.len()).step_by(span) {
        let leaf = Builder::new(pages, allocate(pages, depth, pages_for(share).min(LEAF_PAGES))?).finish();
        for copy in 0..span {
            Entry::store_words(pages, directory.entry_at(number + copy), leaf.to_words());
        }
    }
    pages.release(old.pages().iter().copied());
    Ok(())
}

fn load(pages: &Pages, directory: Directory, hash: u64) -> Entry {
    Entry::load(pages, directory.entry_at(directory.number(hash))).expect("entries were checked at open, and are only replaced")
}

fn counts(pages: &Pages, entry: &Entry) -> Counts {
    Counts::from_word(pages.word(page_at(entry.pages()[0]) + COUNTS_AT))
}

/// An entry of fresh pages.
fn allocate(pages: &Pages, depth: u32, len: usize) -> Result<Entry, IndexError> {
    let mut ids = [0; LEAF_PAGES];
    pages.allocate(&mut ids[..len])?;
    Ok(Entry::new(depth, &ids[..len]))
}

fn replace(place: Place<'_>, directory: Directory, hash: u64, old: &Entry, len: usize) -> Result<(), IndexError> {
    let pages = place.pages;
    let mut builder = Builder::new(pages, allocate(pages, old.depth, len)?);
    each_cell(pages, old, |word, extra, uses| builder.push(word, extra, uses));
    let leaf = builder.finish();
    let (first, span) = directory.span(hash, old.depth);
    let switch = Switch { first: directory.entry_at(first), counts: (span, 0), leaves: (leaf, leaf) };
    switch.carry_out(pages, place.stripe);
    pages.release(old.pages().iter().copied());
    Ok(())
}

fn split(place: Place<'_>, directory: Directory, hash: u64, old: &Entry) -> Result<(), IndexError> {
    let pages = place.pages;
    let goes_right = |word, extra| cell::hash(word, extra) >> (63 - old.depth) & 1 == 1;
    let mut counts = [0; 2];
    each_cell(pages, old, |word, extra, _| counts[usize::from(goes_right(word, extra))] += 1);
    let len = counts.map(|live| pages_for(live).min(LEAF_PAGES));
    let left = allocate(pages, old.depth + 1, len[0])?;
    let right = allocate(pages, old.depth + 1, len[1]).inspect_err(|_| pages.release(left.pages().iter().copied()))?;
    let mut builders = [Builder::new(pages, left), Builder::new(pages, right)];
    each_cell(pages, old, |word, extra, uses| builders[usize::from(goes_right(word, extra))].push(word, extra, uses));
    let leaves = builders.map(Builder::finish);
    let (first, span) = directory.span(hash, old.depth);
    let switch = Switch { first: directory.entry_at(first), counts: (span / 2, span / 2), leaves: (leaves[0], leaves[1]) };
    switch.carry_out(pages, place.stripe);
    pages.release(old.pages().iter().copied());
    Ok(())
}

/// Merges a small leaf with the one that differs from it in the last bit of the prefix, if that is as small.
fn merge(place: Place<'_>, directory: Directory, hash: u64, old: &Entry, live: u32) -> Result<(), IndexError> {
    let pages = place.pages;
    let twin = load(pages, directory, hash ^ 1 << (64 - old.depth));
    let live = live + counts(pages, &twin).live;
    if twin.depth != old.depth || live as usize > LEAF_PAGES * PAGE_FULL / 2 {
        return Ok(());
    }
    let mut builder = Builder::new(pages, allocate(pages, old.depth - 1, pages_for(live))?);
    for half in [old, &twin] {
        each_cell(pages, half, |word, extra, uses| builder.push(word, extra, uses));
    }
    let leaf = builder.finish();
    let (first, span) = directory.span(hash, leaf.depth);
    let switch = Switch { first: directory.entry_at(first), counts: (span, 0), leaves: (leaf, leaf) };
    switch.carry_out(pages, place.stripe);
    pages.release(old.pages().iter().chain(twin.pages()).copied());
    Ok(())
}
