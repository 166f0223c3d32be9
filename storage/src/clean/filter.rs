//! A set of keys that takes little memory and sometimes claims a key that was never put in: what it denies was not.

/// Bits for each key.
const BITS: u64 = 12;
/// Most bits: 16 MiB.
const MOST: u64 = 1 << 27;
/// Bits set for a key.
const PROBES: u32 = 4;

/// A Bloom filter (Bloom 1970) over hashes of keys.
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    pub(super) fn new(keys: u64) -> Self {
        let bits = (keys * BITS).next_power_of_two().clamp(1 << 10, MOST);
        Self { words: vec![0; (bits / 64) as usize] }
    }

    fn bits(&self, key: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let mask = self.words.len() as u64 * 64 - 1;
        // Two halves of a good hash stand for as many as are needed (Kirsch and Mitzenmacher 2006).
        let (first, step) = (key, key.rotate_left(32) | 1);
        (0..PROBES).map(move |n| {
            let bit = first.wrapping_add(step.wrapping_mul(n.into())) & mask;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }

    pub(super) fn add(&mut self, key: u64) {
        for (word, bit) in self.bits(key) {
            self.words[word] |= bit;
        }
    }

    pub(super) fn may_have(&self, key: u64) -> bool {
        self.bits(key).all(|(word, bit)| self.words[word] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_there_and_little_else() {
        let hash = |n: u64| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes());
        let mut filter = Filter::new(10_000);
        (0..10_000).for_each(|n| filter.add(hash(n)));
        assert!((0..10_000).all(|n| filter.may_have(hash(n))));
        let wrong = (10_000..20_000).filter(|n| filter.may_have(hash(*n))).count();
        assert!(wrong < 200, "{wrong} of 10,000");
    }
}
