//! Models of eviction policies: object by object, exact.

mod fifo;
mod lru;
mod s3_fifo;

pub(super) use fifo::Fifo;
pub(super) use lru::Lru;
pub(super) use s3_fifo::S3Fifo;

/// A cache that holds a number of objects, filled by what misses.
pub(super) trait Policy {
    /// Asks for a key, and puts it into the cache if it is not there; whether it was.
    fn request(&mut self, key: u32) -> bool;
}

/// What a policy answers to keys one after the other: `x` hit, `-` miss.
#[cfg(test)]
fn answers(policy: &mut dyn Policy, keys: &[u32]) -> String {
    keys.iter().map(|key| if policy.request(*key) { 'x' } else { '-' }).collect()
}
