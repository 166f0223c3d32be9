//! Where everything lies in the index file: constants derived from one another, and nothing else.
//!
//! ```text
//! header 4096 B | 256 stripe headers of 2560 B | pages of 2048 B ...
//!
//! stripe header   0 applied LSN 8 | 8 last delete LSN 8 | 64 intent 128 | 192 growth intent 128 | 512 roots 32 x 64
//! root            0 directory word 8 | 8 counter page 4 | 16 keys 8 | 24 expires 8 | 32 inline directory entry 32
//! directory entry 0 depth 1, pages 1, 0 2 | 4 page ids 7 x 4
//! leaf page       0 lines 21 x 64 (8 cell words each) | 1344 extras 168 x 4 | 2016 used 4, live 4 (first page of a leaf) | 0
//! counter page    64 slots x 32: keys 4, expires 4, bytes 8, digest 16
//! ```

use crate::types::STRIPES;

/// Unit of allocation, numbered from the start of the file.
pub(super) const PAGE: usize = 2048;
/// Bytes by which the file grows.
pub(super) const FILE_STEP: usize = 1 << 20;

/// Cells whose words share a cache line.
pub(super) const LINE_CELLS: usize = 8;
/// Bytes of a line of words.
pub(super) const LINE: usize = 8 * LINE_CELLS;
/// Lines of a page.
pub(super) const PAGE_LINES: usize = 21;
/// Cells of a page.
pub(super) const PAGE_CELLS: usize = LINE_CELLS * PAGE_LINES;
/// Offset of the extras in a page.
pub(super) const EXTRAS_AT: usize = LINE * PAGE_LINES;
/// Offset of a leaf's counts in its first page.
pub(super) const COUNTS_AT: usize = EXTRAS_AT + 4 * PAGE_CELLS;
/// Used cells a page (live or deleted) from which on a leaf grows: 7/8, so probes stay short.
pub(super) const PAGE_FULL: usize = PAGE_CELLS * 7 / 8;
/// Pages of the largest leaf. One page more would be two leaves.
pub(super) const LEAF_PAGES: usize = 7;

/// Bytes of the file header.
pub(super) const HEADER: usize = 4096;
/// Bytes of a stripe header.
pub(super) const STRIPE: usize = ROOTS_AT + ROOT * TABLE_SLOTS;
/// Offset of the applied LSN in a stripe header.
pub(super) const APPLIED_AT: usize = 0;
/// Offset of the LSN of the stripe's last delete.
pub(super) const LAST_DELETE_AT: usize = 8;
/// Offset of the undo intent.
pub(super) const INTENT_AT: usize = 64;
/// Offset of the redo intent of growth.
pub(super) const GROWTH_AT: usize = 192;
/// Offset of the table roots.
pub(super) const ROOTS_AT: usize = 512;
/// Bytes of a table root.
pub(super) const ROOT: usize = 64;
/// Tables that can exist at once: the databases, and as many that replace them in one flush of all.
pub const TABLE_SLOTS: usize = 32;

/// Offset of the counter page's id in a root.
pub(super) const ROOT_COUNTERS_AT: usize = 8;
/// Offset of the number of keys in a root.
pub(super) const ROOT_KEYS_AT: usize = 16;
/// Offset of the number of keys with an expiry in a root.
pub(super) const ROOT_EXPIRES_AT: usize = 24;
/// Offset of the inline directory entry in a root.
pub(super) const ROOT_INLINE_AT: usize = 32;

/// Bytes of a directory entry.
pub(super) const ENTRY: usize = 8 * ENTRY_WORDS;
/// Words of a directory entry.
pub(super) const ENTRY_WORDS: usize = 4;
/// Offset of the first page id in a directory entry.
pub(super) const ENTRY_PAGES_AT: usize = 4;
/// Depth of a directory that fills one page; directories are inline or at least this deep.
pub(super) const PAGE_DEPTH: u32 = (PAGE / ENTRY).ilog2();

/// Bytes of a slot's counters.
pub(super) const COUNTERS: usize = 32;
/// Slots of a stripe.
pub(super) const STRIPE_SLOTS: usize = 64;

/// Bits of the key hash kept in an extra: the deepest directory.
pub(super) const PREFIX_BITS: u32 = 26;
/// Bits of the key hash kept beside the location.
pub(super) const TAG_BITS: u32 = 16;
/// All bits of the key hash that are kept: the resolution of cursors.
pub const ORDER_BITS: u32 = PREFIX_BITS + TAG_BITS;

/// The first page that can be allocated.
pub(super) const FIRST_PAGE: u32 = ((HEADER + STRIPE * STRIPES) / PAGE) as u32;

const _: () = assert!(COUNTS_AT + 32 == PAGE);
const _: () = assert!(COUNTERS * STRIPE_SLOTS == PAGE);
const _: () = assert!(STRIPE == 2560 && STRIPE.is_multiple_of(LINE));
const _: () = assert!((HEADER + STRIPE * STRIPES).is_multiple_of(PAGE));
const _: () = assert!(ENTRY_PAGES_AT + 4 * LEAF_PAGES == ENTRY);
const _: () = assert!(ROOT_INLINE_AT + ENTRY == ROOT);

/// Offset of a stripe header.
#[inline]
pub(super) fn stripe_at(stripe: usize) -> usize {
    HEADER + STRIPE * stripe
}

/// Offset of a page.
#[inline]
pub(super) fn page_at(page: u32) -> usize {
    page as usize * PAGE
}
