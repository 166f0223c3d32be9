//! Which stripes a transaction locks, and how.

use super::Key;
use crate::types::STRIPES;

/// The stripes that a transaction locks: made before it begins, locked in order, so that two transactions never wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockPlan {
    stripes: [u64; STRIPES / 64],
    exclusive: bool,
}

impl LockPlan {
    /// A plan of shared locks, of no stripe yet.
    #[must_use]
    pub fn shared() -> Self {
        Self { stripes: [0; STRIPES / 64], exclusive: false }
    }

    /// A plan of exclusive locks, of no stripe yet.
    #[must_use]
    pub fn exclusive() -> Self {
        Self { stripes: [0; STRIPES / 64], exclusive: true }
    }

    /// Adds the stripe of `key`.
    pub fn add(&mut self, key: &Key<'_>) {
        let stripe = key.slot().stripe();
        self.stripes[stripe / 64] |= 1 << (stripe % 64);
    }

    /// Adds every stripe: for commands over whole databases.
    pub fn add_all(&mut self) {
        self.stripes = [u64::MAX; STRIPES / 64];
    }

    /// Makes the locks exclusive.
    pub fn make_exclusive(&mut self) {
        self.exclusive = true;
    }

    /// Whether the locks are exclusive.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Whether the stripe is in the plan.
    #[must_use]
    pub fn covers(&self, stripe: usize) -> bool {
        self.stripes[stripe / 64] & (1 << (stripe % 64)) != 0
    }

    /// The only stripe, if there is just one.
    #[inline]
    #[must_use]
    pub fn only(&self) -> Option<usize> {
        let word = self.stripes.iter().position(|word| *word != 0)?;
        let alone = self.stripes[word].is_power_of_two() && self.stripes[word + 1..].iter().all(|word| *word == 0);
        alone.then(|| word * 64 + self.stripes[word].trailing_zeros() as usize)
    }

    /// The stripes in ascending order.
    pub fn stripes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.stripes.len()).flat_map(move |word| {
            let mut bits = self.stripes[word];
            std::iter::from_fn(move || {
                (bits != 0).then(|| {
                    let bit = bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    word * 64 + bit
                })
            })
        })
    }
}
