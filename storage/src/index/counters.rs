//! Counters of a slot in a table, and changes of them.

use super::layout::COUNTERS;
use super::pages::Pages;

/// What is counted for each slot of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotCounters {
    /// Keys.
    pub keys: u32,
    /// Keys with an expiry.
    pub expires: u32,
    /// Bytes of their newest records, as the caller counts them.
    pub bytes: u64,
    /// Slot digest.
    pub digest: u128,
}

/// How an operation changes the counters of a slot. The digest wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CounterChange {
    /// Keys more.
    pub keys: i32,
    /// Keys with an expiry more.
    pub expires: i32,
    /// Bytes more.
    pub bytes: i64,
    /// Added to the digest; to take a hash out, add its `wrapping_neg`.
    pub digest: u128,
}

impl CounterChange {
    /// Whether nothing changes.
    #[inline]
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl SlotCounters {
    /// The counters after a change.
    #[inline]
    #[must_use]
    pub fn changed(self, change: &CounterChange) -> Self {
        debug_assert!(self.keys.checked_add_signed(change.keys).is_some(), "{self:?} {change:?}");
        debug_assert!(self.expires.checked_add_signed(change.expires).is_some(), "{self:?} {change:?}");
        Self {
            keys: self.keys.wrapping_add_signed(change.keys),
            expires: self.expires.wrapping_add_signed(change.expires),
            bytes: self.bytes.wrapping_add_signed(change.bytes),
            digest: self.digest.wrapping_add(change.digest),
        }
    }

    /// The counters in the words of the file.
    #[inline]
    pub(super) fn from_words(words: [u64; COUNTERS / 8]) -> Self {
        Self {
            keys: words[0] as u32,
            expires: (words[0] >> 32) as u32,
            bytes: words[1],
            digest: u128::from(words[3]) << 64 | u128::from(words[2]),
        }
    }

    /// The words of the file.
    #[inline]
    pub(super) fn to_words(self) -> [u64; COUNTERS / 8] {
        let counts = u64::from(self.expires) << 32 | u64::from(self.keys);
        [counts, self.bytes, self.digest as u64, (self.digest >> 64) as u64]
    }

    /// Reads counters.
    #[inline]
    pub(super) fn load(pages: &Pages, at: usize) -> Self {
        Self::from_words(std::array::from_fn(|word| pages.word(at + 8 * word)))
    }

    /// Writes counters.
    #[inline]
    pub(super) fn store(self, pages: &Pages, at: usize) {
        for (number, word) in self.to_words().into_iter().enumerate() {
            pages.set_word(at + 8 * number, word);
        }
    }
}

impl std::ops::AddAssign for SlotCounters {
    fn add_assign(&mut self, other: Self) {
        self.keys += other.keys;
        self.expires += other.expires;
        self.bytes += other.bytes;
        self.digest = self.digest.wrapping_add(other.digest);
    }
}
