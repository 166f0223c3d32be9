//! Which pages are in use: a bit a page, in anonymous memory, rebuilt from the directories at each open. A crash therefore
//! leaks nothing, and allocation needs no protocol of its own.
//!
//! Invariants:
//! - No page below `words[hint]` is free.
//! - Bits beyond `pages` are set, so they are never handed out.

/// The allocation bitmap.
#[derive(Debug, Default)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    pages: u32,
    free: u32,
    hint: usize,
}

impl Bitmap {
    /// A bitmap of `pages` pages whose first `reserved` are in use.
    pub fn new(pages: u32, reserved: u32) -> Self {
        let mut bitmap = Self::default();
        bitmap.extend(pages);
        for page in 0..reserved {
            bitmap.mark(page);
        }
        bitmap
    }

    /// Pages that exist.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Pages that can be allocated.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Adds free pages at the end.
    pub fn extend(&mut self, pages: u32) {
        self.words.resize((pages as usize).div_ceil(64), u64::MAX);
        let old = self.pages;
        self.pages = pages;
        for page in old..pages {
            self.release(page);
        }
    }

    /// Marks a page as used; false if it was, or does not exist.
    pub fn mark(&mut self, page: u32) -> bool {
        let (word, bit) = place(page);
        if page >= self.pages || self.words[word] & bit != 0 {
            return false;
        }
        self.words[word] |= bit;
        self.free -= 1;
        true
    }

    /// Gives a page back.
    pub fn release(&mut self, page: u32) {
        let (word, bit) = place(page);
        assert!(page < self.pages && self.words[word] & bit != 0, "page {page} is freed twice");
        self.words[word] &= !bit;
        self.free += 1;
        self.hint = self.hint.min(word);
    }

    /// The lowest free page. Low pages first keeps the file dense.
    pub fn take(&mut self) -> Option<u32> {
        while let Some(word) = self.words.get_mut(self.hint) {
            if *word != u64::MAX {
                let bit = (!*word).trailing_zeros();
                *word |= 1 << bit;
                self.free -= 1;
                return Some(self.hint as u32 * 64 + bit);
            }
            self.hint += 1;
        }
        None
    }

    /// The lowest run of `len` free pages. Rare (a directory doubles), so a plain scan will do.
    pub fn take_run(&mut self, len: u32) -> Option<u32> {
        let mut start = self.hint as u32 * 64;
        let mut at = start;
        while at < self.pages {
            let (word, bit) = place(at);
            if self.words[word] & bit != 0 {
                let full = at.is_multiple_of(64) && self.words[word] == u64::MAX;
                at += if full { 64 } else { 1 };
                start = at;
                continue;
            }
            at += 1;
            if at - start == len {
                for page in start..at {
                    self.mark(page);
                }
                return Some(start);
            }
        }
        None
    }

    /// Free pages at the end of the file: what a run that reaches into new pages starts with.
    pub fn free_tail(&self) -> u32 {
        let mut tail = 0;
        while tail < self.pages {
            let (word, bit) = place(self.pages - 1 - tail);
            if self.words[word] & bit != 0 {
                break;
            }
            tail += 1;
        }
        tail
    }
}

fn place(page: u32) -> (usize, u64) {
    (page as usize / 64, 1 << (page % 64))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn lowest_pages_are_handed_out_first_and_again_after_release() {
        let mut bitmap = Bitmap::new(200, 10);
        assert_eq!(bitmap.free(), 190);
        let taken: Vec<u32> = std::iter::from_fn(|| bitmap.take()).collect();
        assert_eq!(taken, (10..200).collect::<Vec<_>>());
        bitmap.release(70);
        bitmap.release(11);
        assert_eq!((bitmap.take(), bitmap.take(), bitmap.take()), (Some(11), Some(70), None));
        bitmap.extend(201);
        assert_eq!(bitmap.take(), Some(200));
    }

    #[test]
    fn runs_are_contiguous_and_skip_used_pages() {
        let mut bitmap = Bitmap::new(300, 3);
        assert!(bitmap.mark(70));
        assert!(!bitmap.mark(70) && !bitmap.mark(300));
        assert_eq!(bitmap.take_run(64), Some(3));
        assert_eq!(bitmap.take_run(4), Some(71));
        assert_eq!(bitmap.free_tail(), 225);
        assert_eq!(bitmap.take_run(226), None);
        assert_eq!(bitmap.take_run(225), Some(75));
        assert_eq!(bitmap.free(), 3);
        assert_eq!(bitmap.take(), Some(67));
    }

    #[test]
    #[should_panic(expected = "freed twice")]
    fn freeing_twice_is_caught() {
        let mut bitmap = Bitmap::new(64, 0);
        let page = bitmap.take().unwrap();
        bitmap.release(page);
        bitmap.release(page);
    }
}
