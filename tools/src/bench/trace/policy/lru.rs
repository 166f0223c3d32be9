//! Least recently used.

use super::Policy;

/// Evicts what was not used for the longest time. A list through two arrays, with an end that is no key.
#[derive(Debug)]
pub(in super::super) struct Lru {
    capacity: usize,
    len: usize,
    /// More recent, by key; the least recent is the neighbour of the end.
    newer: Vec<u32>,
    /// Less recent, by key.
    older: Vec<u32>,
    held: Vec<bool>,
}

impl Lru {
    /// For keys below `keys`.
    pub(in super::super) fn new(capacity: usize, keys: usize) -> Self {
        let end = keys as u32;
        Self { capacity, len: 0, newer: vec![end; keys + 1], older: vec![end; keys + 1], held: vec![false; keys] }
    }

    fn end(&self) -> u32 {
        self.held.len() as u32
    }

    fn unlink(&mut self, key: u32) {
        let (newer, older) = (self.newer[key as usize], self.older[key as usize]);
        self.older[newer as usize] = older;
        self.newer[older as usize] = newer;
    }

    fn link(&mut self, key: u32) {
        let end = self.end();
        let newest = self.older[end as usize];
        self.older[key as usize] = newest;
        self.newer[key as usize] = end;
        self.newer[newest as usize] = key;
        self.older[end as usize] = key;
    }
}

impl Policy for Lru {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.held[key as usize];
        if hit {
            self.unlink(key);
        } else if self.len == self.capacity {
            let oldest = self.newer[self.end() as usize];
            self.unlink(oldest);
            self.held[oldest as usize] = false;
        } else {
            self.len += 1;
        }
        self.held[key as usize] = true;
        self.link(key);
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::super::answers;
    use super::*;

    #[test]
    fn use_saves_and_the_longest_unused_goes() {
        // 3 takes the place of 2, 2 that of 1, 4 that of 3.
        assert_eq!(answers(&mut Lru::new(2, 5), &[1, 2, 1, 3, 1, 3, 2, 3, 4]), "--x-xx-x-");
        assert_eq!(answers(&mut Lru::new(1, 3), &[0, 0, 1, 0]), "-x--");
        // Going round one more than there is room for misses always.
        assert_eq!(answers(&mut Lru::new(3, 4), &[0, 1, 2, 3, 0, 1, 2, 3]), "--------");
    }
}
